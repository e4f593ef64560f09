"""The table of the start-up's states holds what drivers really do: all of it is reached, and nothing else is."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pgtrace.address import Host, Upstream
from pgtrace.certificates import DriverTls, Issued, issue
from pgtrace.faults import parse
from pgtrace.proxy import upstream as upstream_module
from pgtrace.proxy.startup import Startup
from pgtrace.proxy.startup_states import NEXT, OVER, READING, State
from tests.proxy.drivers import Tls
from tests.proxy.inside import run, served
from tests.proxy.wire import GSSENC_REQUEST, READY, SSL_REQUEST, STARTUP

DRIVERS = 40
"""Connections for each way to serve them."""
ROUNDS = 8
PIECES = (
    SSL_REQUEST,
    GSSENC_REQUEST,
    STARTUP,
    STARTUP[:5],
    STARTUP[5:],
    struct.pack(">IIII", 16, 80877102, 1, 2),  # CancelRequest
    b"\x16\x03\x01\x00\x05hello",
    b"\0\0\0\1no length",
    b"Q\0\0\0\4",
)
ANSWERS = (b"N", b"S", READY, b"E\0\0\0\x0bSFATAL\0", b"")
"""What a server says first; nothing means that it closes."""


class Upstreams:
    """A server that answers each connection at random."""

    def __init__(self, chance: random.Random, answers: Sequence[bytes]) -> None:
        self._chance = chance
        self._answers = answers

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            for _ in range(3):
                data = await reader.read(1000)
                answer = self._chance.choice(self._answers)
                if not data or not answer:
                    break
                writer.write(answer)
                await writer.drain()
        writer.close()


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Issued:
    return issue(tmp_path_factory.mktemp("tls"), ["localhost"])


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> set[tuple[State, State]]:
    """The steps from one state to another that are taken."""
    found: set[tuple[State, State]] = set()
    enter: Callable[[Startup, State], None] = Startup._enter

    def noted(startup: Startup, state: State) -> None:
        if (startup._state, state) != (OVER, OVER):
            found.add((startup._state, state))
        enter(startup, state)

    monkeypatch.setattr(Startup, "_enter", noted)
    return found


async def drive(port: int, chance: random.Random, pieces: Sequence[bytes]) -> None:
    """A driver that sends some of the pieces, whole or together, and leaves in one of the ways there are."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(OSError, RuntimeError):  # it was closed meanwhile
        for _ in range(chance.randrange(4)):
            writer.write(b"".join(chance.choices(pieces, k=chance.choice((1, 1, 2)))))
            await asyncio.sleep(chance.choice((0, 0, 0.002, 0.02)))
        leaving = chance.randrange(4)
        if leaving == 0:
            writer.transport.abort()
        elif leaving == 1:
            writer.write_eof()
        elif leaving == 2:
            await asyncio.sleep(0.4)  # until it is too slow
        if leaving:
            async with asyncio.timeout(1):
                await reader.read(1000)
    writer.close()


def encrypt(port: int, authority: Path) -> None:
    """A driver that ends its handshake, then leaves before it says who it is; a fault may strike it."""
    context = ssl.create_default_context(cafile=str(authority))
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(20)
        sock.sendall(SSL_REQUEST)
        if sock.recv(1) == b"S":
            Tls(sock, context).handshake()


async def play(path: Path, number: int, **options: Any) -> None:
    """Drivers before one server, several at a time; with `stops` their sessions are closed under way."""
    stops = options.pop("stops", False)
    chance = random.Random(number)
    upstreams = Upstreams(chance, options.pop("answers", ANSWERS))
    pieces = options.pop("pieces", PIECES)
    async with await asyncio.start_server(upstreams.serve, "127.0.0.1", 0) as listening:
        port = 1 if options.pop("nobody", False) else listening.sockets[0].getsockname()[1]
        upstream = Upstream((Host("127.0.0.1", port),), sslmode=options.pop("sslmode", "disable"))
        async with served(path, upstream, **options) as server:
            if options.get("tls", DriverTls()).mode == "end":
                await asyncio.to_thread(encrypt, server.listeners[0].port, Path(options["tls"].certificate).with_name("authority.pem"))
            for _ in range(0, DRIVERS, 20):
                if stops:
                    asyncio.get_running_loop().call_later(0.02, server.sessions.close)
                await asyncio.gather(*(drive(server.listeners[0].port, chance, pieces) for _ in range(20)))


async def play_at_leisure(path: Path, tls: DriverTls) -> None:
    """A driver whose handshake may take as long as it does, on however busy a machine."""
    async with served(path, Upstream((Host("127.0.0.1", 1),)), tls=tls, startup_timeout_s=60) as server:
        await asyncio.to_thread(encrypt, server.listeners[0].port, Path(tls.certificate).with_name("authority.pem"))


def test_drivers_take_each_step_of_the_table_and_no_other(
    tmp_path: Path, issued: Issued, taken: set[tuple[State, State]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream_module, "CONNECT_S", 0.5)  # a server that says nothing to a TLS handshake
    ends = DriverTls("end", str(issued.certificate), str(issued.key))
    ways: list[dict[str, Any]] = [
        {},
        {"rtt_ns": 20_000_000},
        {"rtt_ns": 50_000_000, "stops": True},
        {"tls": ends},
        {"tls": ends, "faults": [parse("reset after 5ms")]},
        {"tls": DriverTls("pass")},
        {"tls": DriverTls("pass"), "pieces": (SSL_REQUEST, STARTUP), "answers": (b"N",)},
        {"tls": DriverTls("pass"), "nobody": True},
        {"sslmode": "allow"},
        {"sslmode": "allow", "faults": [parse("close after 10ms")], "rtt_ns": 30_000_000},
        {"dial_first": True},
        {"dial_first": True, "nobody": True},
        {"nobody": True},
        {"faults": [parse("delay 20ms at connect"), parse("hang after 10ms")]},
        {"faults": [parse("reset at connect")]},
    ]
    run(play_at_leisure(tmp_path / "at leisure", ends))
    steps = {(state, then) for state, following in NEXT.items() for then in following}
    with ThreadPoolExecutor(len(ways)) as threads:  # they mostly wait
        for first in range(0, ROUNDS * len(ways), len(ways)):
            if not first or taken != steps:  # a busy machine may keep drivers from a step
                plays = [play(tmp_path / str(first + number), first + number, **dict(way)) for number, way in enumerate(ways)]
                list(threads.map(run, plays))
    assert {(state.name, then.name) for state, then in taken} == {(state.name, then.name) for state, then in steps}


def test_a_driver_that_ends_before_its_answer_is_closed_behind_it(tmp_path: Path) -> None:
    """As the server does: it does not have to be too slow first."""

    async def leave() -> bytes:
        async with served(tmp_path / "capture", Upstream((Host("127.0.0.1", 1),)), startup_timeout_s=60, rtt_ns=20_000_000) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.listeners[0].port)
            writer.write(SSL_REQUEST)
            writer.write_eof()
            async with asyncio.timeout(10):
                answer = await reader.read()
            writer.close()
            return answer

    assert run(leave()) == b"N"


def test_a_step_that_the_table_does_not_have_is_reported(tmp_path: Path) -> None:
    async def step() -> list[str]:
        reported: list[str] = []
        async with served(tmp_path / "capture", Upstream((Host("127.0.0.1", 1),))) as server:
            startup = Startup(server._entrances[0]._service)
            _, writer = await asyncio.open_connection("127.0.0.1", server.listeners[0].port)
            startup.connection_made(writer.transport)
            assert startup._state is READING
            asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["message"]))
            startup._enter(READING)
            writer.close()
        return reported

    assert run(step()) == ["a start-up went from reading to reading"]
