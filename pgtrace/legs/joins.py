"""The joins of a trace: which round trips in front of a pooler ran as which behind it.

    joins = find(trace)
    joins.state(place), joins.across(place)

    finding = Finding(trace)    # the same in slices of work, while the trace grows
    finding.advance(budget_s)
    finding.joins

A side is a leg of a recorder, or a capture of one leg. You do not say which side is in front: a
side may be the front of another if enough of the other's round trips lie inside its own in time.
Then the content decides (joining.py). Sides belong to the same pooler if at least half of the round
trips of one of them were joined, or may be; otherwise they are unrelated, and both count.

With more than two sides, times alone say too little about which sides belong together: first each
pair is joined by itself. Poolers in a chain (a driver's side, a side between two poolers, a
server's side) are joined pairwise along it, so that everything counts once, on the drivers' side.
In sums they are one pooler (`Sums`): its front is in front of all of them, its back behind all.

The results take five bytes per row. While a trace grows, a round trip is decided shortly after its
end.
"""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import permutations
from math import isnan
from typing import Any, Final

from pgtrace.legs.joining import SLACK_NS, Joiner
from pgtrace.legs.trips import Lost, Side, Trip, Trips
from pgtrace.trace.connection import Connection
from pgtrace.trace.files import letters
from pgtrace.trace.histogram import Histogram
from pgtrace.trace.row import RowEntry, RowKind
from pgtrace.trace.trace import Trace

MOST_SIDES: Final = 8
"""With more sides than this, pgtrace does not search for those that may belong together."""
SEVERAL_KEPT: Final = 100_000
"""The most round trips that ran as several for which all parts are kept; of others only the first
part is."""
RENAMED_KEPT: Final = 100
ADDED_KEPT: Final = 1_000
"""The most different round trips of the pooler's own that are counted by their content."""
LONGEST_OWN: Final = 1_000
_MAY_BE: Final = 0.3
"""The share of a side's round trips inside another's from which on the content is compared."""
_IS: Final = 0.5
"""The share that is joined between two sides of one pooler."""
_SLICE: Final = 1024
_RENAMED: Final = 8
"""Added to the state of a row in which a statement is renamed."""


class State(IntEnum):
    """What is known about a row."""

    NONE = 0
    """It is on no side of a pooler, or is not a round trip after set-up."""
    JOINED = 1
    AMBIGUOUS = 2
    """It ran as one of several, or one of several ran as it."""
    UNJOINED = 3
    """It is not known how it ran."""
    SWALLOWED = 4
    """The pooler itself answered it."""
    ADDED = 5
    """The pooler began it on its own."""


@dataclass(slots=True)
class Sums:
    """What a pooler did, or what all poolers between the drivers and the servers did together:
    poolers in a chain count as one, and unrelated poolers are summed."""

    joined: int = 0
    """Round trips of the drivers that a server answered, behind the last pooler."""
    ambiguous: int = 0
    unjoined: int = 0
    swallowed: int = 0
    """Round trips of the drivers that a pooler itself answered."""
    added: int = 0
    """Round trips of the servers that a pooler began on its own."""
    switches: int = 0
    """How often a driver's connection got another server connection than before."""
    renamed: int = 0
    """Joined round trips in which a statement has different names in front of and behind a
    pooler."""
    inside: Histogram = field(default_factory=Histogram)
    """The time of joined round trips in the pooler: the front's duration without the back's."""
    before: Histogram = field(default_factory=Histogram)
    """The part of that time before the first round trip that the pooler began for it."""

    def add(self, other: Sums) -> None:
        """Add the sums of an unrelated pooler."""
        for key in _COUNTS:
            setattr(self, key, getattr(self, key) + getattr(other, key))
        self.inside.merge(other.inside)
        self.before.merge(other.before)

    def as_dict(self) -> dict[str, Any]:
        """The object `joins` of `stats --json`."""
        times = {
            key: {"total": one.total, "p50": one.percentile(50), "p95": one.percentile(95), "max": one.max}
            for key, one in (("pooler_ns", self.inside), ("before_ns", self.before))
        }
        return {**{key: getattr(self, key) for key in _COUNTS}, **times}


_COUNTS: Final = ("joined", "ambiguous", "unjoined", "swallowed", "added", "switches", "renamed")


@dataclass(slots=True, eq=False, kw_only=True)
class Pooler(Sums):
    """One pooler: its front, its back, and the sums over its joins."""

    front: Side
    backs: tuple[Side, ...]
    fronts: int = 0
    """Round trips of the drivers after set-up."""
    joined_backs: int = 0
    possible: int = 0
    """Round trips of the server's side that an ambiguous front round trip may have run as."""
    connections: set[int] = field(default_factory=set)
    """The indexes of the server connections with joins."""
    cancels: set[int] = field(default_factory=set)
    """The indexes of the connections on which the pooler passed cancels on."""
    names: dict[str, str] = field(default_factory=dict)
    """A few of the renamed statements, front -> back."""
    own: Counter[tuple[str, int]] = field(default_factory=Counter)
    """The pooler's own round trips by SQL (or by flight, if there is none) and by the index of the
    driver's connection (-1 if none is known)."""

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

    def __init__(self, trace: Trace, results: list[_Results]) -> None:
        self._trace = trace
        behind = {back for one in results for back in one.pooler.backs}
        # A row between two poolers has the state that the first of them gives it.
        self._results = sorted(results, key=lambda one: one.pooler.front in behind)

    @property
    def poolers(self) -> list[Pooler]:
        """The poolers: first those that drivers connect to, the one with the most joins first."""
        return [one.pooler for one in self._results]

    @property
    def of_drivers(self) -> list[Pooler]:
        """The poolers that drivers connect to: no other pooler is in front of them."""
        behind = {back for pooler in self.poolers for back in pooler.backs}
        return [pooler for pooler in self.poolers if pooler.front not in behind]

    def _of(self, place: int) -> _Results | None:
        """The results that include this row; None if none do."""
        return next((one for one in self._results if place < len(one.states) and one.states[place]), None)

    def state(self, place: int) -> State:
        """What is known about this row."""
        found = self._of(place)
        return found.state(place) if found is not None else State.NONE

    def across(self, place: int) -> tuple[int, ...]:
        """The rows on the other side of the pooler that correspond to this row. For a row in front:
        the rows that it ran as. For a row behind: the row that ran as it, or the row before which
        the pooler began it on its own."""
        found = self._of(place)
        if found is None:
            return ()
        return found.across(place)

    def leg(self, connection: int) -> str:
        """The letter of the side of this connection; empty if it is on no side of a pooler."""
        one = self._trace.connections[connection]
        side = (one.file, one.leg)
        return self.letter(side) if any(side == pooler.front or side in pooler.backs for pooler in self.poolers) else ""

    def letter(self, side: Side) -> str:
        """The letter of a side: its leg's, or its file's."""
        return side[1] or letters(side[0]).upper()

    @property
    def connections(self) -> set[int]:
        """The indexes of the server connections with joins, and of the cancels behind the pooler:
        what they did counts on the drivers' side."""
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
        """The SQL, or the flight, of what this pooler did on its own, each with how often, the most
        frequent first."""
        found: Counter[str] = Counter()
        for (sql, _), number in pooler.own.items():
            found[sql] += number
        return found.most_common()

    def use_trace(self, trace: Trace) -> None:
        """Use another trace of the same captures instead of the one in which the joins were
        found."""
        self._trace = trace

    @property
    def backs(self) -> int:
        """Round trips of the servers' sides after set-up."""
        return sum(pooler.backs_count for pooler in self.poolers)

    def before_ns(self, place: int) -> int | None:
        """How long a joined round trip of the drivers' side waited until the pooler sent it to a
        server; None for others."""
        across = self.across(place)
        if self.state(place) is not State.JOINED or len(across) > 1:
            return None
        rows = self._trace.rows
        opened_ns, behind = rows.entry(place).opened_ns, rows.entry(across[0])
        return behind.opened_ns - opened_ns if behind.opened_ns > opened_ns else None

    def as_dict(self) -> dict[str, Any]:
        """The object `joins` of `stats --json`."""
        return self.whole().as_dict()

    def whole(self) -> Sums:
        """The sums from the drivers to the servers, through all poolers of a chain."""
        whole = Sums()
        for pooler in self.poolers if not self.is_chain else ():
            whole.add(pooler)
        for results in self._results if self.is_chain else ():
            if results.pooler in self.of_drivers:
                self._follow(results, whole)
            self._count_own(results, whole)
        return whole

    @property
    def is_chain(self) -> bool:
        """Whether a pooler is behind another one."""
        return len(self.of_drivers) < len(self.poolers)

    def _follow(self, first: _Results, whole: Sums) -> None:
        """Add the results for the round trips of the drivers in front of this pooler, through all
        poolers behind it."""
        front_of = {results.pooler.front: results for results in self._results}
        rows, sides = self._trace.rows, _SideOf(self._trace)
        server: dict[int, int] = {}
        for place in range(len(first.states)):
            if first.state(place) is State.NONE or sides.of(place) != first.pooler.front:
                continue
            state, at, renamed = first.state(place), [place], False
            results: _Results | None = first
            while results is not None and state is State.JOINED:
                renamed = renamed or any(map(results.renamed, at))
                at = [other for one in at for other in results.across(one)]
                results = front_of.get(sides.of(at[0]))
                if results is not None:
                    states = [results.state(one) for one in at]
                    at = [one for one, state in zip(at, states, strict=True) if state is not State.SWALLOWED]
                    # If it became several, a pooler on the way may have answered one of them.
                    state = next((one for one in (State.UNJOINED, State.AMBIGUOUS, State.JOINED) if one in states), State.SWALLOWED)
                    state = State.UNJOINED if State.NONE in states else state
            key = state.name.lower()
            setattr(whole, key, getattr(whole, key) + 1)
            if state is not State.JOINED:
                continue
            whole.renamed += renamed
            front, behind = rows.entry(place), [rows.entry(one) for one in at]
            whole.inside.add(max(0, _duration_ns(front) - sum(map(_duration_ns, behind))))
            whole.before.add(max(0, behind[0].opened_ns - front.opened_ns))
            whole.switches += server.get(front.connection, behind[0].connection) != behind[0].connection
            server[front.connection] = behind[0].connection

    def _count_own(self, last: _Results, whole: Sums) -> None:
        """Count the round trips of the servers behind this pooler that it, or a pooler in front of
        it, began on its own."""
        fronts = {results.pooler.front for results in self._results}
        back_of = {back: results for results in self._results for back in results.pooler.backs}
        sides = _SideOf(self._trace)
        for place in range(len(last.states)):
            if last.state(place) is State.NONE or (side := sides.of(place)) in fronts or side not in last.pooler.backs:
                continue
            at, results = place, last
            while results.state(at) is State.JOINED and (before := back_of.get(results.pooler.front)) is not None:
                (at,), results = results.across(at), before
            whole.added += results.state(at) is State.ADDED


def _duration_ns(entry: RowEntry) -> int:
    return 0 if isnan(entry.duration_ms) else round(entry.duration_ms * 1e6)


class _SideOf:
    """Returns the side of each row. Ask for the rows in order."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._known: dict[int, Side] = {}

    def of(self, place: int) -> Side:
        index = self._trace.rows.entry(place).connection
        if index not in self._known:
            if len(self._known) >= _SLICE:
                self._known.clear()
            connection = self._trace.connections[index]
            self._known[index] = (connection.file, connection.leg)
        return self._known[index]


class _Results:
    """Receives and keeps the joins of one front."""

    def __init__(self, trace: Trace, pooler: Pooler) -> None:
        self.pooler = pooler
        self.states = bytearray()
        self.partners = array("I")
        self.several: dict[int, tuple[int, ...]] = {}
        self._rows = trace.rows

    def state(self, place: int) -> State:
        return State(self.states[place] & ~_RENAMED) if place < len(self.states) else State.NONE

    def renamed(self, place: int) -> bool:
        """Whether a statement of this joined row of the front has another name behind the
        pooler."""
        return bool(self.states[place] & _RENAMED)

    def across(self, place: int) -> tuple[int, ...]:
        partner = self.partners[place]
        return self.several.get(place) or ((partner - 1,) if partner else ())

    def _put(self, trip: Trip, state: State, other: Trip | None = None) -> None:
        more = trip.place + 1 - len(self.states)
        if more > 0:
            more += _SLICE
            self.states.extend(bytes(more))
            self.partners.frombytes(bytes(self.partners.itemsize * more))
        self.states[trip.place] = state
        if other is not None:
            self.partners[trip.place] = other.place + 1

    def joined(self, front: Trip, backs: list[Trip]) -> None:
        pooler = self.pooler
        pooler.joined += 1
        pooler.joined_backs += len(backs)
        pooler.connections.add(backs[0].connection)
        self._put(front, State.JOINED, backs[0])
        for back in backs:
            self._put(back, State.JOINED, front)
        if len(backs) > 1 and len(self.several) < SEVERAL_KEPT:
            self.several[front.place] = tuple(back.place for back in backs)
        took_ns = sum(back.closed_ns - back.opened_ns for back in backs)
        pooler.inside.add(max(0, front.closed_ns - front.opened_ns - took_ns))
        pooler.before.add(max(0, backs[0].opened_ns - front.opened_ns))
        behind = tuple(name for back in backs for name in back.names)
        if front.names != behind:
            pooler.renamed += 1
            self.states[front.place] |= _RENAMED
            for here, there in zip(front.names, behind, strict=False):
                if here != there and len(pooler.names) < RENAMED_KEPT:
                    pooler.names.setdefault(here, there)

    def ambiguous(self, front: Trip) -> None:
        self.pooler.ambiguous += 1
        self._put(front, State.AMBIGUOUS)

    def swallowed(self, front: Trip) -> None:
        self.pooler.swallowed += 1
        self._put(front, State.SWALLOWED)

    def unjoined(self, front: Trip) -> None:
        self.pooler.unjoined += 1
        self._put(front, State.UNJOINED)

    def possible(self, back: Trip) -> None:
        self.pooler.possible += 1
        self.pooler.connections.add(back.connection)
        self._put(back, State.AMBIGUOUS)

    def added(self, back: Trip, front: Trip | None) -> None:
        pooler = self.pooler
        pooler.added += 1
        self._put(back, State.ADDED, front)
        row = self._rows[back.place]
        key = (row.label.sql or row.shape.flight)[:LONGEST_OWN], front.connection if front is not None else -1
        if key in pooler.own or len(pooler.own) < ADDED_KEPT:
            pooler.own[key] += 1

    def finish(self) -> Iterator[bool]:
        """All results have been reported: count the switches, in slices."""
        server: dict[int, int] = {}
        behind = self.pooler.connections
        of = array("I")
        for start in range(0, len(self.states), _SLICE):
            of.extend(self._rows.columns(start, min(len(self.states), start + _SLICE)).connections)
            yield False
        for start in range(0, len(of), _SLICE):
            for place, state in enumerate(self.states[start : start + _SLICE], start):
                if state & ~_RENAMED == State.JOINED and (connection := of[place]) not in behind:
                    partner = of[self.partners[place] - 1]
                    self.pooler.switches += server.get(connection, partner) != partner
                    server[connection] = partner
            yield False


class Finding:
    """The search for the joins of a trace, which may grow."""

    def __init__(self, trace: Trace) -> None:
        self.joins: Joins | None = None
        """The joins so far; None if there are no two sides of a pooler."""
        self.is_done = False
        """Whether everything has been processed, and nothing more will come."""
        self._trace = trace
        self._is_last = False
        self._joiners: dict[Side, Joiner] = {}
        self._steps = self._run()

    def advance(self, budget_s: float | None = None) -> bool:
        """Process what was added to the trace, until about `budget_s` is used up, while the trace
        is read up. Returns whether everything was processed."""
        until = None if budget_s is None else time.perf_counter() + budget_s
        for is_all in self._steps:
            if is_all:
                return True
            if until is not None and time.perf_counter() > until:
                return False
        self.is_done = True
        return True

    def finish(self) -> None:
        """Nothing more will come: the next advance() is the last."""
        self._is_last = True

    def until(self, time_ns: int) -> None:
        """All round trips that ended before this moment have been passed."""
        for joiner in self._joiners.values():
            joiner.advance_to(time_ns)

    def _run(self) -> Iterator[bool]:
        """The work in slices. Yields True when everything present is processed."""
        looked_at = -1
        while True:
            is_last, rows = self._is_last, len(self._trace.rows)
            if is_last or rows >= 2 * looked_at:
                looked_at = rows
                backs_of: dict[Side, set[Side]] = {}
                for found in _candidates(self._trace, rows):
                    backs_of = found if found is not None else backs_of
                    yield False
                several = len(set(backs_of).union(*backs_of.values())) > 2
                if several:
                    for pairs in self._pairs(backs_of):
                        backs_of = pairs if pairs is not None else backs_of
                        yield False
                if backs_of:
                    is_last = yield from self._join({front: tuple(sorted(backs)) for front, backs in backs_of.items()}, 2 * rows)
            if is_last:
                return
            yield True

    def _pairs(self, backs_of: dict[Side, set[Side]]) -> Iterator[dict[Side, set[Side]] | None]:
        """Find which of these sides are a pooler's front and back, by their present content. Yields
        None after each slice of the work, then the backs of each front."""
        counts = {(front, back): _Counts(Pooler(front=front, backs=(back,))) for front, backs in backs_of.items() for back in backs}
        joiners = {pair: Joiner(one, is_blind=self._is_blind(one.pooler)) for pair, one in counts.items()}

        def take(side: Side, trip: Trip | Lost) -> None:
            for (front, back), joiner in joiners.items():
                if isinstance(trip, Lost):
                    joiner.add_lost(trip)
                elif side == front:
                    counts[front, back].pooler.fronts += 1
                    joiner.add_front(trip)
                elif side == back:
                    joiner.add_back(trip)

        is_last = self._is_last
        with closing(Trips(self._trace, {side for pair in counts for side in pair})) as trips:
            for number, (side, trip) in enumerate(trips.new(is_all=is_last)):
                take(side, trip)
                if not number % _SLICE:
                    yield None
            if is_last:
                for side, last in trips.open():
                    take(side, last)
        for joiner in joiners.values():
            joiner.finish()
        yield _along_chains([one.pooler for one in counts.values()])

    def _join(self, sides: dict[Side, tuple[Side, ...]], enough: int) -> Generator[bool, None, bool]:
        """Join these sides. When the trace has more than `enough` rows, other sides may belong
        together: then this returns False, unless these were joined and are the only ones."""
        results = {front: _Results(self._trace, Pooler(front=front, backs=backs)) for front, backs in sides.items()}
        self._joiners = joiners = {front: Joiner(one, is_blind=self._is_blind(one.pooler)) for front, one in results.items()}
        hears: dict[Side, list[Joiner]] = {}
        for front, backs in sides.items():
            for back in backs:
                hears.setdefault(back, []).append(joiners[front])

        def take(side: Side, trip: Trip | Lost) -> None:
            if isinstance(trip, Lost):
                for joiner in joiners.values():
                    joiner.add_lost(trip)
                return
            if side in joiners:
                results[side].pooler.fronts += 1
                joiners[side].add_front(trip)
            for joiner in hears.get(side, ()):
                joiner.add_back(trip)

        with closing(Trips(self._trace, {*joiners, *hears})) as trips:
            while True:
                is_last = self._is_last
                for side, trip in trips.new(is_all=is_last):
                    take(side, trip)
                    yield False
                if is_last:
                    break
                self._accept(results)
                if len(self._trace.rows) >= enough and (self.joins is None or len(_sides(self._trace)) > 2):
                    return False
                yield True
            for side, last in trips.open():
                take(side, last)
        for joiner in joiners.values():
            joiner.finish()
        for one in self._accept(results):
            one.pooler.cancels = {
                connection.index
                for connection in self._trace.connections
                if connection.kind == "cancel" and (connection.file, connection.leg) in one.pooler.backs
            }
            yield from one.finish()
        return True

    def _is_blind(self, pooler: Pooler) -> bool:
        files = {pooler.front[0], *(back[0] for back in pooler.backs)}
        return any(what == "redact" and value and number in files for (number, what), value in self._trace.settings.items())

    def _accept(self, results: dict[Side, _Results]) -> list[_Results]:
        """Accept the results that belong to a pooler."""
        accepted = _accepted(results)
        if [one.pooler for one in accepted] != (self.joins.poolers if self.joins is not None else []):
            self.joins = Joins(self._trace, accepted) if accepted else None
        return accepted


def find(trace: Trace) -> Joins | None:
    """The joins of a trace that has been read; None if it has no two sides of a pooler. If it may
    have, this reads the captures once more."""
    finding = Finding(trace)
    finding.finish()
    finding.advance()
    return finding.joins


class _Counts:
    """Receives the joins of one pair of sides, and only counts them."""

    def __init__(self, pooler: Pooler) -> None:
        self.pooler = pooler

    def joined(self, front: Trip, backs: list[Trip]) -> None:
        self.pooler.joined += 1
        self.pooler.joined_backs += len(backs)

    def ambiguous(self, front: Trip) -> None:
        self.pooler.ambiguous += 1

    def swallowed(self, front: Trip) -> None:
        self.pooler.swallowed += 1

    def unjoined(self, front: Trip) -> None:
        self.pooler.unjoined += 1

    def possible(self, back: Trip) -> None:
        self.pooler.possible += 1

    def added(self, back: Trip, front: Trip | None) -> None:
        self.pooler.added += 1


def _along_chains(pairs: list[Pooler]) -> dict[Side, set[Side]]:
    """The backs of each front, from the results of each pair alone. Of two directions the one with
    more joins counts. A server behind another pooler in between is not behind the first one too."""
    found = {(one.front, one.backs[0]): (one.joined, one.joined + one.ambiguous) for one in pairs if one.is_one}
    held = {(front, back) for (front, back), numbers in found.items() if numbers >= found.get((back, front), (0, 0))}
    backs_of: dict[Side, set[Side]] = {}
    for front, back in held:
        if not any((front, between) in held and (between, back) in held for _, between in held - {(front, back)}):
            backs_of.setdefault(front, set()).add(back)
    return backs_of


def _accepted(results: dict[Side, _Results]) -> list[_Results]:
    """The results that belong to a pooler."""
    accepted: list[_Results] = []
    taken: set[Side] = set()
    for one in sorted(results.values(), key=lambda one: -one.pooler.joined):
        if (
            one.pooler.is_one
            and not (taken & set(one.pooler.backs))
            and not any(one.pooler.front in other.pooler.backs and other.pooler.front in one.pooler.backs for other in accepted)
        ):
            accepted.append(one)
            taken |= set(one.pooler.backs)
    return accepted


def _candidates(trace: Trace, most: int) -> Iterator[dict[Side, set[Side]] | None]:
    """Sides that may be in front of others, by the times of the first `most` rows. Yields None
    after each slice of the work, then the candidates."""
    if len(trace.files) < 2 and not trace.has_legs:
        return
    side_of: dict[int, Side] = {}
    clients: dict[Side, set[str]] = {}
    for connection, own in _with_sides(trace):
        side_of[connection.index] = own
        if connection.client.rpartition(":")[2].isdigit():
            clients.setdefault(own, set()).add(connection.client)
    sides = sorted(set(side_of.values()))
    if not 2 <= len(sides) <= MOST_SIDES:
        return
    numbers = {side: number for number, side in enumerate(sides)}
    count = [0] * len(sides)
    inside = [[0] * len(sides) for _ in sides]  # [back][front]
    latest_ns = [-1] * len(sides)
    others = [[other for other in range(len(sides)) if other != number] for number in range(len(sides))]
    rows = trace.rows
    for start in range(0, most, _SLICE):
        columns = rows.columns(start, min(most, start + _SLICE))
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
        yield None
    found: dict[Side, set[Side]] = {}
    for back, front in permutations(range(len(sides)), 2):
        if _is_seen_twice(clients.get(sides[back], set()), clients.get(sides[front], set())):
            continue
        if count[back] and inside[back][front] >= _MAY_BE * count[back]:
            found.setdefault(sides[front], set()).add(sides[back])
    yield found


def _with_sides(trace: Trace) -> Iterator[tuple[Connection, Side]]:
    """The connections that are on a side, each with that side."""
    for connection in trace.connections:
        if connection.kind != "cancel" and (connection.leg or not trace.has_legs or len(trace.files) > 1):
            yield connection, (connection.file, connection.leg)


def _sides(trace: Trace) -> set[Side]:
    return {side for _, side in _with_sides(trace)}


def _is_seen_twice(these: set[str], those: set[str]) -> bool:
    """Whether two recordings are of the same connections: a pooler connects from its own ports. A
    few of its ports may by chance equal drivers' ports, towards another address; most of them will
    not."""
    return 2 * len(these & those) > min(len(these), len(those))
