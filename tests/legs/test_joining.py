"""The joiner alone: traffic through a pooler that never was, with clocks that differ, gaps, and contents that are the same."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtrace.legs.joining import MOST_REMEMBERED, SLACK_NS, WINDOW_NS, Joiner
from pgtrace.legs.trips import Lost, Trip
from tests.corpus import NIGHTLY

US, MS = 1_000, 1_000_000
FRONTS, BACKS = 0, 1000
"""Numbers of the first connection of each side."""


def trip(place: int, connection: int, opened: int, closed: int, *keys: int, idle: bool = True, cut: bool = False, **more: object) -> Trip:
    return Trip(
        place,
        connection,
        opened,
        int(more.get("began", opened)),
        closed,
        keys,
        (),
        hash(keys) if "asked" not in more else int(more["asked"]),
        idle,
        cut,
        (),  # type: ignore[call-overload]
    )


@dataclass
class Heard:
    """What became of each round trip, by place."""

    joins: dict[int, list[int]] = field(default_factory=dict)
    states: dict[int, str] = field(default_factory=dict)
    before: dict[int, int | None] = field(default_factory=dict)

    def _is(self, one: Trip, state: str) -> None:
        assert one.place not in self.states
        self.states[one.place] = state

    def joined(self, front: Trip, backs: list[Trip]) -> None:
        self._is(front, "joined")
        self.joins[front.place] = [back.place for back in backs]

    def ambiguous(self, front: Trip) -> None:
        self._is(front, "ambiguous")

    def swallowed(self, front: Trip) -> None:
        self._is(front, "swallowed")

    def unjoined(self, front: Trip) -> None:
        self._is(front, "unjoined")

    def possible(self, back: Trip) -> None:
        self._is(back, "possible")

    def added(self, back: Trip, front: Trip | None) -> None:
        self._is(back, "added")
        self.before[back.place] = front.place if front is not None else None


def heard(fronts: list[Trip], backs: list[Trip], *, blind: bool = False, lost: tuple[Lost, ...] = ()) -> Heard:
    """The same traffic, in the order in which it ended."""
    found = Heard()
    joiner = Joiner(found, is_blind=blind)
    events: list[tuple[int, int, Trip | Lost]] = [(one.closed_ns, 1, one) for one in fronts]
    events += [(one.closed_ns, 0, one) for one in backs] + [(one.ended_ns, 0, one) for one in lost]
    for _, side, one in sorted(events, key=lambda event: event[:2]):
        joiner.add_lost(one) if isinstance(one, Lost) else joiner.add_front(one) if side else joiner.add_back(one)
    joiner.finish()
    assert {one.place for one in fronts} <= found.states.keys()
    assert {one.place for one in backs} - {place for places in found.joins.values() for place in places} <= found.states.keys()
    return found


def test_a_round_trip_is_joined_with_the_one_inside_it() -> None:
    found = heard([trip(1, 1, 0, 100, 7)], [trip(2, 1001, 20, 90, 7)])
    assert found.joins == {1: [2]}


@pytest.mark.parametrize(
    ("opened", "closed", "joined"),
    [(20, 100 + SLACK_NS, True), (20, 101 + SLACK_NS, False), (-1, 90, False), (0, 90, False), (101, 120, False)],
)
def test_it_begins_inside_and_ends_at_most_a_little_later(opened: int, closed: int, joined: bool) -> None:
    assert bool(heard([trip(1, 1, 0, 100, 7)], [trip(2, 1001, opened, closed, 7)]).joins) is joined


def test_of_two_the_transaction_decides() -> None:
    """The first statements are the same at the same time; the second ones are not."""
    fronts = [trip(1, 1, 0, 100, 7, idle=False), trip(2, 2, 0, 100, 7, idle=False), trip(3, 1, 200, 300, 8), trip(4, 2, 200, 300, 9)]
    backs = [trip(11, 1001, 10, 90, 7), trip(12, 1002, 10, 90, 7), trip(13, 1001, 210, 290, 9), trip(14, 1002, 210, 290, 8)]
    assert heard(fronts, backs).joins == {1: [12], 2: [11], 3: [14], 4: [13]}


def test_what_another_has_taken_leaves_one() -> None:
    fronts = [trip(1, 1, 0, 100, 7), trip(2, 2, 50, 99, 7)]
    backs = [trip(11, 1001, 10, 40, 7), trip(12, 1002, 60, 90, 7)]
    assert heard(fronts, backs).joins == {1: [11], 2: [12]}


def test_what_is_the_same_at_the_same_time_is_ambiguous() -> None:
    found = heard([trip(1, 1, 0, 100, 7), trip(2, 2, 0, 100, 7)], [trip(11, 1001, 10, 90, 7), trip(12, 1002, 10, 90, 7)])
    assert found.joins == {}
    assert found.states == {1: "ambiguous", 2: "ambiguous", 11: "possible", 12: "possible"}


def test_blind_keys_are_never_joined() -> None:
    assert heard([trip(1, 1, 0, 100, 7)], [trip(2, 1001, 20, 90, 7)], blind=True).states == {1: "ambiguous", 2: "possible"}


def test_what_the_pooler_answers_and_what_it_adds() -> None:
    fronts = [trip(1, 1, 0, 100, 5), trip(2, 1, 200, 300, 7)]
    backs = [trip(11, 1001, 210, 220, 6), trip(12, 1001, 230, 290, 7), trip(13, 1001, 400, 500, 9)]
    found = heard(fronts, backs)
    assert found.states == {1: "swallowed", 2: "joined", 11: "added", 13: "added"}
    assert found.before == {11: 2, 13: None}


def test_a_reply_that_differs_is_not_swallowed() -> None:
    found = heard([trip(1, 1, 0, 100, 5, asked=1)], [trip(11, 1001, 10, 90, 6, asked=1)])
    assert found.states == {1: "unjoined", 11: "possible"}


def test_a_statement_that_was_not_seen_is_no_proof() -> None:
    found = heard([trip(1, 1, 0, 100, 5)._replace(has_unknown=True)], [trip(11, 1001, 10, 90, 6)._replace(has_unknown=True)])
    assert found.states == {1: "unjoined", 11: "possible"}
    found = heard([trip(1, 1, 0, 100, 5)._replace(has_unknown=True)], [trip(11, 1001, 10, 90, 5)])
    assert found.joins == {1: [11]}


def test_a_driver_that_left_is_joined_by_what_it_asked() -> None:
    found = heard([trip(1, 1, 0, 100, 5, asked=1, cut=True)], [trip(11, 1001, 10, 900 * MS, 6, asked=1)])
    assert found.joins == {1: [11]}


def test_a_pipeline_may_run_in_parts() -> None:
    fronts = [trip(1, 1, 0, 1000, 5, 6, 7)]
    backs = [trip(11, 1001, 10, 90, 5), trip(12, 1001, 100, 110, 99), trip(13, 1001, 120, 300, 6, 7)]
    found = heard(fronts, backs)
    assert found.joins == {1: [11, 13]}
    assert found.states[12] == "added"


def test_a_parse_alone_may_be_swallowed() -> None:
    parse = trip(1, 1, 0, 100, 5)._replace(bare=(6,))
    assert heard([parse], [trip(11, 1001, 10, 90, 6)]).joins == {1: [11]}
    assert heard([parse], [trip(11, 1001, 10, 90, 5)]).joins == {1: [11]}


def test_a_sync_that_came_early_is_no_beginning() -> None:
    assert heard([trip(1, 1, 50, 100, 7)], [trip(11, 1001, 20, 90, 7, began=60)]).joins == {1: [11]}


def test_what_may_be_missing_is_not_joined() -> None:
    lost = (Lost(50, 60),)
    found = heard([trip(1, 1, 0, 100, 7), trip(2, 1, 0, 100, 8), trip(3, 1, 100 * MS, 101 * MS, 7)], [trip(11, 1001, 10, 90, 7)], lost=lost)
    assert found.states == {1: "ambiguous", 2: "unjoined", 3: "swallowed", 11: "possible"}


def test_old_ones_are_forgotten() -> None:
    backs = [trip(1000 + n, 1001, n * MS, n * MS + 10, n) for n in range(20_000)]
    found = Heard()
    joiner = Joiner(found)
    for back in backs:
        joiner.add_back(back)
    assert len(joiner._backs) <= 2 * WINDOW_NS // MS + 1
    assert len(joiner._by_key) == len(joiner._backs) <= MOST_REMEMBERED


@pytest.mark.parametrize("keys", [1, 1_000_000])
def test_the_time_is_linear(keys: int) -> None:
    """Also where everything is the same."""

    def took(number: int) -> float:
        fronts = [trip(2 * n, n % 50, n * 100 * US, n * 100 * US + 4 * MS, n % keys) for n in range(number)]
        backs = [trip(2 * n + 1, 1000 + n % 50, n * 100 * US + 20 * US, n * 100 * US + 3 * MS, n % keys) for n in range(number)]
        before = time.process_time()
        heard(fronts, backs)
        return time.process_time() - before

    took(500)
    once = min(took(1_000) for _ in range(2))
    assert min(took(4_000) for _ in range(2)) < 4 * once * 2.5


class Through:
    """Clients, a pooler in transaction mode and servers, with what really ran where."""

    def __init__(self, random_: random.Random, *, alphabet: int, gaps: bool, late_ns: int) -> None:
        self.fronts: list[Trip] = []
        self.backs: list[Trip] = []
        self.lost: list[Lost] = []
        self.truth: dict[int, list[int]] = {}
        free = {1000 + number: 0 for number in range(random_.randint(1, 3))}
        clients = {number: random_.randint(0, 1000) * US for number in range(random_.randint(1, 5))}
        places = iter(range(1_000_000))
        for _ in range(random_.randint(1, 40)):
            client = min(clients, key=lambda one: clients[one])
            now = clients[client] + random_.randint(1, 500) * US
            server = min(free, key=lambda one: free[one])
            length = random_.randint(1, 3)
            for step in range(length):
                opened = now
                keys = tuple(random_.randint(0, alphabet) for _ in range(random_.choice([1, 1, 1, 2])))
                if random_.random() < 0.1:
                    now += random_.randint(20, 100) * US
                    self.fronts.append(trip(next(places), client, opened, now, -1 - client, idle=step == length - 1, asked=-1 - client))
                    now += random_.randint(1, 300) * US
                    continue
                begins = max(opened, free[server]) + random_.randint(13, 200) * US
                if random_.random() < 0.2:  # of the pooler's own
                    self.backs.append(trip(next(places), server, begins, begins + 50 * US, -100))
                    begins += 60 * US
                ends = begins + random_.randint(10, 3000) * US
                back, front = next(places), next(places)
                if gaps and random_.random() < 0.1:
                    self.lost.append(Lost(begins, ends))
                else:
                    self.backs.append(trip(back, server, begins, ends + random_.randint(0, late_ns), *keys))
                    self.truth[front] = [back]
                free[server] = ends + 10 * US
                now = ends + random_.randint(1, 100) * US
                self.fronts.append(trip(front, client, opened, now, *keys, idle=step == length - 1))
                now += random_.randint(1, 300) * US
            clients[client] = now


@given(st.randoms(use_true_random=False), st.sampled_from([0, 1, 3, 10**9]), st.booleans(), st.sampled_from([0, 500 * US, 4 * MS]))
@settings(max_examples=300 if NIGHTLY else 100, deadline=None)
def test_nothing_is_joined_wrongly(random_: random.Random, alphabet: int, gaps: bool, late_ns: int) -> None:
    """Whatever is the same, late or missing. What is joined is what ran."""
    through = Through(random_, alphabet=alphabet, gaps=gaps, late_ns=late_ns)
    found = heard(through.fronts, through.backs, lost=tuple(through.lost))
    assert {front: backs for front, backs in found.joins.items() if through.truth.get(front) != backs} == {}
    if alphabet == 10**9 and not gaps:
        assert found.joins == through.truth
    assert sorted(found.states) == sorted(
        {one.place for one in (*through.fronts, *through.backs)} - {b for bs in found.joins.values() for b in bs}
    )
