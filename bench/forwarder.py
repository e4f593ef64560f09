"""The yardstick: the least that a forwarder in Python has to do, on the loop that pgtrace runs on.

Protocol callbacks, one write for each read, no Nagle. It records nothing, bounds no buffer and
knows no half-close: what pgtrace costs beyond this is the price of tracing.

    python -m bench.forwarder PORT UPSTREAM_PORT      # both on 127.0.0.1
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from typing import cast

import uvloop

HOST = "127.0.0.1"


class Leg(asyncio.Protocol):
    """One socket; what it reads goes out through `write`."""

    __slots__ = ("peer", "transport", "write")

    write: Callable[[bytes], None]

    def __init__(self) -> None:
        self.peer: Leg | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        self.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.peer is not None:
            self.peer.transport.close()


class ServerLeg(Leg):
    """The upstream's socket."""

    __slots__ = ("driver",)

    def __init__(self, driver: DriverLeg) -> None:
        super().__init__()
        self.driver = driver

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.peer, self.driver.peer = self.driver, self
        self.write, self.driver.write = self.driver.transport.write, self.transport.write
        self.transport.writelines(self.driver.early)


class DriverLeg(Leg):
    """The driver's socket; what it sends before the upstream is there waits in `early`."""

    __slots__ = ("connecting", "early", "upstream_port")

    def __init__(self, upstream_port: int) -> None:
        super().__init__()
        self.upstream_port = upstream_port
        self.early: list[bytes] = []
        self.write = self.early.append

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.connecting = asyncio.get_running_loop().create_task(self.connect())

    def connection_lost(self, exc: Exception | None) -> None:
        self.connecting.cancel()
        super().connection_lost(exc)

    async def connect(self) -> None:
        """Join the upstream, or hang up."""
        try:
            await asyncio.get_running_loop().create_connection(lambda: ServerLeg(self), HOST, self.upstream_port)
        except OSError:
            self.transport.close()


async def forward(port: int, upstream_port: int) -> None:
    """Forward until the process is ended."""
    server = await asyncio.get_running_loop().create_server(lambda: DriverLeg(upstream_port), HOST, port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(forward(int(sys.argv[1]), int(sys.argv[2])))
