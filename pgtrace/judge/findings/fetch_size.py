"""fetch-size: a result is fetched in portions so small that nearly all the time goes into
requesting the next portion.

Recognised by a portal that is suspended (PortalSuspended) and continued, or by FETCH from a cursor,
in at least PORTIONS portions with fewer than SMALL rows each. The cost is the number of portions
beyond those needed with GOOD rows each. A program that stops early on purpose fetches fewer
portions than that, and is not reported.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.remedies import Remedy
from pgtrace.judge.findings.kind import ROUND_TRIPS, Kind, Note, Seen, Step, Watch, shown
from pgtrace.trace.row import Shape

PORTIONS: Final = 10
SMALL: Final = 50
GOOD: Final = 100
_FETCH: Final = ("FETCH",)
_CURSOR: Final = frozenset({"FETCH", "DECLARE CURSOR", "CLOSE CURSOR", "CLOSE CURSOR ALL"})
"""Tags of commands that fetch from a cursor, or that begin or end another cursor of that name."""
_EVIDENCE: Final = 3


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._label = -1
        self._is_mixed = False
        """Whether it began in one round trip with other statements, so that its text is not known.
        Some drivers send BEGIN together with the first statement.
        """
        self._portions = self._rows = 0
        self._places: list[int] = []

    def row(self, step: Step) -> None:
        shape = step.shape
        fetches = shape.tags == _FETCH and shape.depth == 1
        goes_on = fetches or (shape.sent[:1] == b"E" and not step.sends("B"))
        # together with its Bind, or after a round trip that only binds
        begins = shape.received.count(b"s") == 1
        if not (goes_on and (step.text == self._label or self._is_mixed)):
            self._over()
            if not (begins or fetches):
                return
        self._is_mixed = begins and shape.depth > 1
        self._label = step.text
        if step.counts:
            self._portions += 1
            self._rows += step.rows
            if self._portions > 1:
                self.seen.row_of(step.place, KIND)
            if len(self._places) < _EVIDENCE:
                self._places.append(step.place)
        if b"s" not in shape.received and not fetches:
            self._over()

    def lost(self) -> None:
        self._label, self._is_mixed, self._portions, self._rows, self._places = -1, False, 0, 0, []

    def settle(self) -> None:
        if self.seen.over:
            self._over()

    def _over(self) -> None:
        if self._portions >= PORTIONS and self._rows < SMALL * self._portions:
            row = self.seen.trace.rows[self._places[1]]  # the first may hold others as well
            note = self.seen.note(KIND, row.label.sql[:2_000])
            needed = max(1, -(-self._rows // GOOD))
            note.times += self._portions
            note.cost += max(0, self._portions - needed)
            note.amount += self._rows
            for place in self._places:
                note.show(place, f"{self.seen.trace.rows[place].rows} of {self._rows} rows")
            if row.shape.tags == _FETCH:
                note.fact("FETCH")
        self.lost()


def _cares(shape: Shape) -> bool:
    return b"s" in shape.received or not _CURSOR.isdisjoint(shape.tags) or (shape.sent[:1] == b"E" and b"B" not in shape.sent)


def _what(note: Note) -> str:
    each = note.amount / max(1, note.times)
    return f"{shown(note)}: {note.amount} rows in {note.times} portions, {each:.0f} per round trip: the fetch size is too small"


KIND: Final = Kind(
    name="fetch-size",
    unit=ROUND_TRIPS,
    why="Each portion of a result costs a round trip. With only a few rows in each, most of the time is network latency.",
    watch=_Watch,
    what=_what,
    cares=_cares,
    remedies=(
        Remedy(
            "use a larger fetch size, a few hundred rows at once; or fetch the whole result, if it is small",
            tried="larger-portions",
            clients=("pg8000",),
        ),
    ),
)
