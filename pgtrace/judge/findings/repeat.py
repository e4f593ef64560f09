"""repeat: the same query runs again and again with the same values, and nothing is written in
between.

Recognised by the hash of what the driver sent (RoundTrip.values): text and values are the same. A
driver that starts to prepare a query halfway sends different messages for it; then the values
themselves are compared. Not reported if values are blanked, because then all look the same.

Each query must read a table, not be the driver's own look-up of types (introspection), follow
within PAUSE_NS of the connection's previous round trip or be in the same transaction, and call no
function whose result differs each time. A write on this connection, a SET, a lock, a user-defined
function or the end of a transaction starts the count again (a pool's reset does not, unless a
setting was changed). So does an answer with another number of rows, because other sessions write,
too. The cost is every execution but the first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Final

from pgtrace.identify.remedies import DEMO, Remedy
from pgtrace.judge import texts
from pgtrace.judge.findings.driver_overhead import is_reset
from pgtrace.judge.findings.introspection import is_own
from pgtrace.judge.findings.kind import PAUSE_NS, ROUND_TRIPS, ByWords, Kind, Note, Seen, Step, Watch, bound_values, shown, times
from pgtrace.trace.row import Shape

TIMES: Final = 5
POLL_NS: Final = 8_000_000
_REGULAR: Final = 1.5
"""A poll's longest pause may be this many times its shortest."""
_ASKED_KEPT: Final = 256
_SELECT: Final = ("SELECT",)
_DIFFERS: Final = frozenset(
    {"RANDOM", "CLOCK_TIMESTAMP", "NEXTVAL", "CURRVAL", "LASTVAL", "SETVAL", "GEN_RANDOM_UUID",
     "UUID_GENERATE_V4", "UUIDV4", "UUIDV7", "TIMEOFDAY", "PG_SLEEP",
     "NOW", "STATEMENT_TIMESTAMP", "TRANSACTION_TIMESTAMP"}
)  # fmt: skip
_TIMES: Final = frozenset({"CURRENT_TIMESTAMP", "CURRENT_TIME", "CURRENT_DATE", "LOCALTIMESTAMP", "LOCALTIME"})
_STATE: Final = ("PG_STAT", "PG_LOCKS", "PG_CURSORS", "PG_PREPARED")
"""Prefixes of views that show the server's current state."""
_CHANGES_NOTHING: Final = frozenset(
    {"SELECT", "SHOW", "BEGIN", "START TRANSACTION", "FETCH", "DECLARE CURSOR", "CLOSE CURSOR", "SAVEPOINT", "RELEASE"}
)


_READ: Final = 16
"""For one text, stop reading values after this many queries in a row that were new."""

Form = tuple[bytes, str]
"""The form in which a driver sends a query: its messages, and the name of its statement."""


@ByWords
def _may_change(sql: str) -> bool:
    """Whether the statement may have changed something."""
    return texts.changes(sql) or texts.calls_unknown(sql) or texts.locks(sql) or "SET_CONFIG" in texts.called(sql)


@ByWords
def _is_askable(sql: str) -> bool:
    """Whether the query reads a table and gives the same answer when it runs again."""
    found = texts.words(sql)
    return (
        "FROM" in found
        and "INTO" not in found
        and _DIFFERS.isdisjoint(texts.called(sql))
        and _TIMES.isdisjoint(found)
        and not any(word.startswith(_STATE) for word in found)
    )


@dataclass(slots=True)
class _Query:
    """A query with its values."""

    first: int
    """The row that ran it first."""
    rows: int
    """The number of rows in its latest answer."""
    places: list[int]
    """Rows that ran it, until it is reported."""
    is_reported: bool = False
    pauses: list[int] = field(default_factory=list)
    """The pauses between runs that followed each other directly, until it is reported."""
    values: int | None = None
    """A hash of its values, once they were read."""

    @property
    def is_poll(self) -> bool:
        """Whether it ran at regular intervals, and nothing else ran in between."""
        pauses = self.pauses
        return len(pauses) == len(self.places) - 1 and min(pauses) >= POLL_NS and max(pauses) <= _REGULAR * min(pauses)

    def answered(self, step: Step) -> bool:
        """Take an answer. Returns whether it has as many rows as the one before; else counting
        starts again.
        """
        if step.rows == self.rows:
            return True
        self.rows, self.places, self.pauses, self.is_reported = step.rows, [step.place], [], False
        return False


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._asked: dict[tuple[int, int], _Query] = {}
        self._of_text: dict[int, dict[Form, list[_Query]]] = {}
        """Text -> form in which they were first sent -> queries."""
        self._unknown: dict[int, int] = {}
        """Text -> how many queries in a row had values that were new."""
        self._latest: _Query | None = None
        """The query of the latest round trip, if it had one,"""
        self._ended_ns = 0
        """and when it ended."""
        self._is_set = False
        """Whether a setting was changed that a reset would change back."""

    def row(self, step: Step) -> None:
        latest, self._latest = self._latest, None
        shape = step.shape
        if shape.tags != _SELECT and b"s" not in shape.received:
            if not self._is_set and shape.status_before == shape.status == "I" and is_reset(step):
                return  # the settings are as they were
            self._is_set = "SET" in shape.tags or (self._is_set and not is_reset(step))
            if shape.errors or not _CHANGES_NOTHING.issuperset(shape.tags) or shape.sent == b"F":
                self.lost()
            return
        if step.pause_ns is None or (shape.status_before == "I" and step.pause_ns > PAUSE_NS):
            self.lost()
        if _may_change(step):
            self.lost()
        elif shape.depth == 1 and not shape.errors and step.key and shape.sent[:1] != b"E":
            self._latest = latest
            self._ask(step)

    def rests(self, step: Step) -> bool:
        shape = step.shape
        return shape.tags == _SELECT and shape.depth == 1 and not shape.errors and not _may_change(step)

    def again(self, steps: list[Step]) -> None:
        if steps[0].key and steps[0].shape.sent[:1] != b"E":
            for step in steps:
                self._ask(step)

    def _ask(self, step: Step) -> None:
        if not step.values:
            return
        question = (step.text, step.values)
        latest, ended_ns = self._latest, self._ended_ns
        self._latest, self._ended_ns = None, step.opened_ns + step.duration_ns
        query = self._asked.get(question)
        if query is None:
            form = (step.shape.sent, step.shape.statement)
            forms = self._of_text.get(step.text)
            if forms is None:
                if not _is_askable(step) or is_own(self.seen, step.label.sql):
                    return
            elif len(forms) > 1 or form not in forms:
                query = self._sent_otherwise(step, form, forms)
            if query is None:
                self._latest = self._first(question, step, form)
                return
            self._asked[question] = query
        self._latest = query
        if not query.answered(step) or not step.counts or self.seen.trace.values_blanked:
            return
        if query.is_reported:
            self._report(step.key, step.place)
            return
        follows = query is latest and step.shape.status_before == "I"
        if not follows and len(query.places) == TIMES - 1 and query.is_poll:
            query.places, query.pauses = [], []  # the earlier ones were polls
        query.places.append(step.place)
        if follows:
            query.pauses.append(step.opened_ns - ended_ns)
        if len(query.places) >= TIMES and query.is_poll:
            del query.places[0], query.pauses[0]
        elif len(query.places) >= TIMES:
            query.is_reported = True
            for number, place in enumerate(query.places):
                self._report(step.key, place, first=not number)
            query.places.clear()

    def _first(self, question: tuple[int, int], step: Step, form: Form) -> _Query:
        if len(self._asked) >= _ASKED_KEPT:
            self.lost()
        query = self._asked[question] = _Query(step.place, step.rows, [step.place])
        self._of_text.setdefault(step.text, {}).setdefault(form, []).append(query)
        return query

    def _sent_otherwise(self, step: Step, form: Form, forms: dict[Form, list[_Query]]) -> _Query | None:
        """The query, if it was sent before in another of the `forms` of its text: with its Parse,
        or with another statement name.
        """
        unknown = self._unknown.get(step.text, 0)
        if unknown >= _READ or self.seen.trace.values_blanked:
            return None
        asked = chain.from_iterable(queries for other, queries in forms.items() if other != form)
        others = list(islice(asked, _READ))
        for query in others:
            if query.values is None:
                query.values = bound_values(self.seen.trace, query.first)
        values = bound_values(self.seen.trace, step.place)
        found = next((query for query in others if values and query.values == values), None)
        self._unknown[step.text] = 0 if found is not None else unknown + 1
        return found

    def lost(self) -> None:
        self._asked.clear()
        self._of_text.clear()
        self._unknown.clear()

    def _report(self, key: str, place: int, *, first: bool = False) -> None:
        note = self.seen.note(KIND, key)
        note.times += 1
        note.cost += not first
        note.show(place, "asked" if first else "asked again, with the same values")
        self.seen.row_of(place, KIND)


def _cares(shape: Shape) -> bool:
    return bool(shape.depth)


def _what(note: Note) -> str:
    return f"{shown(note)}: the same query again with the same values, {times(note.cost)}; this connection wrote nothing in between"


KIND: Final = Kind(
    name="repeat",
    unit=ROUND_TRIPS,
    why="Nothing that this connection did has changed the answer. Unless others changed it, the application already had it.",
    watch=_Watch,
    what=_what,
    cares=_cares,
    is_kept_if_larger=True,
    remedies=(Remedy("keep the answer for the unit of work: pass it on, or cache it", tried="asked-once", clients=DEMO),),
)
