"""cache-thrash: more texts are in use than the driver's statement cache holds, so each is dropped
for another and later prepared again.

Recognised by a Parse of a text whose earlier statement on this connection was dropped (Close,
DEALLOCATE) while others lived. Reported from RENEWED of them, if more texts were in use than the
cache held. A driver that drops each statement after use has no cache: see prepared-once. Texts that
differ only in a comment belong to comment-cache, in a literal to prepared-leak. The cost is the
round trips that only prepare again and those that only drop.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.remedies import Remedy
from pgtrace.judge.findings.kind import ROUND_TRIPS, Kind, Note, Seen, Step, Watch
from pgtrace.trace.name_log import Dropped
from pgtrace.trace.row import Shape

RENEWED: Final = 5
FEWEST: Final = 2
"""A cache holds at least this many statements."""
_DROPS_AFTERWARDS: Final = frozenset({"psycopg"})
"""Drivers that run a new statement before they drop an old one for it."""
_TEXTS_KEPT: Final = 2_000


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._names: dict[int, str] = {}
        """Text -> the name of its latest statement."""
        self._renewed: dict[int, str] = {}
        """Texts that were prepared again -> their keys."""
        self._spent: list[Step] = []
        self._closed: set[int] = set()
        self._times = 0
        self._held = 0
        self._ran = 0
        """The place of the latest row that ran a statement."""

    def row(self, step: Step) -> None:
        name, label = step.shape.statement, step.text
        if step.shape.depth:
            self._ran = step.place
        if not name or not step.sends("P") or step.shape.errors or not step.key:
            return
        earlier = self._names.get(label)
        if earlier is None and len(self._names) >= _TEXTS_KEPT:
            self.lost()
        self._names[label] = name
        if earlier is None:
            return
        fate = self.seen.connection.fate(earlier, step.place)
        if fate is None or not isinstance(fate[1], Dropped) or fate[1].how not in ("Close", "DEALLOCATE"):
            return
        self._renew(step, fate[0])

    def rests(self, step: Step) -> bool:
        return not step.sends("P")

    def _renew(self, step: Step, dropped_at: int) -> None:
        self._times += 1
        if len(self._renewed) < _TEXTS_KEPT:
            self._renewed[step.text] = step.key
        closes = self._closes(dropped_at)
        if self._times <= RENEWED:
            self._spent.append(step)
            if self._times < RENEWED:
                return
            self._held = sum(self._is_live(name, self._ran) for name in self._names.values())
            self._held -= self.seen.connection.driver in _DROPS_AFTERWARDS
            if self._held < FEWEST or len(self._renewed) < FEWEST:
                self._times = RENEWED - 1  # not yet
                del self._spent[:-1]
                return
            for one in self._spent:
                self._report(one)
            self._spent.clear()
        else:
            self._report(step)
        if closes is not None and self._times >= RENEWED:
            self._report_close(closes)

    def _is_live(self, name: str, place: int) -> bool:
        fate = self.seen.connection.fate(name, place)
        return fate is not None and not isinstance(fate[1], Dropped)

    def _closes(self, place: int) -> int | None:
        """The place, if that round trip only dropped statements; else None."""
        shape = self.seen.trace.rows[place].shape
        only = not shape.depth and b"C" in shape.sent and b"P" not in shape.sent and b"B" not in shape.sent
        return place if only or shape.tags == ("DEALLOCATE",) else None

    def _report(self, step: Step) -> None:
        note = self.seen.note(KIND)
        if not step.counts:
            return
        note.times += 1
        note.most = max(note.most, len(self._renewed))
        note.words = note.words or str(self._held)
        for kind in ("re-parse", "prepared-once", "prepared-leak", "extra-describe"):
            note.absorb(kind, step.key)
        if step.only_prepares:
            note.cost += 1
        note.show(step.place, "prepared again: it was dropped for another")
        self.seen.row_of(step.place, KIND)

    def _report_close(self, place: int) -> None:
        if place in self._closed:
            return
        if len(self._closed) >= _TEXTS_KEPT:
            self._closed.clear()
        self._closed.add(place)
        note = self.seen.note(KIND)
        note.cost += 1
        self.seen.row_of(place, KIND)

    def lost(self) -> None:
        self._names.clear()
        self._renewed.clear()
        self._spent.clear()
        self._times = 0


def _cares(shape: Shape) -> bool:
    return bool(shape.statement)


def _what(note: Note) -> str:
    return f"the statement cache holds {note.words}, and {note.most} texts are in use: {note.times} prepared again"


KIND: Final = Kind(
    name="cache-thrash",
    unit=ROUND_TRIPS,
    why="With more texts in use than the cache holds, it never has the one that is needed: each is prepared, dropped for the next one, and "
    "prepared again.",
    watch=_Watch,
    what=_what,
    is_reported=lambda note: note.times > 0,
    number=lambda note: note.cost or note.times,
    cares=_cares,
    remedies=(Remedy("use a larger statement cache, at least as large as the number of texts in use"),),
)
