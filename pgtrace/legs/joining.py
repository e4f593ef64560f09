"""Joins the round trips of a pooler's two sides by content, transaction and time.

The front is the drivers' side, the back the server's. A back round trip belongs to a front round
trip if

- it has the same keys (trips.py); several consecutive back round trips may make up one front round
  trip,
- it begins inside the front one, after its beginning, and
- it ends at most SLACK_NS after it: in older recordings and packet captures a reply is stamped
  after it was passed on, so the server's side may have the later stamp.

The round trips of a driver up to ReadyForQuery `I` are a group: they run on one server connection.
A group with one possible server connection is joined. Its back round trips are no longer possible
for other groups, which may leave those with one possibility. A group that still has several
possibilities after WINDOW_NS is ambiguous: it is counted, and never guessed. A round trip with
byte-identical others at the same time may stay ambiguous; then only which server ran it is unknown.

A front round trip without any possibility was swallowed: the pooler answered it itself. It is
unjoined instead if a back one asks the same but its replies differ, if bytes are missing, or if it
uses a statement whose Parse was not seen. The remaining back round trips were added by the pooler.

If keys are blind (`--redact`), every round trip with a possibility is ambiguous. So is a round trip
during which something was not recorded: the back round trip that ran it may be missing.

Round trips must be passed in the order in which they ended. They are remembered for WINDOW_NS, and
at most MOST_REMEMBERED of each kind. The time is linear, because at most MOST_LOOKED_AT
possibilities are examined for each front round trip.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, Protocol

from pgtrace.legs.trips import Lost, Trip

SLACK_NS: Final = 5_000_000
WINDOW_NS: Final = 5_000_000_000
MOST_REMEMBERED: Final = 30_000
MOST_LOOKED_AT: Final = 256
MOST_UNDECIDED: Final = 64
"""The most undecided round trips of one transaction."""
MOST_WAITING: Final = 16
"""The most transactions that are examined again when another one has taken some of their
possibilities."""
MOST_LOST: Final = 16
"""The most losses that are kept apart. Beyond that the oldest are merged."""
_MOST_BETWEEN: Final = 8
"""The most round trips that the pooler may add between two parts of one."""


class Report(Protocol):
    """Receives the result for each round trip, once."""

    def joined(self, front: Trip, backs: list[Trip]) -> None:
        """The front round trip ran as these back ones."""

    def ambiguous(self, front: Trip) -> None:
        """The front round trip may have run as one of several."""

    def swallowed(self, front: Trip) -> None:
        """The pooler itself answered the front round trip."""

    def unjoined(self, front: Trip) -> None:
        """It is not known how the front round trip ran."""

    def possible(self, back: Trip) -> None:
        """An ambiguous front round trip may have run as this back one."""

    def added(self, back: Trip, front: Trip | None) -> None:
        """The pooler began this back round trip on its own, before the front round trip `front` if
        that is known."""


class _Back:
    """A back round trip."""

    __slots__ = ("front", "is_possible", "next", "trip", "waiting")

    def __init__(self, trip: Trip) -> None:
        self.trip = trip
        self.next: _Back | None = None
        """The next back round trip of its connection."""
        self.front: Trip | None = None
        """The front round trip with which it was joined."""
        self.is_possible = False
        """Whether an ambiguous front round trip may have run as this."""
        self.waiting: list[_Group] = []
        """The groups for which it is one of several possibilities."""


Chain = list[_Back]
"""The back round trips that together make up a front one."""


class _Undecided(NamedTuple):
    """A front round trip and its possible chains."""

    front: Trip
    chains: list[Chain]

    @property
    def left(self) -> list[Chain]:
        """The chains from which no other front round trip has taken a part."""
        return [chain for chain in self.chains if all(back.front is None for back in chain)]


class _Group:
    """The undecided front round trips of one transaction, and its server connection."""

    __slots__ = ("server", "undecided")

    def __init__(self) -> None:
        self.server: int | None = None
        self.undecided: list[_Undecided] = []

    def servers(self) -> set[int]:
        """The server connections on which the whole group may have run."""
        if self.server is not None:
            return {self.server}
        possible: set[int] | None = None
        for one in self.undecided:
            servers = _servers(one.left)
            possible = servers if possible is None else possible & servers
        return possible or set()


class Joiner:
    """Joins one front with one back."""

    def __init__(self, report: Report, *, is_blind: bool = False) -> None:
        self._report = report
        self._is_blind = is_blind
        self._now_ns = 0
        self._lost: list[Lost] = []
        self._fronts: deque[Trip] = deque()
        """Front round trips whose back ones may not have been passed yet."""
        self._left: deque[Trip] = deque()
        """The same for round trips whose driver left: the server may still be working on them."""
        self._backs: deque[_Back] = deque()
        self._by_key: dict[int, dict[int, _Back]] = {}
        self._by_asked: dict[int, dict[int, _Back]] = {}
        self._latest: dict[int, _Back] = {}
        """The latest back round trip, by connection."""
        self._groups: dict[int, _Group] = {}
        """The open group, by front connection."""
        self._undecided: deque[tuple[int, _Group]] = deque()

    def add_back(self, trip: Trip) -> None:
        """Take the next round trip of the server's side."""
        back = _Back(trip)
        latest = self._latest.get(trip.connection)
        if latest is not None:
            latest.next = back
        self._latest[trip.connection] = back
        self._backs.append(back)
        if trip.keys:
            self._by_key.setdefault(trip.keys[0], {})[trip.place] = back
        self._by_asked.setdefault(trip.asked, {})[trip.place] = back
        self._advance(trip.closed_ns)

    def add_front(self, trip: Trip) -> None:
        """Take the next round trip of the drivers' side."""
        (self._left if trip.is_cut else self._fronts).append(trip)
        self._advance(trip.closed_ns)

    def add_lost(self, lost: Lost) -> None:
        """Something was not recorded, on either side."""
        if len(self._lost) >= MOST_LOST:
            first, second, *rest = self._lost
            self._lost = [Lost(first.began_ns, max(first.ended_ns, second.ended_ns)), *rest]
        self._lost.append(lost)

    def advance_to(self, time_ns: int) -> None:
        """All round trips that ended before this moment have been passed."""
        self._advance(time_ns)

    def finish(self) -> None:
        """All round trips have been passed."""
        for front in (*self._fronts, *self._left):
            self._take(front)
        self._fronts.clear()
        self._left.clear()
        while self._undecided:
            self._give_up(self._undecided.popleft()[1])
        while self._backs:
            self._forget(self._backs.popleft())

    # In order.

    def _advance(self, time_ns: int) -> None:
        now = self._now_ns = max(self._now_ns, time_ns)
        fronts, left = self._fronts, self._left
        while fronts and (fronts[0].closed_ns + SLACK_NS < now or len(fronts) > MOST_REMEMBERED):
            self._take(fronts.popleft())
        old = now - WINDOW_NS
        while left and (left[0].closed_ns < old or len(left) > MOST_REMEMBERED):
            self._take(left.popleft())
        while self._undecided and (self._undecided[0][0] < old or len(self._undecided) > MOST_REMEMBERED):
            self._give_up(self._undecided.popleft()[1])
        # Twice as long: a driver that left is looked up late.
        while self._backs and (self._backs[0].trip.closed_ns < old - WINDOW_NS or len(self._backs) > MOST_REMEMBERED):
            self._forget(self._backs.popleft())

    def _take(self, front: Trip) -> None:
        """Decide about a front round trip: all its possible back ones have been passed."""
        group = self._groups.get(front.connection)
        chains, is_all = self._possible(front)
        if self._lost:
            latest_ns = front.closed_ns + SLACK_NS
            is_all = is_all and not any(one.began_ns <= latest_ns and one.ended_ns >= front.opened_ns for one in self._lost)
        is_last = front.ends_idle or front.is_cut
        # Nearly every round trip is decided here.
        if len(chains) == 1 and is_all and not self._is_blind and (group is None or not group.undecided):
            server = chains[0][0].trip.connection
            if group is None or group.server in (None, server):
                if is_last:
                    self._groups.pop(front.connection, None)
                else:
                    group = self._groups.setdefault(front.connection, group or _Group())
                    group.server = server
                for other in self._join(front, chains[0]):
                    self._decide(other)
                return
        if group is None:
            group = self._groups[front.connection] = _Group()
        if not chains:
            self._take_unmatched(front, may_be_swallowed=is_all)
        elif self._is_blind or not is_all:
            self._report_ambiguous(front, chains)
        else:
            servers = _servers(chains)
            known = group.servers()
            if (known and not known & servers) or len(group.undecided) >= MOST_UNDECIDED:
                group = self._groups[front.connection] = _Group()
            group.undecided.append(_Undecided(front, chains))
            self._decide(group)
            if group.undecided:
                self._undecided.append((front.closed_ns, group))
                for chain in chains:
                    for back in chain:
                        if len(back.waiting) < MOST_WAITING:
                            back.waiting.append(group)
        if is_last:
            self._groups.pop(front.connection, None)

    def _decide(self, first: _Group) -> None:
        """Join round trips with one possibility, and examine again those that lost a possibility by
        that."""
        groups = [first]
        while groups:
            group = groups.pop()
            servers = group.servers() if group.undecided else set()
            if len(servers) != 1:
                continue
            (group.server,) = servers
            undecided, group.undecided = group.undecided, []
            for one in undecided:
                chains = [chain for chain in one.left if chain[0].trip.connection == group.server]
                if len(chains) == 1:
                    groups += self._join(one.front, chains[0])
                elif chains:
                    group.undecided.append(one)
                else:
                    self._report.unjoined(one.front)

    def _join(self, front: Trip, chain: Chain) -> list[_Group]:
        """Take these back round trips. Returns the groups that lost them as possibilities."""
        lost = []
        for back in chain:
            back.front = front
            self._remove(back)
            lost += back.waiting
            back.waiting = []
        self._report.joined(front, [back.trip for back in chain])
        return lost

    # Possibilities.

    def _possible(self, front: Trip) -> tuple[list[Chain], bool]:
        """The possible chains of a front round trip, and whether these are all."""
        if front.is_cut:
            return [[back] for back in self._alike(front)], True
        for keys in (front.keys, front.bare):
            found, is_all = self._with_keys(front, keys)
            if found or not is_all:
                return found, is_all
        return [], True

    def _with_keys(self, front: Trip, keys: tuple[int, ...]) -> tuple[list[Chain], bool]:
        """The possible chains for one list of keys of the front, and whether these are all."""
        found: list[Chain] = []
        latest_ns = front.closed_ns + SLACK_NS
        for looked, back in enumerate(reversed(self._by_key.get(keys[0], _NONE).values()) if keys else ()):
            trip = back.trip
            if trip.closed_ns < front.opened_ns:
                break
            if looked >= MOST_LOOKED_AT:
                return found, False
            if front.opened_ns < trip.began_ns <= front.closed_ns and trip.closed_ns <= latest_ns:
                chain = [back] if trip.keys == keys else self._chain(front, keys, back)
                if chain:
                    found.append(chain)
        return found, True

    def _alike(self, front: Trip) -> Iterator[_Back]:
        """Back round trips that ask the same and begin inside the front one, whatever was
        answered."""
        for looked, back in enumerate(reversed(self._by_asked.get(front.asked, _NONE).values())):
            if looked >= MOST_LOOKED_AT or back.trip.closed_ns < front.opened_ns:
                return
            if front.opened_ns < back.trip.began_ns <= front.closed_ns:
                yield back

    def _chain(self, front: Trip, rest: tuple[int, ...], first: _Back) -> Chain:
        """Several consecutive back round trips that make up the front one, beginning with `first`;
        empty if there is no such chain."""
        chain, between, latest_ns = [first], 0, front.closed_ns + SLACK_NS
        back: _Back | None = first
        while back is not None:
            keys = back.trip.keys
            if keys and rest[: len(keys)] == keys and back.front is None:
                if back is not first:
                    chain.append(back)
                rest, between = rest[len(keys) :], 0
                if not rest:
                    return chain
            else:
                between += 1
            back = back.next
            if back is not None and (back.trip.began_ns > front.closed_ns or back.trip.closed_ns > latest_ns or between > _MOST_BETWEEN):
                break
        return []

    # Round trips that are not joined.

    def _take_unmatched(self, front: Trip, *, may_be_swallowed: bool) -> None:
        """No back round trip matches this front one."""
        known = may_be_swallowed and (bool(front.keys) or front.is_cut) and not front.has_unknown
        for back in self._alike(front):
            back.is_possible = True
            known = False
        (self._report.swallowed if known else self._report.unjoined)(front)

    def _give_up(self, group: _Group) -> None:
        """The group stays ambiguous."""
        undecided, group.undecided = group.undecided, []
        for one in undecided:
            if one.left:
                self._report_ambiguous(one.front, one.left)
            else:
                self._report.unjoined(one.front)

    def _report_ambiguous(self, front: Trip, chains: Iterable[Chain]) -> None:
        for chain in chains:
            for back in chain:
                back.is_possible = True
        self._report.ambiguous(front)

    def _forget(self, back: _Back) -> None:
        """Forget a back round trip that is too old to be joined."""
        self._remove(back)
        if self._latest.get(back.trip.connection) is back:
            del self._latest[back.trip.connection]
        if back.front is not None:
            return
        if back.is_possible or back.trip.has_unknown:
            self._report.possible(back.trip)
        else:
            after = back.next
            front = after.front if after is not None else None
            self._report.added(back.trip, front if front is not None and front.opened_ns <= back.trip.opened_ns else None)

    def _remove(self, back: _Back) -> None:
        """Remove a back round trip from the possibilities."""
        trip = back.trip
        for table, key in ((self._by_key, trip.keys[0] if trip.keys else 0), (self._by_asked, trip.asked)):
            same = table.get(key)
            if same is not None and same.pop(trip.place, None) is not None and not same:
                del table[key]


def _servers(chains: Iterable[Chain]) -> set[int]:
    return {chain[0].trip.connection for chain in chains}


_NONE: Final[dict[int, _Back]] = {}
