"""Totals of the selected rows, also by connection, driver, label and capture: sums over the index
(trace/rowsums.py).

Nothing is read again, except messages that the filter itself needs. Statements and marks under a
filter need a second reading (counting.py). So does every counter if a row's counts were not kept;
`is_exact` is then False.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from pgtrace.ask.filter.selection import Selection
from pgtrace.trace.connection import Connection
from pgtrace.trace.counters import Counters
from pgtrace.trace.rowsums import RowSums

if TYPE_CHECKING:
    from pgtrace.trace.stretches import Stretches

K = TypeVar("K")

SLICE: Final = 2048
"""How many rows are added up before the clock is checked again."""


class RowCounts:
    """The sums over a selection, for the rows that exist when it begins."""

    def __init__(self, selection: Selection, places: Sequence[int] | None = None, stretches: Stretches | None = None) -> None:
        """Prepare to add up; update() does it. `places` are those that the selection may select, if
        they are known. With `stretches` it selects all round trips among them, and existing sums
        are used.
        """
        self.selection = selection
        self.filter = selection.text
        self.rows = len(selection.trace.rows)
        """The number of rows of the trace, selected or not."""
        self._trace = selection.trace
        self._sums = RowSums(selection.trace)
        self._seen = 0
        self._most = self.rows if places is None else len(places)
        places = range(self.rows) if places is None else places
        self._work = self._added(selection, places) if stretches is None else self._from(stretches, selection, places)

    def update(self, budget_s: float | None = None) -> bool:
        """Continue to add up, for at most `budget_s` seconds. Returns whether there is more to do.
        Raises FilterError.
        """
        until = None if budget_s is None else time.perf_counter() + budget_s
        return any(until is not None and time.perf_counter() > until for _ in self._work)

    @property
    def progress(self) -> float:
        """The share of the work that is done, from 0 to 1."""
        return self._seen / max(1, self._most)

    @property
    def is_exact(self) -> bool:
        """Whether the index has the counts of all selected rows."""
        return self._sums.is_exact

    @property
    def counted(self) -> int:
        """The number of connections with selected rows."""
        return len(self._sums.by_connection())

    def connection_counters(self) -> Iterator[tuple[Connection, Counters]]:
        """The connections with selected rows, each with its counters."""
        for index, counters in sorted(self._sums.by_connection().items()):
            yield self._trace.connections[index], counters

    def by_connection(self) -> dict[int, Counters]:
        """Index of a connection with selected rows -> its counters."""
        return self._sums.by_connection()

    def totals(self) -> Counters:
        """The counters of all selected rows."""
        return self._sums.totals()

    def drivers(self) -> list[tuple[str, int, Counters]]:
        """(driver, connections, counters), most round trips first."""
        found = self._summed(lambda connection: connection.driver)
        ordered = sorted(found.items(), key=lambda item: (-item[1][1].round_trips, item[0]))
        return [(driver, number, counters) for driver, (number, counters) in ordered]

    def file_counters(self) -> list[tuple[str, int, Counters]]:
        """(name, connections, counters) of each capture, in their order."""
        found = self._summed(lambda connection: connection.file)
        return [(name, *found.get(file, (0, Counters()))) for file, name in enumerate(self._trace.files)]

    def label_counters(self) -> list[tuple[str, int, Counters]]:
        """(label, connections, counters), in the order of the captures."""
        return self._trace.labelled(self.file_counters())

    def _summed(self, key: Callable[[Connection], K]) -> dict[K, tuple[int, Counters]]:
        """The number of connections and the sum of their counters, by key."""
        found: dict[K, tuple[int, Counters]] = {}
        for connection, counters in self.connection_counters():
            number, summed = found.setdefault(key(connection), (0, Counters()))
            summed.add(counters)
            found[key(connection)] = number + 1, summed
        return found

    def _added(self, selection: Selection, places: Sequence[int]) -> Iterator[None]:
        """Add up the places; yields after each slice."""
        for start in range(0, len(places), SLICE):
            rows = self._trace.rows.at(places[start : start + SLICE])
            self._sums.add(selection.counted(rows))
            self._seen = start + len(rows)
            yield

    def _from(self, stretches: Stretches, selection: Selection, places: Sequence[int]) -> Iterator[None]:
        """Add up the places with the help of the stretches: if most rows of a stretch are among the
        places, the others are subtracted from its sums.
        """
        at, rows = 0, self._trace.rows
        while at < len(places):
            span = stretches.span(places[at])
            stop = bisect_left(places, span.stop, at, min(len(places), at + len(span)))
            stretch = stretches.at(span.start) if 2 * (stop - at) > len(span) else None
            if stretch is None:
                self._sums.add(selection.counted(rows.at(places[at:stop])))
            else:
                self._sums.merge(stretch.sums, selection.apart)
                if stop - at < len(span):
                    others = sorted(set(span).difference(places[at:stop]))
                    self._sums.add(selection.counted(rows.at(others)), -1)
            self._seen = at = stop
            yield
