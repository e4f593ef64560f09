"""Facts about all rows in addition to counters: the problems, each driver's most frequent flights,
the transactions, and where each statement was seen.

The flights kept for one connection are bounded; rarer ones beyond the bound are left out.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Callable
from typing import Final

from pgtrace.trace.activity import Activity, AtOnce
from pgtrace.trace.feed import CompleteRows, Feed
from pgtrace.trace.histogram import Histogram
from pgtrace.trace.row import RowKind
from pgtrace.trace.rows import Columns
from pgtrace.trace.sightings import Sightings
from pgtrace.trace.transactions import Transactions

FLIGHTS_KEPT: Final = 64
"""The most flights kept for one connection."""


class Survey(CompleteRows):
    """Problems and flights, kept up to date."""

    def __init__(self, feed: Feed, driver: Callable[[int], str]) -> None:
        """`driver` gives the driver of a connection."""
        self._feed = feed
        self._driver = driver
        self.problems: list[int] = []
        """Places of errors and gaps, rising."""
        self.transactions = Transactions(feed.trace.connections)
        self.sightings = Sightings()
        self.activity = Activity()
        self.at_once = AtOnce(feed.trace.apart)
        self.durations = Histogram()
        """The durations of round trips after set-up."""
        self._flights: dict[int, Counter[str]] = {}
        for subscriber in (self.transactions, self.sightings, self.activity, self.at_once, self):
            feed.subscribe(subscriber)

    @property
    def open(self) -> list[int]:
        """Places of rows that are not complete."""
        return self._feed.open

    def completed(self, rows: Columns) -> None:
        index = rows.index
        problems: set[tuple[int, int, int]] = set()
        others: set[int] = set()
        for key, number in rows.alike.items():
            connection, shape_number, label = key
            shape = index.shape_at(shape_number)
            if shape.is_problem or index.label_at(label).end:
                problems.add(key)
            if shape.kind is not RowKind.ROUND_TRIP:
                others.add(shape_number)
                continue
            flights = self._flights.setdefault(connection, Counter())
            sent = shape.sent_flight or shape.flight
            if sent in flights or len(flights) < FLIGHTS_KEPT:
                flights[sent] += number
        if problems:
            for place, key in zip(rows.places, rows.keys, strict=True):
                if key in problems:
                    insort(self.problems, place)
        after_setup = rows.where([number not in others for number in rows.shapes]) if others else rows
        self.durations.add_all([round(ms * 1e6) for ms in after_setup.durations_ms])

    def settle(self, *, is_all: bool) -> None:
        if not is_all:
            return  # the last rows of an ended connection may still come
        entries = map(self._feed.trace.rows.entry, self._feed.open)
        self.transactions.set_under_way({entry.connection: entry.opened_ns for entry in entries})

    def after(self, place: int) -> list[int]:
        """Problems after a place, nearest first."""
        return self.problems[bisect_right(self.problems, place) :]

    def before(self, place: int) -> list[int]:
        """Problems before a place, nearest first."""
        return self.problems[: bisect_left(self.problems, place)][::-1]

    def flights(self, is_of: Callable[[int], bool], most: int = 4) -> list[tuple[str, int]]:
        """The driver's flights in the round trips after set-up of these connections, most frequent
        first.
        """
        total: Counter[str] = Counter()
        for number, flights in self._flights.items():
            if is_of(number):
                total.update(flights)
        return total.most_common(most)
