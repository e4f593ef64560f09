"""Every session ends once both of its sides have gone, in whatever order they send, stop reading, half-close, reset and leave."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
import struct
from pathlib import Path
from typing import Any

import pytest

from pgtrace.address import Host, Upstream
from pgtrace.certificates import DriverTls, Issued, issue
from pgtrace.faults import parse
from tests.corpus import NIGHTLY
from tests.proxy.inside import run, served
from tests.proxy.wire import READY, STARTUP, row

DRIVERS, ROUNDS = (25, 3) if NIGHTLY else (15, 2)
ROWS = [row(bytes(size)) for size in (1, 100, 5_000, 200_000, 2_000_000)]


class Side(asyncio.Protocol):
    """One end of a connection, which does what chance says."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.transport: Any
        self.heard = asyncio.Event()
        self.received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self.heard.set()

    def eof_received(self) -> bool:
        return self.transport.get_extra_info("ssl_object") is None

    def connection_lost(self, exc: Exception | None) -> None:
        self.heard.set()

    async def wait_for(self, size: int) -> None:
        """Until so much has come, or nothing will."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                while self.received < size and not self.transport.is_closing():
                    await self.heard.wait()
                    self.heard.clear()

    async def act(self) -> None:
        """Some of what a peer may do, then one of the ways to leave."""
        with contextlib.suppress(RuntimeError):  # it was closed meanwhile
            for _ in range(self.chance.randrange(12)):
                if self.transport.is_closing():
                    return
                match self.chance.randrange(8):
                    case 0 | 1 | 2:
                        self.transport.write(self.chance.choice(ROWS))
                    case 3:
                        self.transport.pause_reading()
                    case 4 if not self.transport.is_reading():
                        self.transport.resume_reading()
                    case 5 | 6:
                        await asyncio.sleep(self.chance.random() * 0.03)
                    case 7 if self.transport.can_write_eof():
                        self.transport.write_eof()
            if self.chance.random() < 0.3:
                self.reset()
            elif self.chance.random() < 0.5:
                self.transport.close()

    def reset(self) -> None:
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError, ValueError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


async def play(path: Path, seed: int, trust: ssl.SSLContext, **options: Any) -> None:
    """Drivers and servers that do as they like; in the end none of them is left."""
    loop, chance = asyncio.get_running_loop(), random.Random(seed)
    sides: list[Side] = []
    tasks: list[asyncio.Task[None]] = []
    logged_in: list[bool] = []

    class Upstreams(Side):
        def __init__(self) -> None:
            super().__init__(chance)
            sides.append(self)

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            tasks.append(loop.create_task(self.serve()))

        async def serve(self) -> None:
            await self.wait_for(1)
            if not self.transport.is_closing():
                self.transport.write(READY)
                await self.act()

    async def drive(port: int) -> None:
        driver = Side(chance)
        tls = {"ssl": trust, "server_hostname": "localhost"} if "tls" in options else {}
        with contextlib.suppress(OSError):
            await loop.create_connection(lambda: driver, "127.0.0.1", port, **tls)
            sides.append(driver)
            driver.transport.write(STARTUP)
            await driver.wait_for(len(READY))
            logged_in.append(driver.received >= len(READY))
            await driver.act()

    listening = await loop.create_server(Upstreams, "127.0.0.1", 0)
    upstream = Upstream((Host("127.0.0.1", listening.sockets[0].getsockname()[1]),), sslmode="disable")
    async with served(path, upstream, startup_timeout_s=5, **options) as server:
        await asyncio.gather(*(drive(server.listeners[0].port) for _ in range(DRIVERS)))
        await asyncio.gather(*tasks)
        await asyncio.sleep(0.2)
        for side in sides:
            side.transport.abort()
    listening.close()
    assert sum(logged_in) > DRIVERS / 2


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Issued:
    return issue(tmp_path_factory.mktemp("tls"), ["localhost"])


WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "delayed": {"rtt_ns": 10_000_000},
    "TLS": {"tls": None},
    "TLS, delayed": {"tls": None, "rtt_ns": 8_000_000},
    "in pieces": {"faults": [parse("split 1000"), parse("delay 5ms~3ms")]},
    "cut": {"faults": [parse("reset after 300kB")]},
    "hanging": {"faults": [parse("hang 100ms after 300kB")]},
}


@pytest.mark.filterwarnings("ignore:returning true from eof_received")
@pytest.mark.parametrize("way", WAYS)
def test_every_session_ends(tmp_path: Path, issued: Issued, way: str) -> None:
    options = dict(WAYS[way])
    if "tls" in options:
        options["tls"] = DriverTls("end", str(issued.certificate), str(issued.key))
    trust = ssl.create_default_context(cafile=str(issued.authority))
    trust.set_alpn_protocols(["postgresql"])
    for seed in range(ROUNDS):
        run(play(tmp_path / f"{seed}.pgtrace", seed, trust, **options))
