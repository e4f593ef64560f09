"""How long things took, and how much happened at the same time, by driver, label, file, leg, mark
or connection.

    found = times(trace, keys_of(trace, "driver"))
    found["asyncpg"].waits.percentile(95)

One pass over the rows of a trace. Durations go into histograms, so memory does not grow with the
rows: percentiles are within about 2 %. What happened at the same time is found by a sweep over the
rows in the order in which they began.

- **Set-up** is the time from the opening of a connection to the end of its last set-up round trip.
- The **first byte** is the time from the opening of a round trip to the first byte of its answer.
- The **wait** of a round trip is its part of the counter `wait_ns`.
- A connection is **busy** while a round trip or a transaction block is open on it.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pgtrace.trace.histogram import Histogram
from pgtrace.trace.row import RowKind
from pgtrace.trace.rows import Columns

if TYPE_CHECKING:
    from pgtrace.trace.connection import Connection
    from pgtrace.trace.trace import Trace

GROUPS_KEPT: Final = 6_000
"""The most groups of a sweep. Later ones have no times."""
_SLICE: Final = 4096
_IN_BLOCK: Final = ("T", "E")

Keys = Callable[[int, int], Iterable[Hashable]]
"""Takes the place of a row and the index of its connection. Returns the groups to which the row
belongs."""


@dataclass(slots=True)
class Times:
    """The times of one group."""

    setup: Histogram = field(default_factory=Histogram)
    first: Histogram = field(default_factory=Histogram)
    waits: Histogram = field(default_factory=Histogram)
    durations: Histogram = field(default_factory=Histogram)
    connections_open: int = 0
    """The most connections open at the same time."""
    connections_busy: int = 0
    """The most connections busy at the same time."""
    round_trips_at_once: int = 0
    """The most round trips open at the same time."""

    def as_dict(self) -> dict[str, Any]:
        """`times` of `stats --json`."""
        return {
            "setup_ns": _shown(self.setup),
            "first_byte_ns": _shown(self.first),
            "wait_ns": _shown(self.waits),
            "duration_ns": _shown(self.durations),
            "connections_open": self.connections_open,
            "connections_busy": self.connections_busy,
            "round_trips_at_once": self.round_trips_at_once,
        }


def _shown(histogram: Histogram) -> dict[str, int]:
    shown = {"count": histogram.count, "total": histogram.total}
    return shown | {f"p{percent}": histogram.percentile(percent) for percent in (50, 95, 99)} | {"max": histogram.max}


class _Group:
    """The state of one group during the sweep."""

    __slots__ = ("busy", "closing", "leaving", "open", "times")

    def __init__(self) -> None:
        self.times = Times()
        self.open: set[int] = set()
        self.busy: set[int] = set()
        self.closing: list[tuple[int, int, bool]] = []
        """When round trips close, of which connection, and whether that connection is busy
        afterwards."""
        self.leaving: list[tuple[int, int]] = []
        """When connections close."""

    def at(self, now_ns: int) -> None:
        """Remove what has ended by this time."""
        while self.closing and self.closing[0][0] <= now_ns:
            _, connection, is_busy = heapq.heappop(self.closing)
            if not is_busy:
                self.busy.discard(connection)
        while self.leaving and self.leaving[0][0] <= now_ns:
            connection = heapq.heappop(self.leaving)[1]
            self.open.discard(connection)
            self.busy.discard(connection)


def times(trace: Trace, keys: Keys, rows: Callable[[Columns], Columns] = lambda rows: rows) -> dict[Hashable, Times]:
    """The times of each group, in the order of their first rows, for at most GROUPS_KEPT groups.
    `rows` selects some rows."""
    groups: dict[Hashable, _Group] = {}
    # By connection, its latest set-up round trip: the place, and when it ended.
    being_set_up: dict[int, tuple[int, int]] = {}

    def is_set_up(connection: int) -> None:
        """The latest set-up round trip was the last: the set-up counts in that one's groups."""
        place, ended_ns = being_set_up.pop(connection)
        for key in keys(place, connection):
            if key in groups:
                _set_up(groups[key], trace, connection, ended_ns)

    shape_at = trace.rows.shape_at
    for start in range(0, len(trace.rows), _SLICE):
        some = rows(trace.rows.columns(start, start + _SLICE))
        for place, connection, shape, opened_ns, ms, first_ms, wait_ns in zip(
            some.places,
            some.connections,
            some.shapes,
            some.opened_ns,
            some.durations_ms,
            some.first_ms,
            some.wait_ns,
            strict=True,
        ):
            kind = shape_at(shape).kind
            is_open = math.isnan(ms)
            closes_ns = trace.duration_ns if is_open else opened_ns + round(ms * 1e6)
            if kind is RowKind.SETUP:
                being_set_up[connection] = place, closes_ns
            elif kind is not RowKind.ROUND_TRIP and kind not in (RowKind.RUN, RowKind.CLOSED):
                continue
            elif connection in being_set_up:
                is_set_up(connection)
            for key in keys(place, connection):
                group = groups.get(key)
                if group is None:
                    if len(groups) >= GROUPS_KEPT:
                        continue
                    group = groups[key] = _Group()
                group.at(opened_ns)
                if connection not in group.open:
                    _opens(group, trace, connection)
                if kind > RowKind.SETUP:
                    continue
                found = group.times
                group.busy.add(connection)
                heapq.heappush(group.closing, (closes_ns, connection, shape_at(shape).status in _IN_BLOCK))
                found.connections_busy = max(found.connections_busy, len(group.busy))
                if kind is RowKind.ROUND_TRIP:
                    found.round_trips_at_once = max(found.round_trips_at_once, len(group.closing))
                    found.waits.add(wait_ns)
                    if not is_open:
                        found.durations.add(max(0, round(ms * 1e6)))
                    if not math.isnan(first_ms):
                        found.first.add(max(0, round(first_ms * 1e6)))
    for connection in list(being_set_up):
        is_set_up(connection)
    return {key: group.times for key, group in groups.items()}


def _set_up(group: _Group, trace: Trace, connection: int, set_up_ns: int) -> None:
    one = trace.connections[connection]
    if not one.joined:
        group.times.setup.add(max(0, set_up_ns - one.opened_ns))


def _opens(group: _Group, trace: Trace, connection: int) -> None:
    group.open.add(connection)
    group.times.connections_open = max(group.times.connections_open, len(group.open))
    closed_ns = trace.connections[connection].closed_ns
    if closed_ns is not None:
        heapq.heappush(group.leaving, (closed_ns, connection))


# Groups.


def keys_of(trace: Trace, by: str) -> Keys:
    """The groups of `stats --by`: `driver`, `label`, `file`, `leg` (with its file), `connection`
    (its index), `mark`, or `all` for everything together. A set-up belongs to the marks that were
    open at its end."""
    if by == "all":
        return lambda place, connection: (None,)
    if by == "mark":
        return lambda place, connection: trace.marks.names_at(place)
    if by == "connection":
        return lambda place, connection: (connection,)
    value: Callable[[Connection], Hashable] = {
        "driver": lambda one: one.driver,
        "label": trace.label_of,
        "file": lambda one: one.file,
        "leg": lambda one: (one.file, one.leg),
    }[by]
    known: dict[int, Sequence[Hashable]] = {}

    def of(place: int, connection: int) -> Sequence[Hashable]:
        found = known.get(connection)
        if found is None:
            if len(known) >= _SLICE:
                known.clear()
            one = trace.connections[connection]
            found = known[connection] = (value(one),)
        return found

    return of
