"""The joins of a trace: which round trips in front of a pooler ran as which behind it.

    joins = find(trace)
    joins.state(place), joins.across(place)

A side is a leg of a recorder, or a capture of one leg. Nobody says which side is in front: a side
may be the front of another if enough of the other's round trips lie inside its own in time. Then
the content decides (joining.py). Sides belong to the same pooler if at least half of the round
trips of one of them were joined, or may be; otherwise they are unrelated, and both count.

The results take five bytes a row. They are for the rows that the trace has now: a trace that has
grown is looked at again.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import permutations
from math import isnan
from typing import Any, Final

from pgtrace.legs.joining import SLACK_NS, Joiner
from pgtrace.legs.trips import Lost, Side, Trip, trips
from pgtrace.trace.files import letters
from pgtrace.trace.histogram import Histogram
from pgtrace.trace.row import RowKind
from pgtrace.trace.trace import Trace

MOST_SIDES: Final = 8
"""Beyond that, which sides may belong together is not looked for."""
SEVERAL_KEPT: Final = 100_000
"""The most round trips that ran as several whose parts are all kept; of others the first is."""
RENAMED_KEPT: Final = 100
ADDED_KEPT: Final = 1_000
"""The most different round trips of the pooler's own that are counted by what they are."""
LONGEST_OWN: Final = 1_000
_MAY_BE: Final = 0.3
"""The share of a side's round trips inside another's, from which on the content is looked at."""
_IS: Final = 0.5
"""The share that is joined between two sides of one pooler."""
_SLICE: Final = 4096


class State(IntEnum):
    """What is known about a row."""

    NONE = 0
    """It is on no side of a pooler, or no round trip after set-up."""
    JOINED = 1
    AMBIGUOUS = 2
    """It ran as one of several, or one of several ran as it."""
    UNJOINED = 3
    """How it ran is not known."""
    SWALLOWED = 4
    """The pooler answered it itself."""
    ADDED = 5
    """It is the pooler's own."""


@dataclass(slots=True)
class Pooler:
    """One pooler: its front, its back, and the sums over its joins."""

    front: Side
    backs: tuple[Side, ...]
    joined: int = 0
    ambiguous: int = 0
    unjoined: int = 0
    swallowed: int = 0
    added: int = 0
    switches: int = 0
    """How often a driver's connection got another server connection than before."""
    fronts: int = 0
    """Round trips of the drivers after set-up."""
    joined_backs: int = 0
    possible: int = 0
    """Round trips of the server's side that an ambiguous one may have run as."""
    connections: set[int] = field(default_factory=set)
    """Indexes of the server connections with joins."""
    cancels: set[int] = field(default_factory=set)
    """Indexes of the connections on which the pooler passed cancels on."""
    inside: Histogram = field(default_factory=Histogram)
    """The time of joined round trips in the pooler: the front's without the back's."""
    before: Histogram = field(default_factory=Histogram)
    """The part of it until the first round trip that the pooler began for it."""
    renamed: int = 0
    """Joined round trips in which a statement has another name behind the pooler."""
    names: dict[str, str] = field(default_factory=dict)
    """Some of these names, front -> back."""
    own: Counter[tuple[str, int]] = field(default_factory=Counter)
    """The pooler's own round trips by SQL (else flight) and by the index of the driver's connection
    (-1: none is known)."""

    @property
    def backs_count(self) -> int:
        """Round trips of the server's side after set-up."""
        return self.joined_backs + self.possible + self.added

    @property
    def is_one(self) -> bool:
        """Whether the two sides belong to one pooler."""
        found = self.joined + self.ambiguous
        return bool(found) and (found >= _IS * self.fronts or self.joined_backs + self.possible >= _IS * self.backs_count)


class Joins:
    """What is known about the rows of a trace."""

    ADDED: Final = State.ADDED

    def __init__(self, trace: Trace, poolers: list[_Results]) -> None:
        self._trace = trace
        self.poolers = [one.pooler for one in poolers]
        self._states = bytearray(len(trace.rows))
        self._partners = array("I", bytes(4 * len(trace.rows)))
        self._several: dict[int, tuple[int, ...]] = {}
        for one in poolers:
            self._take(one)

    def _take(self, results: _Results) -> None:
        for place, state in enumerate(results.states):
            if state:
                self._states[place] = state
                self._partners[place] = results.partners[place]
        self._several |= results.several

    def state(self, place: int) -> State:
        """What is known about that row."""
        return State(self._states[place]) if place < len(self._states) else State.NONE

    def across(self, place: int) -> tuple[int, ...]:
        """The rows on the other side that are the same: behind the pooler, those that it ran as; in
        front, the one that ran as it, or before which the pooler did this on its own."""
        several = self._several.get(place)
        if several is not None:
            return several
        partner = self._partners[place] if place < len(self._partners) else 0
        return (partner - 1,) if partner else ()

    def leg(self, connection: int) -> str:
        """The letter of the side of that connection; empty if it is on no side of a pooler."""
        one = self._trace.connections[connection]
        side = (one.file, one.leg)
        return self.letter(side) if any(side == pooler.front or side in pooler.backs for pooler in self.poolers) else ""

    def letter(self, side: Side) -> str:
        """The letter of a side: its leg's, or its file's."""
        return side[1] or letters(side[0]).upper()

    @property
    def connections(self) -> set[int]:
        """Indexes of the server connections with joins, and of the cancels behind the pooler: what
        they did counts on the drivers' side."""
        return set().union(*(pooler.connections | pooler.cancels for pooler in self.poolers))

    def in_pooler_ns(self, place: int) -> int | None:
        """How long a joined round trip of the drivers' side was in the pooler; None for others."""
        row = self._trace.rows[place]
        if self.state(place) is not State.JOINED or row.duration_ns is None or self._is_back(row.connection):
            return None
        behind = sum(self._trace.rows[one].duration_ns or 0 for one in self.across(place))
        return max(0, row.duration_ns - behind)

    def _is_back(self, connection: int) -> bool:
        return any(connection in pooler.connections for pooler in self.poolers)

    def own_statements(self, pooler: Pooler) -> list[tuple[str, int]]:
        """SQL, or the flight, of what that pooler did on its own, and how often, most first."""
        found: Counter[str] = Counter()
        for (sql, _), number in pooler.own.items():
            found[sql] += number
        return found.most_common()

    def of(self, trace: Trace) -> None:
        """Another trace of the same captures takes the place of the one that they were found in."""
        self._trace = trace

    @property
    def backs(self) -> int:
        """Round trips of the servers' sides after set-up."""
        return sum(pooler.backs_count for pooler in self.poolers)

    def before_ns(self, place: int) -> int | None:
        """How long a joined round trip of the drivers' side waited until the pooler asked a server
        for it; None for others."""
        if self.state(place) is not State.JOINED or place in self._several:
            return None
        rows = self._trace.rows
        opened_ns, behind = rows.entry(place).opened_ns, rows.entry(self._partners[place] - 1)
        return behind.opened_ns - opened_ns if behind.opened_ns > opened_ns else None

    def as_dict(self) -> dict[str, Any]:
        """The object `joins` of `stats --json`."""
        sums = {
            key: sum(getattr(pooler, key) for pooler in self.poolers)
            for key in ("joined", "ambiguous", "unjoined", "swallowed", "added", "switches", "renamed")
        }
        times = {}
        for key, name in (("pooler_ns", "inside"), ("before_ns", "before")):
            together = Histogram()
            for pooler in self.poolers:
                together.merge(getattr(pooler, name))
            times[key] = {
                "total": together.total,
                "p50": together.percentile(50),
                "p95": together.percentile(95),
                "max": together.max,
            }
        return {**sums, **times}


class _Results:
    """Hears the joins of one front."""

    def __init__(self, trace: Trace, pooler: Pooler) -> None:
        self.pooler = pooler
        self.states = bytearray(len(trace.rows))
        self.partners = array("I", bytes(4 * len(trace.rows)))
        self.several: dict[int, tuple[int, ...]] = {}
        self._rows = trace.rows
        self._names: dict[int, str] = {}

    def joined(self, front: Trip, backs: list[Trip]) -> None:
        pooler = self.pooler
        pooler.joined += 1
        pooler.joined_backs += len(backs)
        pooler.connections.add(backs[0].connection)
        self.states[front.place] = State.JOINED
        self.partners[front.place] = backs[0].place + 1
        for back in backs:
            self.states[back.place] = State.JOINED
            self.partners[back.place] = front.place + 1
        if len(backs) > 1 and len(self.several) < SEVERAL_KEPT:
            self.several[front.place] = tuple(back.place for back in backs)
        took_ns = sum(back.closed_ns - back.opened_ns for back in backs)
        pooler.inside.add(max(0, front.closed_ns - front.opened_ns - took_ns))
        pooler.before.add(max(0, backs[0].opened_ns - front.opened_ns))
        behind = tuple(name for back in backs for name in back.names)
        if front.names != behind:
            pooler.renamed += 1
            for here, there in zip(front.names, behind, strict=False):
                if here != there and len(pooler.names) < RENAMED_KEPT:
                    pooler.names.setdefault(here, there)

    def ambiguous(self, front: Trip) -> None:
        self.pooler.ambiguous += 1
        self.states[front.place] = State.AMBIGUOUS

    def swallowed(self, front: Trip) -> None:
        self.pooler.swallowed += 1
        self.states[front.place] = State.SWALLOWED

    def unjoined(self, front: Trip) -> None:
        self.pooler.unjoined += 1
        self.states[front.place] = State.UNJOINED

    def possible(self, back: Trip) -> None:
        self.pooler.possible += 1
        self.pooler.connections.add(back.connection)
        self.states[back.place] = State.AMBIGUOUS

    def added(self, back: Trip, front: Trip | None) -> None:
        pooler = self.pooler
        pooler.added += 1
        self.states[back.place] = State.ADDED
        if front is not None:
            self.partners[back.place] = front.place + 1
        row = self._rows[back.place]
        key = (row.label.sql or row.shape.flight)[:LONGEST_OWN], front.connection if front is not None else -1
        if key in pooler.own or len(pooler.own) < ADDED_KEPT:
            pooler.own[key] += 1

    def finish(self) -> None:
        """Everything has been said."""
        server: dict[int, int] = {}
        behind = self.pooler.connections
        of = array("I")
        for start in range(0, len(self.states), _SLICE):
            of.extend(self._rows.columns(start, start + _SLICE).connections)
        for place, state in enumerate(self.states):
            if state == State.JOINED and (connection := of[place]) not in behind:
                partner = of[self.partners[place] - 1]
                self.pooler.switches += server.get(connection, partner) != partner
                server[connection] = partner


def find(trace: Trace, tell: Callable[[float], None] = lambda _: None) -> Joins | None:
    """The joins of a trace; None if it has no two sides of a pooler. Reads the captures once more
    if it may have. `tell` is called with the progress."""
    backs_of = _candidates(trace)
    if not backs_of:
        return None
    results: dict[Side, _Results] = {}
    joiners: dict[Side, Joiner] = {}
    hears: dict[Side, list[Joiner]] = {}
    for front, backs in backs_of.items():
        pooler = Pooler(front, tuple(sorted(backs)))
        results[front] = _Results(trace, pooler)
        blind = any(
            what == "redact" and value and number in {front[0], *(back[0] for back in backs)}
            for (number, what), value in trace.settings.items()
        )
        joiners[front] = Joiner(results[front], is_blind=blind)
        for back in backs:
            hears.setdefault(back, []).append(joiners[front])
    most = max(1, len(trace.rows))
    for side, trip in trips(trace, {*joiners, *hears}):
        if isinstance(trip, Lost):
            for joiner in joiners.values():
                joiner.lost(trip)
            continue
        if side in joiners:
            results[side].pooler.fronts += 1
            joiners[side].front(trip)
        for joiner in hears.get(side, ()):
            joiner.back(trip)
        tell(trip.place / most)
    for joiner in joiners.values():
        joiner.finish()
    accepted: list[_Results] = []
    taken: set[Side] = set()
    for one in sorted(results.values(), key=lambda one: -one.pooler.joined):
        if (
            one.pooler.is_one
            and not (taken & set(one.pooler.backs))
            and not any(one.pooler.front in other.pooler.backs and other.pooler.front in one.pooler.backs for other in accepted)
        ):
            one.finish()
            one.pooler.cancels = {
                connection.index
                for connection in trace.connections
                if connection.kind == "cancel" and (connection.file, connection.leg) in one.pooler.backs
            }
            accepted.append(one)
            taken |= set(one.pooler.backs)
    return Joins(trace, accepted) if accepted else None


def _candidates(trace: Trace) -> dict[Side, set[Side]]:
    """Sides that may be in front of others, by their times."""
    side_of: dict[int, Side] = {}
    clients: dict[Side, set[str]] = {}
    if len(trace.files) < 2 and not trace.has_legs:
        return {}
    for connection in trace.connections:
        if connection.kind != "cancel" and (connection.leg or not trace.has_legs or len(trace.files) > 1):
            own = side_of[connection.index] = connection.file, connection.leg
            if connection.client.rpartition(":")[2].isdigit():
                clients.setdefault(own, set()).add(connection.client)
    sides = sorted(set(side_of.values()))
    if not 2 <= len(sides) <= MOST_SIDES:
        return {}
    numbers = {side: number for number, side in enumerate(sides)}
    count = [0] * len(sides)
    inside = [[0] * len(sides) for _ in sides]  # [back][front]
    latest_ns = [-1] * len(sides)
    others = [[other for other in range(len(sides)) if other != number] for number in range(len(sides))]
    rows = trace.rows
    for start in range(0, len(rows), _SLICE):
        columns = rows.columns(start, start + _SLICE)
        for index, shape, opened_ns, ms in zip(columns.connections, columns.shapes, columns.opened_ns, columns.durations_ms, strict=True):
            side = side_of.get(index)
            if side is None or isnan(ms) or rows.shape_at(shape).kind is not RowKind.ROUND_TRIP:
                continue
            number = numbers[side]
            closed_ns = opened_ns + int(ms * 1e6)
            count[number] += 1
            for other in others[number]:
                inside[number][other] += latest_ns[other] + SLACK_NS >= closed_ns and latest_ns[other] > opened_ns
            latest_ns[number] = max(latest_ns[number], closed_ns)
    found: dict[Side, set[Side]] = {}
    for back, front in permutations(range(len(sides)), 2):
        if _is_seen_twice(clients.get(sides[back], set()), clients.get(sides[front], set())):
            continue
        if count[back] and inside[back][front] >= _MAY_BE * count[back]:
            found.setdefault(sides[front], set()).add(sides[back])
    return _innermost(found)


def _is_seen_twice(these: set[str], those: set[str]) -> bool:
    """Whether two recordings are of the same connections: a pooler connects from ports of its own.
    Its port may by chance be one of a driver's, towards another address; not most of them."""
    return 2 * len(these & those) > min(len(these), len(those))


def _innermost(found: dict[Side, set[Side]]) -> dict[Side, set[Side]]:
    """Without a front that has another one between itself and the back."""
    return {
        front: left
        for front, backs in found.items()
        if (
            left := {
                back
                for back in backs
                if not any(back in found.get(between, ()) and front not in found.get(between, ()) for between in backs - {back})
            }
        )
    }
