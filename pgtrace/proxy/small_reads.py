"""Reads in small pieces until login is over.

The loop reads up to 256,000 bytes at a time. Before login that is more than the recorder may hold
for a stranger, and a socket cannot be paused in the middle of a read. So SmallReads is the protocol
of the driver's socket and reads at most READ_BYTES at a time. All sockets share one buffer, because
each read is passed on before the next one begins. Bytes that are not read stay in the kernel, and
the driver has to stop sending.

The target that it reads for changes (the start-up, TLS, the leg); SmallReads stays until
logged_in(). It costs a copy and a call for each read, so it does not stay longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

BEFORE_LOGIN_BYTES: Final = 16 * 1024
"""The most bytes of a connection that may be held before login."""
READ_BYTES: Final = 4 * 1024
PIECES: Final = 64
"""The most reads that may wait in a delayed session before login. Each costs more than its
bytes."""

_buffer: Final = memoryview(bytearray(READ_BYTES))


class SmallReads(asyncio.BufferedProtocol):
    """Reads a socket for another protocol."""

    __slots__ = ("_is_logged_in", "_target", "_transport", "take")

    def __init__(self, target: asyncio.Protocol) -> None:
        self._transport: asyncio.Transport
        self._target: Any
        self.take: Callable[[bytes], object]
        self._is_logged_in = False
        self.target = target

    @property
    def target(self) -> Any:
        """The protocol that gets the bytes now: a Protocol, or a BufferedProtocol such as the
        loop's TLS."""
        return self._target

    @target.setter
    def target(self, target: Any) -> None:
        self._target = target
        # The server answered before its leg had the driver's socket.
        if self._is_logged_in and not self._transport.is_closing():
            _change(self._transport, target)
        self.take = target.data_received if isinstance(target, asyncio.Protocol) else lambda data: feed(target, data)

    def attach(self, transport: asyncio.Transport) -> None:
        """Read the socket on behalf of the target."""
        self._transport = transport
        _change(transport, self)

    def logged_in(self) -> None:
        """Login is over: let the target read the socket itself."""
        self._is_logged_in = True
        if not self._transport.is_closing():
            _change(self._transport, self._target)

    def get_buffer(self, sizehint: int) -> memoryview:
        return _buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.take(bytes(_buffer[:nbytes]))

    def eof_received(self) -> bool | None:
        kept: bool | None = self._target.eof_received()
        return kept

    def connection_lost(self, exc: Exception | None) -> None:
        self._target.connection_lost(exc)

    def pause_writing(self) -> None:
        self._target.pause_writing()

    def resume_writing(self) -> None:
        self._target.resume_writing()


def feed(protocol: Any, data: bytes) -> None:
    """Give bytes to a BufferedProtocol as if it had read them."""
    while data:
        room = protocol.get_buffer(len(data))
        size = min(len(room), len(data))
        room[:size] = data[:size]
        protocol.buffer_updated(size)
        data = data[size:]


def _change(transport: asyncio.Transport, protocol: asyncio.BaseProtocol) -> None:
    """Give the socket another protocol. The loop notices a different way of reading only when it
    begins to read."""
    reads = transport.is_reading()
    transport.pause_reading()
    transport.set_protocol(protocol)
    if reads:
        transport.resume_reading()
