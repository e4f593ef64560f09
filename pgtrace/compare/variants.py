"""Variants side by side: what each turn of each variant counted and took, and what that says.

A variant is one label; a turn is one capture of it, at one distance (`--rtt`). Counts and times are
those of a unit of work: of a mark, or of the whole capture divided by the number of units. Several
turns give a median and a spread. Variants whose spreads of a time overlap cannot be told apart.

There are two costs at a distance. Computed: the time spent waiting at the nearest distance, and
each round trip once more for the difference. Measured: the time spent waiting there. Both add up
over all connections, set-up included, so they hold for any number of clients.
"""

from __future__ import annotations

import os
import statistics
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import PurePath
from typing import TYPE_CHECKING, Final, NamedTuple

from pgtrace.trace.counters import Counters
from pgtrace.trace.noted_marks import mark_counters
from pgtrace.trace.noted_marks import units as count_units
from pgtrace.trace.row import RowKind
from pgtrace.trace.rows import Columns
from pgtrace.trace.times import Times, keys_of, times
from pgtrace.variant import SUFFIX

if TYPE_CHECKING:
    from pgtrace.trace.trace import Trace

_SLICE: Final = 4096
BARS_KEPT: Final = 200
"""The most round trips of one unit that are drawn."""
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


def measure(trace: Trace, label: str, unit: str | int, *, draws: bool) -> Turn:
    """A capture that was read to its end, as one turn. `unit` is the name of a mark, or the number
    of units in the capture."""
    is_mark = isinstance(unit, str)
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
        tuple(_bars(trace, unit if is_mark else None, units)) if draws else (),
    )


def _bars(trace: Trace, mark: str | int | None, units: int) -> Iterable[Bar]:
    """The round trips of the first unit; without a mark, the first of all."""
    begin, end = 0, len(trace.rows)
    if isinstance(mark, str) and (intervals := trace.marks.intervals(mark)):
        begin, end = intervals[0].begins_at, intervals[0].ends_at or end
    drawn: list[Bar] = []
    started_ns: int | None = None
    wanted = BARS_KEPT
    if mark is None and units > 1:
        wanted = min(BARS_KEPT, max(1, -(-sum(1 for _ in range(len(trace.rows))) // units)))
    for place in range(begin, end):
        row = trace.rows[place]
        if not row.is_round_trip or row.duration_ns is None or row.connection in trace.apart:
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


# Several turns.


class Spread(NamedTuple):
    """What several turns say of one number."""

    median: float
    low: float
    high: float
    turns: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of these; there is at least one."""
        return cls(statistics.median(values), min(values), max(values), len(values))

    def overlaps(self, other: Spread) -> bool:
        """Whether the two cannot be told apart."""
        return self.low <= other.high and other.low <= self.high

    @property
    def is_one(self) -> bool:
        """Whether all turns say the same."""
        return self.low == self.high


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number that variants are compared by."""

    key: str
    words: str
    of: Callable[[Turn], float]
    unit: str = ""
    """`ms`, `bytes`, or empty for a number of things."""
    filter: str | None = ""
    """What to add to the filter that lists what it counts; None if nothing can be listed."""

    @property
    def is_time(self) -> bool:
        return self.unit == "ms"


def _count(key: str, words: str, filter_: str | None = "", unit: str = "") -> Quantity:
    return Quantity(key, words, lambda turn: turn.each(getattr(turn.counters, key)), unit, filter_)


def _ms(ns: float) -> float:
    return ns / 1e6


def _wait(percent: int) -> Quantity:
    return Quantity(f"wait_p{percent}_ms", f"wait p{percent}", lambda turn: _ms(turn.times.waits.percentile(percent)), "ms")


SETUP: Final = (
    Quantity("connections", "connections", lambda turn: turn.connections, filter="type:StartupMessage"),
    Quantity(
        "setup_round_trips",
        "set-up round trips of a connection",
        lambda turn: turn.setup_round_trips / max(1, turn.connections),
        filter="type:StartupMessage or type ~ ^Authentication or type:SSLRequest or type:GSSENCRequest",
    ),
    Quantity("setup_ms", "set-up ms", lambda turn: _ms(turn.times.setup.percentile(50)), "ms", "type:StartupMessage"),
)
"""What a connection costs."""
WORK: Final = (
    _count("round_trips", "round trips", "not type:StartupMessage and not type ~ ^Authentication"),
    _count("executions", "executions", "depth > 0"),
    _count("pipelined_executions", "pipelined", "depth > 1"),
    _count("transactions", "transactions", "tx"),
    _count("parses_named", "named Parses", "type:Parse and stmt ~ ."),
    _count("parses_unnamed", "unnamed Parses", "type:Parse"),
    _count("statements_reused", "reused", "type:Bind and not type:Parse"),
    _count("params_text", "parameters in text", "type:Bind"),
    _count("params_binary", "parameters in binary", "type:Bind"),
    _count("values_text", "values in text", "fmt:text or fmt:mixed"),
    _count("values_binary", "values in binary", "fmt:binary or fmt:mixed"),
    _count("rows", "rows", "rows > 0"),
    _count("errors", "errors", "error"),
    _count("frontend_bytes", "bytes sent", "", "bytes"),
    _count("backend_bytes", "bytes received", "", "bytes"),
)
"""What a unit of work counts."""
TIMES: Final = (
    Quantity("first_byte_ms", "first byte p50", lambda turn: _ms(turn.times.first.percentile(50)), "ms"),
    *(_wait(percent) for percent in (50, 95, 99)),
    Quantity("wait_ms", "wait", lambda turn: turn.each(_ms(turn.counters.wait_ns)), "ms"),
    Quantity("client_ms", "client", lambda turn: turn.each(_ms(turn.counters.client_ns)), "ms", None),
    Quantity("elapsed_ms", "elapsed", lambda turn: turn.each(_ms(turn.elapsed_ns)), "ms", None),
)
"""What a unit of work takes."""
AT_ONCE: Final = (
    Quantity("connections_open", "connections open at most", lambda turn: turn.times.connections_open, filter=None),
    Quantity("connections_busy", "connections busy at most", lambda turn: turn.times.connections_busy, filter=None),
    Quantity("round_trips_at_once", "round trips at once", lambda turn: turn.times.round_trips_at_once, filter=None),
)
"""What went on at once."""
QUANTITIES: Final = (*SETUP, *WORK, *TIMES, *AT_ONCE)


@dataclass(slots=True)
class Control:
    """The program without pgtrace in the path, and with it: how long it ran, in ns."""

    direct: list[int] = field(default_factory=list)
    through: list[int] = field(default_factory=list)

    @property
    def added(self) -> tuple[Spread, Spread] | None:
        """Both spreads, in ms; None if there was no control."""
        if not self.direct or not self.through:
            return None
        return Spread.of([_ms(one) for one in self.direct]), Spread.of([_ms(one) for one in self.through])


@dataclass(slots=True)
class Variant:
    """One label with its turns."""

    label: str
    turns: list[Turn] = field(default_factory=list)
    control: Control = field(default_factory=Control)
    failures: list[str] = field(default_factory=list)

    @property
    def nearest(self) -> list[Turn]:
        """The turns at the nearest distance."""
        least = min(turn.rtt_ns for turn in self.turns)
        return [turn for turn in self.turns if turn.rtt_ns == least]

    @property
    def drivers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(driver for turn in self.turns for driver in turn.drivers))

    @property
    def sqlstates(self) -> Counter[str]:
        """Errors of one turn, by SQLSTATE: the most of any."""
        found: Counter[str] = Counter()
        for turn in self.turns:
            found |= turn.sqlstates
        return found

    def spread(self, quantity: Quantity) -> Spread:
        """What its turns at the nearest distance say of a number."""
        return Spread.of([quantity.of(turn) for turn in self.nearest])

    def distances(self) -> list[Distance]:
        """The cost of a unit at each distance."""
        by_rtt: dict[int, list[Turn]] = {}
        for turn in sorted(self.turns, key=lambda turn: turn.rtt_ns):
            by_rtt.setdefault(turn.rtt_ns, []).append(turn)
        base_ns, base = next(iter(by_rtt.items()))
        near = statistics.median(_ms(turn.each(turn.waited_ns)) for turn in base)
        found = []
        for rtt_ns, turns in by_rtt.items():
            round_trips = statistics.median(turn.each(turn.all_round_trips) for turn in turns)
            computed = near + round_trips * _ms(rtt_ns - base_ns)
            measured = Spread.of([_ms(turn.each(turn.waited_ns)) for turn in turns])
            found.append(Distance(rtt_ns, round_trips, computed if rtt_ns != base_ns else None, measured))
        return found


class Distance(NamedTuple):
    """What a unit, set-up included, costs at one distance. In ms."""

    rtt_ns: int
    round_trips: float
    computed: float | None
    """None at the nearest distance, from which the others are computed."""
    measured: Spread

    @property
    def off(self) -> float | None:
        """How far the measured median is from the computed one, as a part of the latter."""
        return None if not self.computed else self.measured.median / self.computed - 1


def told_apart(variants: Sequence[Variant], quantity: Quantity) -> list[tuple[Variant, Variant]]:
    """Neighbours, by median, that a time cannot tell apart. With a single turn there is no spread,
    so nothing can be said."""
    if not quantity.is_time:
        return []
    ordered = sorted(variants, key=lambda variant: variant.spread(quantity).median)
    return [
        (one, other)
        for one, other in pairwise(ordered)
        if min(one.spread(quantity).turns, other.spread(quantity).turns) > 1
        and not (one.spread(quantity).is_one and other.spread(quantity).is_one)
        and one.spread(quantity).overlaps(other.spread(quantity))
    ]


def unit_of(marks: Iterable[set[str]]) -> str | None:
    """The mark that all captures have, if there is just one."""
    common: set[str] | None = None
    for names in marks:
        common = set(names) if common is None else common & names
    return next(iter(common)) if common is not None and len(common) == 1 else None
