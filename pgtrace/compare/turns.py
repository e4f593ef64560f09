"""One turn of a variant: a capture that was read to its end, with the counts and times of a unit of
work.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pgtrace.durations import LONGEST_NS
from pgtrace.inspect import details
from pgtrace.protocol import fields
from pgtrace.protocol.codes import BACKEND
from pgtrace.trace.counters import Counters
from pgtrace.trace.noted_marks import mark_counters
from pgtrace.trace.noted_marks import units as count_units
from pgtrace.trace.row import RowKind
from pgtrace.trace.rows import Columns
from pgtrace.trace.rowsums import RowSums
from pgtrace.trace.times import Times, keys_of, times
from pgtrace.variant import SUFFIX
from pgtrace.whole import whole_number

if TYPE_CHECKING:
    from pgtrace.legs.joins import Joins
    from pgtrace.trace.trace import Trace

_SLICE: Final = 4096
BARS_KEPT: Final = 200
"""The most round trips of one unit that are drawn."""
OWN_KEPT: Final = 3
"""The most statements sent by a pooler itself that are named."""
_RTT: Final = "rtt"
_ERROR: Final = ord("E")
_NO_MESSAGES: Final = frozenset({RowKind.MARK, RowKind.GAP, RowKind.CLOSED})
_SESSIONS: Final = ("session", "replication")


class Bar(NamedTuple):
    """A round trip of the unit that is drawn. Times are in ns from the beginning of the unit."""

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
    """The number of units; 0 if the unit is a mark that the capture does not have."""
    complete: bool
    counters: Counters
    """The counters of all units; if the unit is a mark, of its marks."""
    listed: Counters
    """The sums over the rows that a filter can list for the units. They may be smaller than
    `counters`, which include the parts of round trips that were under way when a mark began or
    ended.
    """
    times: Times
    drivers: tuple[str, ...]
    sqlstates: Counter[str]
    whole: Counters
    """The counters of the whole capture, because connections are often set up outside the unit."""
    connections: int
    """The number of sessions, with those whose beginning was not recorded."""
    all_round_trips: int
    waited_ns: int
    """The sum of the durations of all round trips in the capture, set-up included."""
    elapsed_ns: int
    """The time from the first connection to the last message; the recorder may have run much
    longer.
    """
    bars: tuple[Bar, ...] = ()
    """The round trips of the first unit."""
    joins: Mapping[str, Any] | None = None
    """What a pooler did in the whole capture, as in `stats --json`; None without a pooler."""
    own: Sequence[tuple[str, int]] = ()
    """The statements that the pooler sent on its own, with their numbers, most frequent first."""
    has_client_time: bool = True
    """Whether the time between round trips is known; it is not for a program's own marks."""
    took_ns: int | None = None
    """How long the program ran; None if that is not known."""

    def each(self, number: float) -> float:
        """That number divided by the number of units."""
        return number / max(1, self.units)


def named_apart(files: Iterable[str], taken: Container[str]) -> dict[str, str]:
    """A label for each capture that has none: the end of its path, without the suffix, with as many
    directories as needed to distinguish it from the other captures and from the labels `taken`.
    """
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
    """Measure a capture that was read to its end. `unit` is the name of a mark, or the number of
    units in the capture. `draws` says whether the turn gets bars.
    """
    apart = trace.apart
    sessions = [one for one in trace.connections if one.kind in _SESSIONS and one.index not in apart]

    def counted(rows: Columns) -> Columns:
        """Drop the rows of a pooler's side towards the server."""
        return rows.where([connection not in apart for connection in rows.connections]) if apart else rows

    whole = counters = trace.totals()
    found = times(trace, keys_of(trace, "all"), counted).get(None) or Times()
    units = 1 if isinstance(unit, str) else unit
    if isinstance(unit, str):
        counters = mark_counters(trace).get(unit) or Counters()
        units = count_units(trace, unit)
        setup = found.setup
        found = times(trace, keys_of(trace, "mark"), counted).get(unit) or Times()
        found.setup = setup
    waited_ns = round_trips = ended_ns = 0
    sqlstates: Counter[str] = Counter()
    sums = RowSums(trace)
    for start in range(0, len(trace.rows), _SLICE):
        rows = counted(trace.rows.columns(start, start + _SLICE))
        complete = rows.round_trips.complete
        waited_ns += round(sum(complete.durations_ms) * 1e6)
        round_trips += len(complete)
        ended_ns = max(ended_ns, _ended_ns(trace, rows))
        sqlstates.update(_sqlstates(trace, rows))
        sums.add(rows if isinstance(unit, int) else rows.where([unit in trace.marks.names_at(place) for place in rows.places]))
    began_ns = min((one.opened_ns for one in sessions), default=ended_ns)
    return Turn(
        label,
        whole_number(trace.settings.get((0, _RTT), ""), LONGEST_NS) or 0,
        trace.files[0],
        units,
        trace.complete,
        counters,
        sums.totals(),
        found,
        tuple(sorted({one.driver for one in sessions})),
        sqlstates,
        whole,
        len(sessions),
        round_trips,
        waited_ns,
        max(0, ended_ns - began_ns),
        tuple(_bars(trace, unit if isinstance(unit, str) else None, units)) if draws else (),
        joins.as_dict() if joins is not None else None,
        [own for pooler in joins.poolers for own in joins.own_statements(pooler)][:OWN_KEPT] if joins is not None else (),
        has_client_time=units > 0 and unit not in trace.call_sites.units,
    )


def _ended_ns(trace: Trace, rows: Columns) -> int:
    """When the last message of these rows passed, in ns; for a row that never closed, its first."""
    rows = rows.where([trace.rows.shape_at(shape).kind not in _NO_MESSAGES for shape in rows.shapes])
    lasted_ns = [0 if math.isnan(ms) else round(ms * 1e6) for ms in rows.durations_ms]
    return max(map(int.__add__, rows.opened_ns, lasted_ns), default=0)


def _sqlstates(trace: Trace, rows: Columns) -> Counter[str]:
    """The errors of these rows by SQLSTATE; `?` if an error has none, or its bytes are not kept."""
    found: Counter[str] = Counter()
    for place, shape, label in zip(rows.places, rows.shapes, rows.labels, strict=True):
        errors = trace.rows.shape_at(shape).errors
        if errors == 1:
            found[trace.rows.label_at(label).sqlstate or "?"] += 1
        elif errors:
            left = errors
            with suppress(details.NotKept):
                for message in details.scan(trace, place):
                    if message.side == BACKEND and message.code == _ERROR:
                        found[fields.error_fields(message.body).get("C") or "?"] += 1
                        left -= 1
            if left > 0:
                found["?"] += left
    return found


def _bars(trace: Trace, mark: str | None, units: int) -> list[Bar]:
    """The round trips of the first unit; without a mark, the first of the capture. For a program's
    own marks, those of a mark that no other overlaps. If all marks overlap, it is not known to
    which of them a round trip on another connection belongs; then those of the first mark to end,
    on its first connection.
    """
    begin, end = 0, len(trace.rows)
    wanted, inside, is_alone = BARS_KEPT, None, True
    if mark is not None and (intervals := trace.marks.intervals(mark)):
        begin, end = intervals[0].begins_at, intervals[0].ends_at or end
    elif mark is not None:
        began_ns, ended_ns, is_alone = trace.call_sites.one_unit(mark) or (0, trace.duration_ns, False)
        slices = [trace.rows.columns(start, start + _SLICE) for start in range(0, end, _SLICE)]
        inside = [
            place
            for rows in slices
            for place, opened_ns in zip(rows.places, rows.opened_ns, strict=True)
            if began_ns <= opened_ns <= ended_ns and mark in trace.marks.names_at(place)
        ]
    elif units > 1:
        wanted = min(BARS_KEPT, max(1, -(-len(trace.rows) // units)))
    drawn: list[Bar] = []
    started_ns: int | None = None
    only: int | None = None
    for place in range(begin, end) if inside is None else inside:
        row = trace.rows[place]
        if not row.is_round_trip or row.duration_ns is None or row.connection in trace.apart:
            continue
        if not is_alone:
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


def shared(marks: Iterable[set[str]]) -> list[str]:
    """The marks that all captures have. If there is only one, it is the unit."""
    common: set[str] | None = None
    for names in marks:
        common = set(names) if common is None else common & names
    return sorted(common or ())
