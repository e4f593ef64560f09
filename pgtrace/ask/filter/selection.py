"""A filter over a trace: which rows it selects.

The tree becomes one function of a row. The cheapest tests come first, and a decided row is tested
no further, so messages are read only if nothing else decides. A row whose messages would decide but
are no longer kept is not selected, and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from pgtrace.ask.filter.facts import NUMBERS, TEXTS, Holds, Subject, Unread
from pgtrace.ask.filter.tree import All, Node, Not, NumberTerm, TextTerm
from pgtrace.errors import FilterError
from pgtrace.inspect.details import NotKept
from pgtrace.regex.automaton import TooCostly
from pgtrace.trace.rows import Kind

if TYPE_CHECKING:
    from pgtrace.ask.filter.messages import Inside
    from pgtrace.trace.rows import Entry
    from pgtrace.trace.trace import Trace

_COSTS: Final = {word: cost for cost, word in enumerate((*NUMBERS, *TEXTS))}
_NEVER: Final = frozenset({Kind.MARK, Kind.GAP})


class Selection:
    """The rows that a filter selects from a trace as it is now. Make a new one when the trace has
    read on and names may have changed."""

    def __init__(self, text: str, tree: Node, trace: Trace) -> None:
        self.text = text
        self.trace = trace
        self.undecided = 0
        """Rows that could not be decided because their bytes are no longer kept."""
        self._test, _ = self._compiled(tree)

    def holds(self, place: int) -> bool:
        """Whether the row at that place is selected; a mark or a gap never is. Raises FilterError
        if an expression costs too much."""
        return self._asked(Subject(self.trace, place))

    def asked(self, place: int, told: Inside | None = None) -> bool | None:
        """The same, but None if only its messages would tell. `told` is what they say, if they have
        been read. Raises FilterError."""
        try:
            return self._asked(Subject(self.trace, place, told, reads=False))
        except Unread:
            return None

    def lost(self) -> bool:
        """A row's messages would have decided but are no longer kept: it is not selected."""
        self.undecided += 1
        return False

    def selects(self, place: int) -> bool:
        """Whether the row at that place is a selected round trip, which counters are summed over.
        Raises FilterError."""
        return self.selected(place) is not None

    def selected(self, place: int) -> Entry | None:
        """The entry of that row if it is a selected round trip. Raises FilterError."""
        subject = Subject(self.trace, place)
        entry = subject.entry
        if subject.shape.kind > Kind.SETUP or not self._may_count(entry):
            return None
        return entry if self._asked(subject) else None

    def _may_count(self, entry: Entry) -> bool:
        """Whether it is certainly a round trip: an open run may still turn out not to be one."""
        if not entry.is_open:
            return True
        session = self.trace.connections[entry.connection].session
        current = session.round_trips.current if session is not None else None
        return current is None or current.flush_points > 0

    def places(self) -> Iterator[int]:
        """The places of all selected rows, rising. Raises FilterError."""
        return filter(self.holds, range(len(self.trace.rows)))

    def _asked(self, subject: Subject) -> bool:
        if subject.shape.kind in _NEVER:
            return False
        try:
            return self._test(subject)
        except NotKept:
            return self.lost()

    def _compiled(self, node: Node) -> tuple[Holds, int]:
        """The function of a part, and its cost."""
        if isinstance(node, NumberTerm):
            return _number(node), _COSTS[node.word.name]
        if isinstance(node, TextTerm):
            return TEXTS[node.word.name](self._bounded(node)), _COSTS[node.word.name]
        if isinstance(node, Not):
            part, cost = self._compiled(node.part)
            return (lambda subject: not part(subject)), cost
        parts = sorted(map(self._compiled, node.parts), key=lambda found: found[1])
        functions = [function for function, _ in parts]
        cost = parts[-1][1] if parts else 0
        if isinstance(node, All):
            return (lambda subject: all(function(subject) for function in functions)), cost
        return (lambda subject: any(function(subject) for function in functions)), cost

    def _bounded(self, term: TextTerm) -> Callable[[str], bool]:
        """Its test. An expression that is too costly for its texts is an error at its place."""
        test, text = term.test, self.text

        def bounded(found: str) -> bool:
            try:
                return test(found)
            except TooCostly:
                reason = "this expression takes too long on this text; repeat less, or within narrower limits"
                raise FilterError(text, term.start, term.end - term.start, reason) from None

        return bounded


def _number(term: NumberTerm) -> Holds:
    says, test = NUMBERS[term.word.name], term.test
    return lambda subject: test(says(subject))
