"""Totals of the rows that a filter selects, and those of each connection, driver, label and
capture: sums over the index (trace/rowsums.py).

Nothing is read again except the messages that the filter itself needs. Statements and marks under a
filter need the whole session, and so does every counter if a row's counts were not kept (`is_exact`
is then False): counting.py.
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
"""Rows added up between two looks at the clock."""


class RowCounts:
    """The sums over a selection, for the rows that exist when it begins."""

    def __init__(self, selection: Selection, places: Sequence[int] | None = None, stretches: Stretches | None = None) -> None:
        """`places` are those that it may select, if they are known already. With `stretches` it
        selects all of those that are round trips, and sums that are there already are used."""
        self.selection = selection
        self.filter = selection.text
        self.rows = len(selection.trace.rows)
        """How many rows there are, selected or not."""
        self._trace = selection.trace
        self._sums = RowSums(selection.trace)
        self._seen = 0
        self._most = self.rows if places is None else len(places)
        places = range(self.rows) if places is None else places
        self._work = self._added(selection, places) if stretches is None else self._from(stretches, selection, places)

    def update(self, budget_s: float | None = None) -> bool:
        """Continue adding up, within the budget. Returns whether there is more to do. Raises
        FilterError."""
        until = None if budget_s is None else time.perf_counter() + budget_s
        return any(until is not None and time.perf_counter() > until for _ in self._work)

    @property
    def progress(self) -> float:
        """How much of it is done, from 0 to 1."""
        return self._seen / max(1, self._most)

    @property
    def is_exact(self) -> bool:
        """Whether the index has the counts of all of these rows."""
        return self._sums.is_exact

    @property
    def counted(self) -> int:
        """How many connections have selected rows."""
        return len(self._sums.by_connection())

    def connection_counters(self) -> Iterator[tuple[Connection, Counters]]:
        """These connections, each with its counters."""
        for index, counters in sorted(self._sums.by_connection().items()):
            yield self._trace.connections[index], counters

    def by_connection(self) -> dict[int, Counters]:
        """The counters of each connection that has selected rows, by its index."""
        return self._sums.by_connection()

    def totals(self) -> Counters:
        """The counters of all of them."""
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
        """Connections and counters by what they have in common."""
        found: dict[K, tuple[int, Counters]] = {}
        for connection, counters in self.connection_counters():
            number, summed = found.setdefault(key(connection), (0, Counters()))
            summed.add(counters)
            found[key(connection)] = number + 1, summed
        return found

    def _added(self, selection: Selection, places: Sequence[int]) -> Iterator[None]:
        """The work, with a break after each slice of it."""
        for start in range(0, len(places), SLICE):
            rows = self._trace.rows.at(places[start : start + SLICE])
            self._sums.add(selection.counted(rows))
            self._seen = start + len(rows)
            yield

    def _from(self, stretches: Stretches, selection: Selection, places: Sequence[int]) -> Iterator[None]:
        """The same work: of a stretch with most of its rows among the places the others are taken
        away."""
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
