"""introspection: a driver looks up types for itself, again on each connection.

Recognised by the SQL that each driver uses for it (Client.introspection in identify/drivers/). The
queries of an ORM do not count. One connection that asks once is normal. Reported if CONNECTIONS
connections ask, and a FIFTH or more of their round trips are such queries.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify import drivers
from pgtrace.identify.remedies import Remedy
from pgtrace.judge.findings.kind import ROUND_TRIPS, Kind, Note, Seen, Step, Watch, counted

CONNECTIONS: Final = 3
FIFTH: Final = 5
_LABELS_KEPT: Final = 2_000


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._known: dict[int, bool] = {}
        self._all = self._own = 0
        self._places: list[tuple[int, str]] = []
        self._told: Note | None = None

    def row(self, step: Step) -> None:
        if not step.counts:
            return
        self._all += 1
        label = step.text
        own = self._known.get(label)
        if own is None:
            if len(self._known) >= _LABELS_KEPT:
                self._known.clear()
            own = self._known[label] = self._is_own(step.label.sql)
        if own:
            self._own += 1
            self.seen.row_of(step.place, KIND)
            if len(self._places) < 2:
                self._places.append((step.place, "asks for types"))

    def rests(self, step: Step) -> bool:
        return not step.counts or self._known.get(step.text) is False

    def again(self, steps: list[Step]) -> None:
        self._all += len(steps) * steps[0].counts

    def settle(self) -> None:
        if not self._own or not self.seen.over or self._told is not None:
            return
        note = self._told = self.seen.note(KIND)
        note.times += 1
        note.cost += self._own
        note.amount += self._all
        for place, words in self._places:
            note.show(place, words)

    def _is_own(self, sql: str) -> bool:
        driver = drivers.BY_NAME.get(self.seen.connection.driver)
        return driver is not None and driver.introspection is not None and driver.introspection.search(sql) is not None


def _what(note: Note) -> str:
    return f"{note.cost} of {note.amount} round trips of {counted(note.times, 'connection')} are the driver's own type look-ups"


KIND: Final = Kind(
    name="introspection",
    unit=ROUND_TRIPS,
    why="A driver that does not know a type looks it up in the catalogs, again on each new connection. Long-lived connections do so once.",
    watch=_Watch,
    what=_what,
    told=lambda note: note.times >= CONNECTIONS and note.cost * FIFTH >= note.amount,
    remedies=(Remedy("use a pool of long-lived connections; or register the types with the driver, once for each new connection"),),
)
