"""The session never raises, whatever the bytes, and says the same however they were cut."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.protocol import registry
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.session.connection import Session
from pgtrace.session.effects import Counts
from pgtrace.session.events import Exchange, Observer, Passage
from tests.session.letters import SEQUENCES, STARTUP, play
from tests.session.letters import reads as recorded
from tests.steps import lines_run


class Listing(Observer):
    """What happened, as comparable text."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def happened(self, exchange: Exchange, passage: Passage) -> None:
        effect = exchange.effect
        parts = sorted(
            (str(part.statement.sql), part.executions, part.errors, exchange.returned(part, passage.rows)) for part in exchange.parts
        )
        self.events.append(f"closed {effect.sent!r} {effect.received!r} {effect.is_round_trip} {effect.depth} {parts}")

    def alone(self, side: int, code: int, body: bytes, size: int, time_ns: int, counts: Counts | None) -> None:
        self.events.append(f"alone {side} {code} {size}")


def heard(reads: list[tuple[int, bytes]]) -> tuple[list[str], dict[str, object]]:
    listing = Listing()
    session = Session(listing)
    for side, data in reads:
        session.receive(side, 0, data)
    session.close(0)
    tally = session.tally
    return listing.events, {name: getattr(tally, name) for name in tally.__slots__}


@pytest.mark.parametrize("sequence", [one for one, _ in SEQUENCES])
def test_every_cut_gives_the_same_events(sequence: str) -> None:
    reads = recorded(sequence)
    whole = heard(reads)
    assert whole[0]
    for place, (side, data) in enumerate(reads):
        for cut in range(1, len(data)):
            assert heard([*reads[:place], (side, data[:cut]), (side, data[cut:]), *reads[place + 1 :]]) == whole
    assert heard([(side, bytes([byte])) for side, data in reads for byte in data]) == whole


@given(st.lists(st.tuples(st.sampled_from([FRONTEND, BACKEND]), st.binary(max_size=200)), max_size=20))
def test_arbitrary_bytes_never_raise(reads: list[tuple[int, bytes]]) -> None:
    session = Session()
    for side, data in reads:
        session.receive(side, 0, data)
    session.close(0)
    assert sum(session.bytes) == sum(len(data) for _, data in reads)


@given(st.data())
def test_arbitrary_messages_never_raise(data: st.DataObject) -> None:
    kinds = [kind for kind in registry.MESSAGES if kind.code < 256]
    reads = data.draw(st.lists(st.sampled_from(kinds), max_size=40))
    session = Session()
    session.receive(FRONTEND, 0, STARTUP)
    for number, kind in enumerate(reads):
        session.receive(kind.side, number, kind.parse(kind.EXAMPLE).wire())
        if session.round_trips.pending:
            assert session.round_trips.current is not None
    session.gap(10**6)
    assert session.is_quiet


def test_mutated_messages_never_raise() -> None:
    """20,000 messages of every type with bytes changed, in the middle of a session, each followed by a chunk of a plain one."""
    chance = random.Random(1)
    kinds = [kind for kind in registry.MESSAGES if kind.code < 256]
    bodies = [(kind.side, kind.parse(kind.EXAMPLE).wire()) for kind in kinds]
    count = 0
    while count < 20_000:
        session = Session()
        session.receive(FRONTEND, 0, STARTUP)
        for _ in range(40):
            side, wire = chance.choice(bodies)
            mutant = bytearray(wire)
            for _ in range(chance.randrange(4)):
                mutant[chance.randrange(len(mutant))] = chance.randrange(256)
            session.receive(side, count, bytes(mutant))
            count += 1
        session.close(count)
    assert count == 20_000


def deep_pipeline(depth: int) -> Session:
    return play(">" + "BE" * depth + "S <" + "2C" * depth + "Z")


def test_a_deep_pipeline_takes_steps_in_proportion() -> None:
    """Lines that run, in pgtrace: each message more costs as many as the one before."""
    few, twice, eight_times = (lines_run(lambda depth=depth: deep_pipeline(depth)) for depth in (500, 1000, 4000))
    assert few > 500
    assert eight_times - twice <= 6.1 * (twice - few)


def test_a_deep_pipeline_is_exact() -> None:
    session = deep_pipeline(30_000)
    assert session.tally.round_trips == 1
    assert session.tally.executions == 30_000
    assert session.tally.pipelined_executions == 29_999
    assert session.tally.max_pipeline_depth == 30_000
