"""Joins the round trips of a pooler's two sides by content, transaction and time.

The front is the drivers' side, the back the server's. A back round trip belongs to a front one if

- it has the same keys (trips.py); several in a row may make up one in front,
- it begins inside the front one, after it, and
- it ends at most SLACK_NS after it: where a reply was stamped after it was handed over, as older
  recordings and packet captures have it, the server's side may have the later stamp.

The round trips of a driver up to ReadyForQuery `I` are a group: they run on one server connection.
A group with one possible server connection is joined. What it has taken is no longer possible for
others, which may leave them with one. What still has several possibilities after WINDOW_NS is
ambiguous: it is counted, and never guessed. A round trip with byte-identical others at the same
time may stay ambiguous; then only which server ran it is unknown.

A front round trip without any possibility was swallowed: the pooler answered it itself. But if a
back one asks the same and its replies differ, if bytes are missing, or if it uses a statement whose
Parse was not seen, it is unjoined. What is left of the back was added by the pooler.

If keys are blind (`--redact`), whatever has a possibility is ambiguous. So is a round trip during
which something was not recorded: the one that it ran as may be missing.

Round trips come in the order in which they ended. They are remembered for WINDOW_NS, and at most
MOST_REMEMBERED of each kind; the time is linear, because of each front round trip at most
MOST_LOOKED_AT possibilities are looked at.
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
"""The most transactions that are looked at again when another has taken what they may have run
as."""
MOST_LOST: Final = 16
"""Of more losses the oldest become one."""
_MOST_BETWEEN: Final = 8
"""How many round trips the pooler may add between two parts of one."""


class Report(Protocol):
    """Hears what becomes of each round trip, once."""

    def joined(self, front: Trip, backs: list[Trip]) -> None:
        """It ran as these."""

    def ambiguous(self, front: Trip) -> None:
        """It may have run as one of several."""

    def swallowed(self, front: Trip) -> None:
        """The pooler answered it itself."""

    def unjoined(self, front: Trip) -> None:
        """It is not known how it ran."""

    def possible(self, back: Trip) -> None:
        """It is one of those that an ambiguous one may have run as."""

    def added(self, back: Trip, front: Trip | None) -> None:
        """It is the pooler's own, before that front round trip if it is known."""


class _Back:
    """A back round trip."""

    __slots__ = ("front", "is_possible", "next", "trip", "waiting")

    def __init__(self, trip: Trip) -> None:
        self.trip = trip
        self.next: _Back | None = None
        """The next one of its connection."""
        self.front: Trip | None = None
        """The one it was joined with."""
        self.is_possible = False
        """Whether an ambiguous one may have run as this."""
        self.waiting: list[_Group] = []
        """Groups for which it is one of several possibilities."""


Chain = list[_Back]
"""The back round trips that together make up a front one."""


class _Undecided(NamedTuple):
    """A front round trip and the ways in which it may have run."""

    front: Trip
    chains: list[Chain]

    @property
    def left(self) -> list[Chain]:
        """Those that no other has taken."""
        return [chain for chain in self.chains if all(back.front is None for back in chain)]


class _Group:
    """The front round trips of one transaction that are undecided, and its server connection."""

    __slots__ = ("server", "undecided")

    def __init__(self) -> None:
        self.server: int | None = None
        self.undecided: list[_Undecided] = []

    def servers(self) -> set[int]:
        """The server connections on which all of it may have run."""
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
        """Those whose back ones may not have come yet."""
        self._left: deque[Trip] = deque()
        """The same for those whose driver left: the server may go on."""
        self._backs: deque[_Back] = deque()
        self._by_key: dict[int, dict[int, _Back]] = {}
        self._by_asked: dict[int, dict[int, _Back]] = {}
        self._latest: dict[int, _Back] = {}
        """By connection."""
        self._groups: dict[int, _Group] = {}
        """By front connection."""
        self._undecided: deque[tuple[int, _Group]] = deque()

    def back(self, trip: Trip) -> None:
        """The next round trip of the server's side."""
        back = _Back(trip)
        latest = self._latest.get(trip.connection)
        if latest is not None:
            latest.next = back
        self._latest[trip.connection] = back
        self._backs.append(back)
        if trip.keys:
            self._by_key.setdefault(trip.keys[0], {})[trip.place] = back
        self._by_asked.setdefault(trip.asked, {})[trip.place] = back
        self._go_on(trip.closed_ns)

    def front(self, trip: Trip) -> None:
        """The next round trip of the drivers' side."""
        (self._left if trip.is_cut else self._fronts).append(trip)
        self._go_on(trip.closed_ns)

    def lost(self, lost: Lost) -> None:
        """Something was not recorded, on either side."""
        if len(self._lost) >= MOST_LOST:
            first, second, *rest = self._lost
            self._lost = [Lost(first.began_ns, max(first.ended_ns, second.ended_ns)), *rest]
        self._lost.append(lost)

    def until(self, time_ns: int) -> None:
        """None that ended before that moment is still to come."""
        self._go_on(time_ns)

    def finish(self) -> None:
        """There are no more."""
        for front in (*self._fronts, *self._left):
            self._take(front)
        self._fronts.clear()
        self._left.clear()
        while self._undecided:
            self._give_up(self._undecided.popleft()[1])
        while self._backs:
            self._forget(self._backs.popleft())

    # In order.

    def _go_on(self, time_ns: int) -> None:
        now = self._now_ns = max(self._now_ns, time_ns)
        fronts, left = self._fronts, self._left
        while fronts and (fronts[0].closed_ns + SLACK_NS < now or len(fronts) > MOST_REMEMBERED):
            self._take(fronts.popleft())
        old = now - WINDOW_NS
        while left and (left[0].closed_ns < old or len(left) > MOST_REMEMBERED):
            self._take(left.popleft())
        while self._undecided and (self._undecided[0][0] < old or len(self._undecided) > MOST_REMEMBERED):
            self._give_up(self._undecided.popleft()[1])
        # twice as long: a driver that left is looked up late
        while self._backs and (self._backs[0].trip.closed_ns < old - WINDOW_NS or len(self._backs) > MOST_REMEMBERED):
            self._forget(self._backs.popleft())

    def _take(self, front: Trip) -> None:
        """Everything that it may have run as has come."""
        group = self._groups.get(front.connection)
        chains, is_all = self._possible(front)
        if self._lost:
            latest_ns = front.closed_ns + SLACK_NS
            is_all = is_all and not any(one.began_ns <= latest_ns and one.ended_ns >= front.opened_ns for one in self._lost)
        is_last = front.ends_idle or front.is_cut
        # nearly every one
        if len(chains) == 1 and is_all and not self._is_blind and (group is None or not group.undecided):
            server = chains[0][0].trip.connection
            if group is None or group.server in (None, server):
                if is_last:
                    self._groups.pop(front.connection, None)
                else:
                    group = self._groups.setdefault(front.connection, group or _Group())
                    group.server = server
                for other in self._joined(front, chains[0]):
                    self._decide(other)
                return
        if group is None:
            group = self._groups[front.connection] = _Group()
        if not chains:
            self._without(front, may_be_swallowed=is_all)
        elif self._is_blind or not is_all:
            self._is_ambiguous(front, chains)
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
        """Join what has one possibility, and look again at those that lost one by it."""
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
                    groups += self._joined(one.front, chains[0])
                elif chains:
                    group.undecided.append(one)
                else:
                    self._report.unjoined(one.front)

    def _joined(self, front: Trip, chain: Chain) -> list[_Group]:
        """Take these back ones; the groups that lost them."""
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
        """The ways in which it may have run, and whether these are all."""
        if front.is_cut:
            return [[back] for back in self._alike(front)], True
        for keys in (front.keys, front.bare):
            found, is_all = self._with_keys(front, keys)
            if found or not is_all:
                return found, is_all
        return [], True

    def _with_keys(self, front: Trip, keys: tuple[int, ...]) -> tuple[list[Chain], bool]:
        """The same for one of its lists of keys."""
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
        """Those that ask the same and begin inside it, whatever was answered."""
        for looked, back in enumerate(reversed(self._by_asked.get(front.asked, _NONE).values())):
            if looked >= MOST_LOOKED_AT or back.trip.closed_ns < front.opened_ns:
                return
            if front.opened_ns < back.trip.began_ns <= front.closed_ns:
                yield back

    def _chain(self, front: Trip, rest: tuple[int, ...], first: _Back) -> Chain:
        """Several back ones in a row that make up the front one, beginning with that; empty if they
        do not."""
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

    # What is not joined.

    def _without(self, front: Trip, *, may_be_swallowed: bool) -> None:
        """There is nothing that it may have run as."""
        known = may_be_swallowed and (bool(front.keys) or front.is_cut) and not front.has_unknown
        for back in self._alike(front):
            back.is_possible = True
            known = False
        (self._report.swallowed if known else self._report.unjoined)(front)

    def _give_up(self, group: _Group) -> None:
        """It stays ambiguous."""
        undecided, group.undecided = group.undecided, []
        for one in undecided:
            if one.left:
                self._is_ambiguous(one.front, one.left)
            else:
                self._report.unjoined(one.front)

    def _is_ambiguous(self, front: Trip, chains: Iterable[Chain]) -> None:
        for chain in chains:
            for back in chain:
                back.is_possible = True
        self._report.ambiguous(front)

    def _forget(self, back: _Back) -> None:
        """It is too old for anything else."""
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
        """It is no possibility for anything any more."""
        trip = back.trip
        for table, key in ((self._by_key, trip.keys[0] if trip.keys else 0), (self._by_asked, trip.asked)):
            same = table.get(key)
            if same is not None and same.pop(trip.place, None) is not None and not same:
                del table[key]


def _servers(chains: Iterable[Chain]) -> set[int]:
    return {chain[0].trip.connection for chain in chains}


_NONE: Final[dict[int, _Back]] = {}
