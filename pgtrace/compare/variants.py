"""Variants side by side: the counts and times of their turns.

A variant has one label; a turn is one capture of it, at one distance (`--rtt`; turns.py). Counts
and times are per unit of work: a mark, or the whole capture divided by the number of units. Several
turns give a median and a spread. Variants whose spreads of a time overlap cannot be told apart.

There are two costs at a distance. The computed cost is the time spent waiting at the nearest
distance, plus the difference in distance for each round trip. The measured cost is the time spent
waiting at the distance itself. Both are sums over all connections, set-up included, so they hold
for any number of clients.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final, NamedTuple

from pgtrace.compare.turns import Turn
from pgtrace.protocol import codes
from pgtrace.protocol.codes import FRONTEND

_WAITED: Final = "count.round_trips"
_SET_UP: Final = "count.setup_round_trips"
_STARTED: Final = codes.message_name(FRONTEND, codes.STARTUP_MESSAGE)


class Spread(NamedTuple):
    """The lowest, middle and highest value of one number over several turns."""

    median: float
    low: float
    high: float
    turns: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of these values; there must be at least one."""
        return cls(statistics.median(values), min(values), max(values), len(values))

    def overlaps(self, other: Spread) -> bool:
        """Whether the spreads overlap, so that the two cannot be told apart."""
        return self.low <= other.high and other.low <= self.high

    @property
    def is_one(self) -> bool:
        """Whether all turns have the same value."""
        return self.low == self.high


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number by which variants are compared."""

    key: str
    words: str
    of: Callable[[Turn], float]
    unit: str = ""
    """`ms`, `bytes`, or empty for a plain number."""
    filter: str | None = None
    """If it is not a counter: the filter that lists what it counts; None if nothing can be listed.
    """
    counter: str = ""
    """The name of the counter, if it is one."""
    is_whole: bool = False
    """Whether it belongs to the whole capture, not to a unit."""
    is_known: Callable[[Turn], bool] = lambda turn: True
    """Whether the number is known for a turn; unknown is not 0."""

    @property
    def is_time(self) -> bool:
        return self.unit == "ms"

    def listing(self, turn: Turn) -> str | None:
        """The filter that lists what it counts in a turn; None if no filter lists exactly that."""
        if not self.counter:
            return self.filter
        is_exact = getattr(turn.counters, self.counter) == getattr(turn.listed, self.counter)
        return f"count.{self.counter}" if is_exact else None


def _count(key: str, words: str, unit: str = "") -> Quantity:
    return Quantity(key, words, lambda turn: turn.each(getattr(turn.counters, key)), unit, counter=key)


def _started(turn: Turn) -> int:
    """The number of connections that began."""
    return turn.whole.frontend_messages.get(_STARTED, 0)


def _ms(ns: float) -> float:
    return ns / 1e6


def _has_unit(turn: Turn) -> bool:
    return turn.units > 0


def _has_waits(turn: Turn) -> bool:
    """Whether there are waits; without any, a percentile is unknown, not 0."""
    return turn.times.waits.count > 0


def _wait(percent: int) -> Quantity:
    return Quantity(
        f"wait_p{percent}_ms",
        f"wait p{percent}",
        lambda turn: _ms(turn.times.waits.percentile(percent)),
        "ms",
        _WAITED,
        is_known=_has_waits,
    )


def _has_joins(turn: Turn) -> bool:
    return turn.joins is not None


def _times_joins(turn: Turn) -> bool:
    """Whether a round trip was joined with certainty; only then is its time in the pooler known."""
    return turn.joins is not None and turn.joins["joined"] > 0


def _pooler(key: str, words: str) -> Quantity:
    return Quantity(f"pooler_{key}", words, lambda turn: turn.joins[key] if turn.joins is not None else 0, is_known=_has_joins)


def _in_pooler(key: str, percent: int, words: str) -> Quantity:
    name = f"{key.removesuffix('_ns')}_p{percent}_ms"
    return Quantity(
        name, words, lambda turn: _ms(turn.joins[key][f"p{percent}"]) if turn.joins is not None else 0, "ms", is_known=_times_joins
    )


SETUP: Final = (
    Quantity("connections", "connections", _started, filter=f"count.frontend_messages.{_STARTED}", is_whole=True),
    Quantity(
        "setup_round_trips",
        "set-up round trips of a connection",
        lambda turn: turn.whole.setup_round_trips / max(1, _started(turn)),
        filter=_SET_UP,
        is_whole=True,
    ),
    Quantity(
        "setup_ms",
        "set-up ms",
        lambda turn: _ms(turn.times.setup.percentile(50)),
        "ms",
        _SET_UP,
        is_whole=True,
        is_known=lambda turn: turn.times.setup.count > 0,
    ),
)
"""The costs of a connection."""
WORK: Final = (
    _count("round_trips", "round trips"),
    _count("executions", "executions"),
    _count("pipelined_executions", "pipelined"),
    _count("transactions", "transactions"),
    _count("parses_named", "named Parses"),
    _count("parses_unnamed", "unnamed Parses"),
    _count("statements_reused", "reused"),
    _count("params_text", "parameters in text"),
    _count("params_binary", "parameters in binary"),
    _count("values_text", "values in text"),
    _count("values_binary", "values in binary"),
    _count("rows", "rows"),
    _count("errors", "errors"),
    _count("frontend_bytes", "bytes sent", "bytes"),
    _count("backend_bytes", "bytes received", "bytes"),
)
"""The counts of a unit of work."""
TIMES: Final = (
    Quantity("first_byte_ms", "first byte p50", lambda turn: _ms(turn.times.first.percentile(50)), "ms", _WAITED, is_known=_has_waits),
    *(_wait(percent) for percent in (50, 95, 99)),
    Quantity("wait_ms", "wait", lambda turn: turn.each(_ms(turn.counters.wait_ns)), "ms", counter="wait_ns", is_known=_has_unit),
    Quantity(
        "client_ms",
        "client",
        lambda turn: turn.each(_ms(turn.counters.client_ns)),
        "ms",
        is_known=lambda turn: turn.has_client_time,
    ),
    Quantity(
        "elapsed_ms",
        "elapsed",
        lambda turn: turn.each(_ms(turn.elapsed_ns)),
        "ms",
        is_known=lambda turn: _has_unit(turn) and turn.connections > 0,
    ),
)
"""The times of a unit of work."""
AT_ONCE: Final = (
    Quantity("connections_open", "connections open at most", lambda turn: turn.times.connections_open),
    Quantity("connections_busy", "connections busy at most", lambda turn: turn.times.connections_busy),
    Quantity("round_trips_at_once", "round trips at once", lambda turn: turn.times.round_trips_at_once),
)
"""Things that were open or busy at the same time."""
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
"""How a pooler handled the round trips of a whole turn."""
QUANTITIES: Final = (*SETUP, *WORK, *TIMES, *AT_ONCE, *POOLER)


@dataclass(slots=True)
class Control:
    """The run times of the program, in ns: without pgtrace in the path, and with it."""

    direct: list[int] = field(default_factory=list)
    through: list[int] = field(default_factory=list)

    @property
    def added(self) -> tuple[Spread, Spread] | None:
        """The spreads of both, in ms; None if there was no control."""
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

    def knows(self, quantity: Quantity) -> bool:
        """Whether that number is known for all turns at the nearest distance."""
        return all(quantity.is_known(turn) for turn in self.nearest)

    @property
    def has_pooler(self) -> bool:
        """Whether a turn recorded both sides of a pooler."""
        return any(turn.joins is not None for turn in self.turns)

    @property
    def sqlstates(self) -> Counter[str]:
        """SQLSTATE -> the largest number of such errors in any turn."""
        found: Counter[str] = Counter()
        for turn in self.turns:
            found |= turn.sqlstates
        return found

    def shown_by(self, quantity: Quantity) -> Turn:
        """The turn whose value is the median, or nearest to it."""
        middle = self.spread(quantity).median
        return min(self.nearest, key=lambda turn: abs(quantity.of(turn) - middle))

    def failed_most(self, sqlstate: str) -> Turn:
        """The turn with the most errors of that SQLSTATE."""
        return max(self.turns, key=lambda turn: turn.sqlstates[sqlstate])

    def spread(self, quantity: Quantity) -> Spread:
        """The spread of a number over the turns at the nearest distance."""
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
    """The cost of a unit, set-up included, at one distance, in ms."""

    rtt_ns: int
    round_trips: float
    computed: float | None
    """The computed cost; None at the nearest distance, from which the others are computed."""
    measured: Spread

    @property
    def off(self) -> float | None:
        """How far the measured median is from the computed cost, as a fraction of the latter."""
        return None if not self.computed else self.measured.median / self.computed - 1


def told_apart(variants: Sequence[Variant], quantity: Quantity) -> list[tuple[Variant, Variant]]:
    """All pairs of variants that a time cannot tell apart, by median. A single turn has no spread,
    so such variants are left out.
    """
    if not quantity.is_time:
        return []
    ordered = sorted(
        ((variant.spread(quantity), variant) for variant in variants if variant.knows(quantity)), key=lambda one: one[0].median
    )
    return [
        (variant, another)
        for (one, variant), (other, another) in combinations(ordered, 2)
        if min(one.turns, other.turns) > 1 and not (one.is_one and other.is_one) and one.overlaps(other)
    ]


def alike(pairs: Sequence[tuple[Variant, Variant]], quantity: Quantity) -> list[list[Variant]]:
    """The same pairs, merged into as few groups as possible; within a group no two can be told
    apart. All spreads of a group contain the highest of their low ends, so each group consists of
    the spreads that contain the low end of one of them.
    """
    spreads = {variant.label: (variant.spread(quantity), variant) for pair in pairs for variant in pair}
    found: list[set[str]] = []
    for at, _ in sorted(spreads.values(), key=lambda one: (one[0].low, one[0].median)):
        covers = {label for label, (one, _) in spreads.items() if one.low <= at.low <= one.high}
        found = [group for group in found if not group <= covers]
        if len(covers) > 1 and not any(covers <= group for group in found):
            found.append(covers)
    return [[variant for label, (_, variant) in spreads.items() if label in group] for group in found]
