"""What the screen wants to know about all rows and no counter tells: where the problems are, each driver's most frequent flights, transactions, and where
each statement was seen.

Every row is looked at when it is complete, once; rows still open are kept aside and looked at again. Like a listing it works in slices of time.
The flights kept for one connection are bounded; rarer ones beyond the bound are not told.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Callable
from typing import Final

from pgtrace.trace.activity import Activity
from pgtrace.trace.rows import Kind, Row
from pgtrace.trace.sightings import Sightings
from pgtrace.trace.statements import Histogram
from pgtrace.trace.trace import Trace
from pgtrace.trace.transactions import Transactions

FLIGHTS_KEPT: Final = 64
"""Different flights kept for one connection."""
_SLICE: Final = 256


class Survey:
    """Problems and flights, kept up to date."""

    def __init__(self, trace: Trace, driver: Callable[[int], str]) -> None:
        """`driver` tells the driver of a connection."""
        self.trace = trace
        self._driver = driver
        self.problems: list[int] = []
        """Places of errors and gaps, rising."""
        self.transactions = Transactions(trace.connections)
        self.sightings = Sightings()
        self.activity = Activity()
        self.durations = Histogram()
        """Of round trips behind set-up."""
        self._flights: dict[int, Counter[str]] = {}
        self.open: list[int] = []
        """Places of rows that are not complete."""
        self._seen = 0

    def sync(self, budget_s: float | None = None) -> None:
        """Look at what is new or newly complete."""
        rows = self.trace.rows
        waiting, self.open = self.open, []
        for place in waiting:
            self._take(place, rows[place])
        until = None if budget_s is None else time.perf_counter() + budget_s
        end = len(rows)
        while self._seen < end:
            stop = min(end, self._seen + _SLICE)
            for place in range(self._seen, stop):
                self._take(place, rows[place])
            self._seen = stop
            if until is not None and time.perf_counter() > until:
                break
        self.transactions.settle({row.connection: row.opened_ns for row in map(rows.__getitem__, self.open)})

    def after(self, place: int) -> list[int]:
        """Problems behind a place, nearest first."""
        return self.problems[bisect_right(self.problems, place) :]

    def before(self, place: int) -> list[int]:
        """Problems before a place, nearest first."""
        return self.problems[: bisect_left(self.problems, place)][::-1]

    def flights(self, driver: str, most: int = 4) -> list[tuple[str, int]]:
        """What the driver sent in its round trips after set-up, most frequent first."""
        total: Counter[str] = Counter()
        for number, flights in self._flights.items():
            if self._driver(number) == driver:
                total.update(flights)
        return total.most_common(most)

    def _take(self, place: int, row: Row) -> None:
        if row.is_open:
            self.open.append(place)
            return
        if row.is_problem:
            insort(self.problems, place)
        self.transactions.take(place, row)
        self.sightings.take(row)
        if row.is_round_trip:
            self.activity.take(row.connection, row.opened_ns)
        if row.shape.kind is Kind.ROUND_TRIP:
            self.durations.add(row.duration_ns or 0)
            flights = self._flights.setdefault(row.connection, Counter())
            sent = row.shape.flight.partition(" → ")[0]
            if sent in flights or len(flights) < FLIGHTS_KEPT:
                flights[sent] += 1
