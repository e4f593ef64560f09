"""repeat: the same query with the same values, again and again, with nothing written in between.

Recognised by the hash of what the driver sent (RoundTrip.values): text and values are the same. Not
reported if values are blanked, because then all are the same. Each query must read a table, come
within PAUSE_NS of the connection's previous round trip or inside one transaction, and call no
function whose result differs each time. A write of this connection, a SET, a lock, a user-defined
function or the end of a transaction starts again; so does an answer with another number of rows,
since others write as well. The cost is every time but the first.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.remedies import DEMO, Remedy
from pgtrace.judge import texts
from pgtrace.judge.findings.kind import PAUSE_NS, ROUND_TRIPS, Kind, Note, Seen, Step, Watch, shown, times
from pgtrace.trace.row import Shape

TIMES: Final = 5
_ASKED_KEPT: Final = 256
_SELECT: Final = ("SELECT",)
_DIFFERS: Final = frozenset(
    {"RANDOM", "CLOCK_TIMESTAMP", "NEXTVAL", "CURRVAL", "LASTVAL", "SETVAL", "GEN_RANDOM_UUID",
     "UUID_GENERATE_V4", "UUIDV4", "UUIDV7", "TIMEOFDAY", "PG_SLEEP",
     "NOW", "STATEMENT_TIMESTAMP", "TRANSACTION_TIMESTAMP"}
)  # fmt: skip
_TIMES: Final = frozenset({"CURRENT_TIMESTAMP", "CURRENT_TIME", "CURRENT_DATE", "LOCALTIMESTAMP", "LOCALTIME"})
_STATE: Final = ("PG_STAT", "PG_LOCKS", "PG_CURSORS", "PG_PREPARED")
"""Views of what goes on in the server."""
_CHANGES_NOTHING: Final = frozenset(
    {"SELECT", "SHOW", "BEGIN", "START TRANSACTION", "FETCH", "DECLARE CURSOR", "CLOSE CURSOR", "SAVEPOINT", "RELEASE"}
)


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._asked: dict[tuple[int, int], list[int]] = {}
        """The rows of each query."""
        self._askable: dict[int, bool] = {}
        """By text."""
        self._changing: dict[int, bool] = {}
        """By text: whether it may have changed something."""
        self._rows: dict[tuple[int, int], int] = {}
        """The number of rows of each answer."""
        self._told: set[tuple[int, int]] = set()

    def row(self, step: Step) -> None:
        shape = step.shape
        if shape.tags != _SELECT and b"s" not in shape.received:
            if shape.errors or not _CHANGES_NOTHING.issuperset(shape.tags) or shape.sent == b"F":
                self.lost()
            return
        if step.pause_ns is None or (shape.status_before == "I" and step.pause_ns > PAUSE_NS):
            self.lost()
        if self._may_change(step):
            self.lost()
        elif shape.depth == 1 and not shape.errors and step.key and shape.sent[:1] != b"E":
            self._ask(step)

    def rests(self, step: Step) -> bool:
        shape = step.shape
        return shape.tags == _SELECT and shape.depth == 1 and not shape.errors and not self._may_change(step)

    def again(self, steps: list[Step]) -> None:
        if steps[0].key and steps[0].shape.sent[:1] != b"E":
            for step in steps:
                self._ask(step)

    def _ask(self, step: Step) -> None:
        if not step.values:
            return
        question = (step.text, step.values)
        asked = self._asked.get(question)
        if asked is None:
            if self._is_askable(step):
                if len(self._asked) >= _ASKED_KEPT:
                    self.lost()
                self._asked[question] = [step.place]
                self._rows[question] = step.rows
            return
        if step.rows != self._rows.get(question):
            self._rows[question] = step.rows
            self._asked[question] = [step.place]
            self._told.discard(question)
            return
        if not step.counts or self.seen.trace.values_blanked:
            return
        if question in self._told:
            self._tell(step.key, step.place)
            return
        asked.append(step.place)
        if len(asked) >= TIMES:
            self._told.add(question)
            for number, place in enumerate(asked):
                self._tell(step.key, place, first=not number)
            asked.clear()

    def lost(self) -> None:
        self._asked.clear()
        self._told.clear()
        self._rows.clear()

    def _may_change(self, step: Step) -> bool:
        known = self._changing.get(step.text)
        if known is None:
            if len(self._changing) >= 8 * _ASKED_KEPT:
                self._changing.clear()
            sql = step.label.sql
            known = self._changing[step.text] = (
                texts.changes(sql) or texts.calls_unknown(sql) or texts.locks(sql) or "SET_CONFIG" in texts.called(sql)
            )
        return known

    def _is_askable(self, step: Step) -> bool:
        label = step.text
        known = self._askable.get(label)
        if known is None:
            if len(self._askable) >= 8 * _ASKED_KEPT:
                self._askable.clear()
            sql = step.label.sql
            found = texts.words(sql)
            known = self._askable[label] = (
                "FROM" in found
                and "INTO" not in found
                and _DIFFERS.isdisjoint(texts.called(sql))
                and _TIMES.isdisjoint(found)
                and not any(word.startswith(_STATE) for word in found)
            )
        return known

    def _tell(self, key: str, place: int, *, first: bool = False) -> None:
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
    why="Nothing that this connection did has changed the answer: unless others changed it, the application already had it.",
    watch=_Watch,
    what=_what,
    cares=_cares,
    remedies=(Remedy("keep the answer for the unit of work: pass it on, or cache it", clients=DEMO),),
)
