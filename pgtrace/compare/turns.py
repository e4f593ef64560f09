"""One turn of a variant: a capture that was read to its end, and what a unit of work took there."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pgtrace.trace.counters import Counters
from pgtrace.trace.noted_marks import mark_counters
from pgtrace.trace.noted_marks import units as count_units
from pgtrace.trace.row import RowKind
from pgtrace.trace.rows import Columns
from pgtrace.trace.times import Times, keys_of, times
from pgtrace.variant import SUFFIX

if TYPE_CHECKING:
    from pgtrace.legs.joins import Joins
    from pgtrace.trace.trace import Trace

_SLICE: Final = 4096
BARS_KEPT: Final = 200
"""The most round trips of one unit that are drawn."""
OWN_KEPT: Final = 3
"""The most statements of a pooler's own that are named."""
_RTT: Final = "rtt"


class Bar(NamedTuple):
    """One round trip of the unit that is drawn. Times are ns from the beginning of the unit."""

    connection: str
    opened_ns: int
    first_ns: int | None
    closed_ns: int
    setup: bool
    flight: str
    sql: str
    error: str
    place: int


@dataclass(slots=True)
class Turn:
    """One capture of a variant."""

    label: str
    rtt_ns: int
    path: str
    units: int
    complete: bool
    counters: Counters
    """Of all units; of the marks, if the unit is one."""
    times: Times
    drivers: tuple[str, ...]
    sqlstates: Counter[str]
    connections: int
    setup_round_trips: int
    """Of the whole capture: a connection is often set up outside the unit."""
    all_round_trips: int
    waited_ns: int
    """From the opening to the end of each round trip of the whole capture, set-up included."""
    elapsed_ns: int
    """From the first connection to the last record."""
    bars: tuple[Bar, ...] = ()
    """The first unit."""
    joins: Mapping[str, Any] | None = None
    """What a pooler did in the whole capture, as in `stats --json`, or None."""
    side: str = ""
    """The filter for the drivers' side of a pooler, if the capture has both sides."""
    own: Sequence[tuple[str, int]] = ()
    """What it asked servers on its own, and how often, most first."""
    took_ns: int | None = None
    """How long the program ran, from its start to its end."""

    def each(self, number: float) -> float:
        """That much for one unit."""
        return number / self.units


def named_apart(files: Iterable[str], taken: Container[str]) -> dict[str, str]:
    """A label for each capture that has none: the end of its path, without the suffix, with as many
    directories as tell it apart from the other captures and from the labels `taken`."""
    paths = {file: _steps(file) for file in files}
    names: dict[str, str] = {}
    for file, steps in paths.items():
        others = [other for other in paths.values() if other != steps]
        for depth in range(1, len(steps) + 1):
            names[file] = "/".join(steps[-depth:])
            if names[file] not in taken and all(other[-depth:] != steps[-depth:] for other in others):
                break
    return names


def _steps(file: str) -> tuple[str, ...]:
    *directories, name = PurePath(os.path.abspath(file)).parts
    return (*directories, name.partition(SUFFIX)[0] or name)


def measure(trace: Trace, label: str, unit: str | int, joins: Joins | None = None, *, draws: bool) -> Turn:
    """A capture that was read to its end, as one turn. `unit` is the name of a mark, or the number
    of units in the capture."""
    apart = trace.apart
    sessions = [one for one in trace.connections if one.kind == "session" and one.index not in apart]

    def counted(rows: Columns) -> Columns:
        """Without what a pooler did on the server's side."""
        return rows.where([connection not in apart for connection in rows.connections]) if apart else rows

    counters = trace.totals()
    found = times(trace, keys_of(trace, "all"), counted).get(None) or Times()
    units = 1 if isinstance(unit, str) else unit
    if isinstance(unit, str):
        counters = mark_counters(trace).get(unit) or Counters()
        units = max(1, count_units(trace, unit))
        setup = found.setup
        found = times(trace, keys_of(trace, "mark"), counted).get(unit) or Times()
        found.setup = setup
    waited_ns = 0
    sqlstates: Counter[str] = Counter()
    setups = round_trips = 0
    for start in range(0, len(trace.rows), _SLICE):
        rows = counted(trace.rows.columns(start, start + _SLICE)).round_trips.complete
        waited_ns += round(sum(rows.durations_ms) * 1e6)
        for (_, shape, label_number), number in rows.alike.items():
            shown = trace.rows.shape_at(shape)
            setups += number * (shown.kind is RowKind.SETUP)
            round_trips += number
            if shown.errors:
                sqlstates[trace.rows.label_at(label_number).sqlstate or "?"] += number * shown.errors
    first_ns = min((one.opened_ns for one in trace.connections), default=0)
    return Turn(
        label,
        int(trace.settings.get((0, _RTT), "0") or 0),
        trace.files[0],
        units,
        trace.complete,
        counters,
        found,
        tuple(sorted({one.driver for one in sessions})),
        sqlstates,
        len(sessions),
        setups,
        round_trips,
        waited_ns,
        max(0, trace.duration_ns - first_ns),
        tuple(_bars(trace, unit if isinstance(unit, str) else None, units)) if draws else (),
        joins.as_dict() if joins is not None else None,
        " or ".join(sorted({f"leg:{pooler.front[1]}" for pooler in joins.poolers})) if joins is not None else "",
        [own for pooler in joins.poolers for own in joins.own_statements(pooler)][:OWN_KEPT] if joins is not None else (),
    )


def _bars(trace: Trace, mark: str | None, units: int) -> list[Bar]:
    """The round trips of the first unit; without a mark, the first of all. A program's own marks
    have no intervals: as many as a unit has on average, of the first connection in the mark."""
    begin, end = 0, len(trace.rows)
    wanted, inside = BARS_KEPT, frozenset[int]()
    if mark is not None and (intervals := trace.marks.intervals(mark)):
        begin, end = intervals[0].begins_at, intervals[0].ends_at or end
    elif mark is not None:
        inside = frozenset(place for place in range(end) if mark in trace.marks.names_at(place))
        wanted = min(BARS_KEPT, max(1, -(-len(inside) // units)))
    elif units > 1:
        wanted = min(BARS_KEPT, max(1, -(-len(trace.rows) // units)))
    drawn: list[Bar] = []
    started_ns: int | None = None
    only: int | None = None
    for place in sorted(inside) or range(begin, end):
        row = trace.rows[place]
        if not row.is_round_trip or row.duration_ns is None or row.connection in trace.apart:
            continue
        if inside:
            only = row.connection if only is None else only
            if row.connection != only:
                continue
        if started_ns is None:
            started_ns = row.opened_ns
        drawn.append(
            Bar(
                trace.name_of(trace.connections[row.connection]),
                row.opened_ns - started_ns,
                row.first_ns,
                row.opened_ns - started_ns + row.duration_ns,
                row.shape.kind is RowKind.SETUP,
                row.shape.flight,
                row.label.sql,
                row.label.error,
                place,
            )
        )
        if len(drawn) >= wanted:
            break
    return drawn


def unit_of(marks: Iterable[set[str]]) -> str | None:
    """The mark that all captures have, if there is just one."""
    common: set[str] | None = None
    for names in marks:
        common = set(names) if common is None else common & names
    return next(iter(common)) if common is not None and len(common) == 1 else None
