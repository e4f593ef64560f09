"""The rows that a filter selects in a trace.

The tree decides many rows at once (`decide`). Each term answers for a column of rows, and each part
of the tree gives two sets of rows, as long integers with a byte for each row: those for which it
certainly holds, and those for which it may hold, because only their messages can say. `and`, `or`
and `not` are operations on these integers. Only rows that may hold are read from the capture and
tested one by one (`holds`), the cheapest tests first. If the deciding messages of a row are no
longer kept, the row is not selected, but counted in `undecided`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import compress
from typing import TYPE_CHECKING, Final, NamedTuple

from pgtrace.ask.filter.facts import NO, NUMBERS, TEXTS, UNREAD, YES, Gone, NotRead, OfCounter, OfNumber, Subject, Term, of_text
from pgtrace.ask.filter.tree import All, Node, Not, NumberTerm, TextTerm
from pgtrace.errors import FilterError
from pgtrace.regex.automaton import TooCostly
from pgtrace.trace.row import RowKind
from pgtrace.trace.rows import Columns

if TYPE_CHECKING:
    from pgtrace.ask.filter.messages import MessageFacts
    from pgtrace.trace.row import RowEntry
    from pgtrace.trace.trace import Trace

SLICE: Final = 4096
"""How many rows are decided at once."""
_COSTS: Final = {word: cost for cost, word in enumerate((*NUMBERS, *TEXTS))}
_COUNTING: Final = _COSTS["type"]
"""The cost of testing a counter."""
_NEVER: Final = frozenset({RowKind.MARK, RowKind.GAP})
_SURELY: Final = bytes.maketrans(bytes((UNREAD,)), bytes((NO,)))
_PERHAPS: Final = bytes.maketrans(bytes((UNREAD,)), bytes((YES,)))


class Decided(NamedTuple):
    """The answers for some rows: in each field, one byte per row, 0 or 1."""

    selected: bytes
    unread: bytes
    """1 if only the row's messages can decide."""


class _Part(NamedTuple):
    """The compiled form of a part of the tree."""

    holds: Callable[[Subject], bool]
    masks: Callable[[Columns], tuple[int, int]]
    """Returns the rows for which the part certainly holds, and those for which it may hold."""
    cost: int
    by_key: bool
    """Whether the answer is the same for all rows with the same connection, shape and label."""


class Selection:
    """The rows that a filter selects from a trace as it is now. Make a new selection when the trace
    has read on, because names may have changed.
    """

    def __init__(self, text: str, tree: Node, trace: Trace, apart: Collection[int] = ()) -> None:
        self.text = text
        self.trace = trace
        self.undecided = 0
        """Rows that could not be decided because their bytes are no longer kept."""
        self.apart = frozenset(() if apart and _mentions(tree, ("leg", "conn")) else apart)
        """Connections whose round trips are not counted: the server's side of a pooler, unless the
        filter has `leg` or `conn`.
        """
        self._tree = self._compiled(tree)

    def decide(self, rows: Columns) -> Decided:
        """Which of these rows are selected, as far as the index knows. Marks and gaps never are.
        Raises FilterError if a regular expression costs too much.
        """
        shape_at = self.trace.rows.shape_at
        surely, perhaps = self._tree.masks(rows)
        never = {number for number in set(rows.shapes) if shape_at(number).kind in _NEVER}
        if never:
            ever = _mask(bytes(number not in never for number in rows.shapes))
            surely, perhaps = surely & ever, perhaps & ever
        return Decided(surely.to_bytes(len(rows), "little"), (surely ^ perhaps).to_bytes(len(rows), "little"))

    def decide_alike(self, keys: Collection[tuple[int, int, int]]) -> bool | None:
        """True if all rows with these connections, shapes and labels are selected, False if no row
        is; None if rows differ or the keys do not decide. Raises FilterError as decide() does.
        """
        if not self._tree.by_key:
            return None
        selected, unread = self.decide(Columns.of_keys(self.trace.rows, keys))
        return None if YES in unread or (YES in selected and NO in selected) else YES in selected

    def among(self, places: Sequence[int]) -> Iterator[int]:
        """The selected places among these, in the same order. Reads messages if only they can
        decide. Raises FilterError.
        """
        for start in range(0, len(places), SLICE):
            rows = self.trace.rows.at(places[start : start + SLICE])
            decided = self.decide(rows)
            if YES not in decided.unread:
                yield from compress(rows.places, decided.selected)
                continue
            for place, selected, unread in zip(rows.places, *decided, strict=True):
                if selected or (unread and self.holds(place)):
                    yield place

    def places(self) -> Iterator[int]:
        """The places of all selected rows, in rising order. Raises FilterError."""
        return self.among(range(len(self.trace.rows)))

    def counted(self, rows: Columns) -> Columns:
        """The selected round trips of these rows, which counters are summed over. Raises
        FilterError."""
        rows = rows.round_trips
        if self.apart:
            rows = rows.where([index not in self.apart for index in rows.connections])
        decided = self.decide(rows)
        if YES not in decided.unread and not rows.any_open:
            return rows if NO not in decided.selected else rows.where(decided.selected)
        may_count = self._may_count
        return rows.where([
            (selected or (unread and self.holds(place))) and may_count(self.trace.rows.entry(place))
            for place, selected, unread in zip(rows.places, *decided, strict=True)
        ])  # fmt: skip

    def holds(self, place: int) -> bool:
        """Whether the row at that place is selected; marks and gaps never are. Raises FilterError
        if a regular expression costs too much.
        """
        return self._holds(Subject(self.trace, place))

    def holds_if_known(self, place: int, facts: MessageFacts | None = None) -> bool | None:
        """Like holds(), but None if only the row's messages can decide. `facts` are those from
        its messages, if they have been read. Raises FilterError.
        """
        try:
            return self._holds(Subject(self.trace, place, facts, reads=False))
        except NotRead:
            return None

    def count_undecided(self) -> bool:
        """Count a row as undecided, because its messages are no longer kept. Returns False: it is
        not selected.
        """
        self.undecided += 1
        return False

    def selects(self, place: int) -> bool:
        """Whether the row at that place is a selected round trip, which counters are summed over.
        Raises FilterError."""
        subject = Subject(self.trace, place)
        if subject.shape.kind > RowKind.SETUP or subject.entry.connection in self.apart:
            return False
        return self._may_count(subject.entry) and self._holds(subject)

    def _may_count(self, entry: RowEntry) -> bool:
        """Whether the row is certainly a round trip; an open run may turn out not to be one."""
        if not entry.is_open:
            return True
        session = self.trace.connections[entry.connection].session
        current = session.round_trips.current if session is not None else None
        return current is None or current.flush_points > 0

    def _holds(self, subject: Subject) -> bool:
        if subject.shape.kind in _NEVER:
            return False
        try:
            return self._tree.holds(subject)
        except Gone:
            return self.count_undecided()

    def _compiled(self, node: Node) -> _Part:
        """Compile a part of the tree."""
        if isinstance(node, NumberTerm) and node.word.key:
            return _of_term(OfCounter(self.trace, node.test, node.word.key, self.apart), _COUNTING)
        if isinstance(node, NumberTerm):
            return _of_term(OfNumber(node.test, NUMBERS[node.word.name](self.trace)), _COSTS[node.word.name])
        if isinstance(node, TextTerm):
            cost = _COSTS["tag.KEY" if node.word.key else node.word.name]
            return _of_term(of_text(node.word, self.trace, self._bounded(node)), cost)
        if isinstance(node, Not):
            return _not(self._compiled(node.part))
        parts = sorted(map(self._compiled, node.parts), key=lambda part: part.cost)
        return _all(parts) if isinstance(node, All) else _any(parts)

    def _bounded(self, term: TextTerm) -> Callable[[str], bool]:
        """The term's test, which raises FilterError with the term's place if the expression costs
        too much.
        """
        test, text = term.test, self.text

        def bounded(found: str) -> bool:
            try:
                return test(found)
            except TooCostly:
                reason = "this expression takes too long on this text; use fewer repeats, or narrower limits"
                raise FilterError(text, term.start, term.end - term.start, reason) from None

        return bounded


class Listed(Selection):
    """Rows that another selection has selected before; nothing is tested again."""

    def __init__(self, by: Selection, places: Sequence[int]) -> None:
        """`places` are in rising order; `by` is the selection that selected them."""
        super().__init__(by.text, All(()), by.trace, by.apart)
        self._places = places

    def _holds(self, subject: Subject) -> bool:
        at = bisect_left(self._places, subject.place)
        return at < len(self._places) and self._places[at] == subject.place


def _mentions(node: Node, words: Sequence[str]) -> bool:
    """Whether the tree has one of these words."""
    if isinstance(node, TextTerm | NumberTerm):
        return node.word.name in words
    return any(_mentions(part, words) for part in ((node.part,) if isinstance(node, Not) else node.parts))


def _mask(answers: bytes) -> int:
    return int.from_bytes(answers, "little")


def _of_term(term: Term, cost: int) -> _Part:
    def masks(rows: Columns) -> tuple[int, int]:
        answers = term.answers(rows)
        if UNREAD not in answers:
            mask = _mask(answers)
            return mask, mask
        return _mask(answers.translate(_SURELY)), _mask(answers.translate(_PERHAPS))

    return _Part(term.holds, masks, cost, term.by_key)


def _everything(rows: Columns) -> int:
    return _mask(bytes((YES,)) * len(rows))


def _not(part: _Part) -> _Part:
    def masks(rows: Columns) -> tuple[int, int]:
        surely, perhaps = part.masks(rows)
        everything = _everything(rows)
        return perhaps ^ everything, surely ^ everything

    return _Part(lambda subject: not part.holds(subject), masks, part.cost, part.by_key)


def _all(parts: Sequence[_Part]) -> _Part:
    def masks(rows: Columns) -> tuple[int, int]:
        surely = perhaps = _everything(rows)
        for part in parts:
            more_surely, more_perhaps = part.masks(rows)
            surely, perhaps = surely & more_surely, perhaps & more_perhaps
            if not perhaps:
                break
        return surely, perhaps

    return _Part(lambda subject: all(part.holds(subject) for part in parts), masks, *_together(parts))


def _any(parts: Sequence[_Part]) -> _Part:
    def masks(rows: Columns) -> tuple[int, int]:
        surely = perhaps = 0
        for part in parts:
            more_surely, more_perhaps = part.masks(rows)
            surely, perhaps = surely | more_surely, perhaps | more_perhaps
        return surely, perhaps

    return _Part(lambda subject: any(part.holds(subject) for part in parts), masks, *_together(parts))


def _together(parts: Sequence[_Part]) -> tuple[int, bool]:
    """The cost of parts that are sorted by cost, and whether all of them use the key."""
    return parts[-1].cost if parts else 0, all(part.by_key for part in parts)
