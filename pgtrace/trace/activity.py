"""When each connection was busy, and how many round trips were open at the same time.

The time in round trips is summed in slices of time, which are the same for all connections so that
they can be compared. There are at most SLICES slices. When the capture outgrows them, every two
become one and the slices are twice as long. So memory does not grow with time, and no round trip is
read again.

The number of round trips open at the same time is found by a sweep over the rows in the order in
which they began, as in times.py. The sweep stops at the first round trip that is still open.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Final

from pgtrace.trace.feed import CompleteRows, Subscriber
from pgtrace.trace.row import RowKind
from pgtrace.trace.rows import Columns

SLICES: Final = 64
MOST_WAITING: Final = 10_000
"""The most round trips that wait for an open one before it counts as open the whole time."""
_FIRST_NS: Final = 1_000_000
"""The length of a slice at first."""


class Activity(CompleteRows):
    """The time in round trips, set-up included, by connection and slice of time."""

    def __init__(self) -> None:
        self._slice_ns = _FIRST_NS
        self._busy: dict[int, dict[int, int]] = defaultdict(dict)

    def completed(self, rows: Columns) -> None:
        rows = rows.round_trips
        if rows:
            self.add(rows.connections, rows.opened_ns, [round(ms * 1e6) for ms in rows.durations_ms])

    def add(self, connections: Sequence[int], opened_ns: Sequence[int], durations_ns: Sequence[int]) -> None:
        """Add round trips: the connection of each, when it began, and how long it took."""
        last_ns = max(map(int.__add__, opened_ns, durations_ns))
        while last_ns >= SLICES * self._slice_ns:
            self._double()
        slice_ns, busy = self._slice_ns, self._busy
        for connection, began_ns, took_ns in zip(connections, opened_ns, durations_ns, strict=True):
            own, place, left_ns = busy[connection], began_ns // slice_ns, took_ns
            room_ns = (place + 1) * slice_ns - began_ns
            while left_ns > room_ns:
                own[place] = own.get(place, 0) + room_ns
                place, left_ns, room_ns = place + 1, left_ns - room_ns, slice_ns
            own[place] = own.get(place, 0) + left_ns

    def of(self, connection: int, until_ns: int, parts: int) -> list[float]:
        """How busy a connection was: the share of time, from 0 to 1, that it spent in round trips,
        for each of `parts` equal parts of the time from the start to `until_ns`. A slice that lies
        in several parts is divided evenly."""
        found = [0.0] * parts
        part_ns = max(1.0, until_ns / parts)
        for place, busy_ns in self._busy.get(connection, {}).items():
            begin_ns, end_ns = place * self._slice_ns, min((place + 1) * self._slice_ns, max(until_ns, place * self._slice_ns + 1))
            first, last = min(parts - 1, int(begin_ns / part_ns)), min(parts - 1, int((end_ns - 1) / part_ns))
            for part in range(first, last + 1):
                inside_ns = min(end_ns, (part + 1) * part_ns) - max(begin_ns, part * part_ns)
                found[part] += busy_ns * max(0.0, inside_ns) / (end_ns - begin_ns)
        return [min(1.0, busy_ns / part_ns) for busy_ns in found]

    def _double(self) -> None:
        self._slice_ns *= 2
        for own in self._busy.values():
            busy = list(own.items())
            own.clear()
            for place, busy_ns in busy:
                own[place // 2] = own.get(place // 2, 0) + busy_ns


class AtOnce(Subscriber):
    """The most round trips that were open at the same time."""

    def __init__(self, apart: Collection[int]) -> None:
        """Connections with the indexes `apart` do not count."""
        self.most = 0
        self.at_ns = 0
        """When that was, for the first time."""
        self._apart = apart
        self._waiting: deque[_Span] = deque()
        """Round trips that began after one that is still open. How many were open depends on when
        that one ends."""
        self._open: dict[int, _Span] = {}
        """Round trips in the sweep that are still open, by place."""
        self._closing: list[int] = []
        """When the round trips end that were open at the latest moment; a heap."""
        self._endless: set[int] = set()
        """Places of open round trips that too many others wait for: they count as open until they
        end."""

    def take(self, rows: Columns) -> None:
        rows = rows.round_trips
        shape_at = rows.index.shape_at
        after_setup = {shape for shape in set(rows.shapes) if shape_at(shape).kind is RowKind.ROUND_TRIP}
        for place, connection, shape, opened_ns, ms in zip(
            rows.places, rows.connections, rows.shapes, rows.opened_ns, rows.durations_ms, strict=True
        ):
            if connection in self._apart:
                continue
            ends_ns = None if isnan(ms) else opened_ns + round(ms * 1e6)
            if ends_ns is not None and not self._waiting:
                self._begin(opened_ns, ends_ns, after_setup=shape in after_setup)
                continue
            span = _Span(place, opened_ns, ends_ns, shape in after_setup)
            self._waiting.append(span)
            if ends_ns is None:
                self._open[place] = span
        self._sweep()

    def completed(self, rows: Columns) -> None:
        for place, opened_ns, ms in zip(rows.places, rows.opened_ns, rows.durations_ms, strict=True):
            span = self._open.pop(place, None)
            if span is not None:
                span.ends_ns = opened_ns + round(ms * 1e6)
            if place in self._endless:
                self._endless.discard(place)
                heapq.heappush(self._closing, opened_ns + round(ms * 1e6))
        self._sweep()

    def _sweep(self) -> None:
        """Advance to the first round trip that is still open."""
        waiting = self._waiting
        while waiting and (waiting[0].ends_ns is not None or len(waiting) > MOST_WAITING):
            span = waiting.popleft()
            if span.ends_ns is None:
                self._endless.add(span.place)
            self._begin(span.opened_ns, span.ends_ns, after_setup=span.after_setup)

    def _begin(self, opened_ns: int, ends_ns: int | None, *, after_setup: bool) -> None:
        """Count the round trips that are open when this one begins; `ends_ns` is None if it is in
        `_endless`."""
        closing = self._closing
        while closing and closing[0] <= opened_ns:
            heapq.heappop(closing)
        if ends_ns is not None:
            heapq.heappush(closing, ends_ns)
        number = len(closing) + len(self._endless)
        if number > self.most and after_setup:
            self.most, self.at_ns = number, opened_ns


@dataclass(slots=True)
class _Span:
    """A round trip."""

    place: int
    opened_ns: int
    ends_ns: int | None
    """None while it is open."""
    after_setup: bool
