"""Variants side by side: what the turns of each say.

A variant is one label; a turn is one capture of it, at one distance (`--rtt`; turns.py). Counts and
times are those of a unit of work: of a mark, or of the whole capture divided by the number of
units. Several turns give a median and a spread. Variants whose spreads of a time overlap cannot be
told apart.

There are two costs at a distance. Computed: the time spent waiting at the nearest distance, and
each round trip once more for the difference. Measured: the time spent waiting there. Both add up
over all connections, set-up included, so they hold for any number of clients.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

from pgtrace.compare.turns import Turn


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


def _pooler(key: str, words: str) -> Quantity:
    return Quantity(f"pooler_{key}", words, lambda turn: turn.joins[key] if turn.joins is not None else 0, filter=None)


def _in_pooler(key: str, percent: int, words: str) -> Quantity:
    name = f"{key.removesuffix('_ns')}_p{percent}_ms"
    return Quantity(name, words, lambda turn: _ms(turn.joins[key][f"p{percent}"]) if turn.joins is not None else 0, "ms", None)


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
    _count("parses_unnamed", "unnamed Parses", "type:Parse and not stmt ~ ."),
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
POOLER: Final = (
    _pooler("joined", "round trips that reached a server"),
    _pooler("ambiguous", "ambiguous"),
    _pooler("unjoined", "not found behind it"),
    _pooler("swallowed", "answered by the pooler"),
    _pooler("added", "added by the pooler"),
    _pooler("renamed", "with renamed statements"),
    _pooler("switches", "switches to another server connection"),
    _in_pooler("pooler_ns", 50, "ms in the pooler p50"),
    _in_pooler("pooler_ns", 95, "ms in the pooler p95"),
    _in_pooler("before_ns", 95, "ms until it asked a server p95"),
)
"""What a pooler did with the round trips of a whole turn."""
QUANTITIES: Final = (*SETUP, *WORK, *TIMES, *AT_ONCE, *POOLER)


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
    def has_pooler(self) -> bool:
        """Whether a turn has both sides of a pooler."""
        return any(turn.joins is not None for turn in self.turns)

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
