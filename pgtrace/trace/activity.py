"""When each connection was busy: its round trips in slices of time, which are the same for all
connections so that they compare.

There are at most SLICES slices. When the capture outgrows them, each two become one and the slices
twice as long. So memory does not grow with time, and no round trip is counted again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

from pgtrace.trace.feed import CompleteRows
from pgtrace.trace.rows import Columns

SLICES: Final = 64
_FIRST_NS: Final = 1_000_000
"""The length of a slice at first."""


class Activity(CompleteRows):
    """Round trips by connection and slice of time."""

    def __init__(self) -> None:
        self._slice_ns = _FIRST_NS
        self._counts: dict[int, dict[int, int]] = defaultdict(dict)

    def completed(self, rows: Columns) -> None:
        rows = rows.round_trips
        if rows:
            self.add(rows.connections, rows.opened_ns)

    def add(self, connections: Sequence[int], opened_ns: Sequence[int]) -> None:
        """Count round trips: the connection of each, and when it began."""
        last_ns = max(opened_ns)
        while last_ns >= SLICES * self._slice_ns:
            self._double()
        slice_ns = self._slice_ns
        first = min(opened_ns) // slice_ns
        if first == last_ns // slice_ns:
            for connection, number in Counter(connections).items():
                own = self._counts[connection]
                own[first] = own.get(first, 0) + number
            return
        for (connection, place), number in Counter(zip(connections, [opened // slice_ns for opened in opened_ns], strict=True)).items():
            own = self._counts[connection]
            own[place] = own.get(place, 0) + number

    def of(self, connection: int, until_ns: int, parts: int) -> list[int]:
        """A connection's round trips in `parts` equal parts of the time from the start to
        `until_ns`."""
        found = [0] * parts
        for place, count in self._counts.get(connection, {}).items():
            found[min(parts - 1, place * self._slice_ns * parts // max(1, until_ns))] += count
        return found

    def _double(self) -> None:
        self._slice_ns *= 2
        for own in self._counts.values():
            counts = list(own.items())
            own.clear()
            for place, count in counts:
                own[place // 2] = own.get(place // 2, 0) + count
