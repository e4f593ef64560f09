"""The line behind --rtt, without a network: order, time, and what it holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from pgtrace.proxy import delay as delay_module
from pgtrace.proxy.delay import Delayed
from pgtrace.proxy.pauses import Pauses
from pgtrace.proxy.relay import Session
from pgtrace.proxy.tape import Tape


class Transport(asyncio.Transport):
    """Writes into a list; says whether it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.reading = True
        self.ended = False

    def write(self, data: object) -> None:
        self.written.append(bytes(data))  # type: ignore[call-overload]

    def write_eof(self) -> None:
        self.ended = True

    def can_write_eof(self) -> bool:
        return True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return False


@pytest.fixture
async def session():
    made = Session(1, Pauses(Tape(lambda *_: None, b"key")), asyncio.get_running_loop(), 20_000_000)
    for leg in (made.frontend, made.backend):
        leg.redaction = None
        leg.attach(Transport())
        leg.delayed = Delayed(leg, leg)
    return made


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


async def test_half_the_round_trip_each_way(session):
    began = asyncio.get_running_loop().time()
    session.frontend.delayed.data_received(b"one")
    session.frontend.delayed.data_received(b"two")
    assert session.tape.parts[1] == b"one"  # on the tape when it was read
    session.backend.delayed.data_received(b"answer")
    assert len(session.tape.parts) == 4  # a server's bytes only when they are handed on
    await until(lambda: session.frontend.transport.written)
    took = asyncio.get_running_loop().time() - began
    assert took >= 0.0099
    assert session.backend.transport.written == [b"one", b"two"]
    assert session.tape.parts[5] == b"answer"


async def test_the_end_does_not_overtake_the_bytes(session):
    session.frontend.delayed.data_received(b"last")
    assert session.frontend.delayed.eof_received() is True
    await until(lambda: session.backend.transport.ended)
    assert session.backend.transport.written == [b"last"]


async def test_a_shorter_delay_does_not_overtake_either(session):
    session.frontend.delayed.data_received(b"slow")
    session.rtt_ns = 0
    session.frontend.delayed.data_received(b"fast")
    assert session.backend.transport.written == []
    await until(lambda: len(session.backend.transport.written) == 2)
    assert session.backend.transport.written == [b"slow", b"fast"]


async def test_what_waits_is_bounded(session):
    session.frontend.delayed.data_received(bytes(delay_module.WAITING_BYTES))
    assert session.frontend.transport.reading
    session.frontend.delayed.data_received(b"more")
    assert not session.frontend.transport.reading
    await until(lambda: session.frontend.transport.reading)
    session.backend.pause_writing()
    assert not session.frontend.transport.reading
    session.backend.resume_writing()
    assert session.frontend.transport.reading


async def test_a_lost_connection_comes_behind_its_bytes(session):
    session.frontend.delayed.data_received(b"last")
    session.frontend.delayed.connection_lost(None)
    assert not session.frontend.lost
    await until(lambda: session.frontend.lost)
    assert session.backend.transport.written == [b"last"]
