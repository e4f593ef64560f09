"""--rtt: every byte later, half of the round trip each way, in order and unchanged.

A Delayed stands between a socket and its protocol (a leg, or the start-up phase before it) and hands on what was read when its time has come:
bytes, the end of the stream, the loss of the connection, each behind what came before. A driver's bytes are on the tape when they are read, the
server's when they are handed on: a capture is the driver's side of the wire.

What waits is bounded: above WAITING_BYTES the socket is no longer read, as with a narrow window on a long line. Once a session is delayed it stays
so, also when the delay is set back to nothing: a line never overtakes itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic_ns
from typing import Any, Final

from pgtrace.protocol.codes import FRONTEND
from pgtrace.proxy.relay import Leg, is_tls

WAITING_BYTES: Final = 256 * 1024


class Delayed(asyncio.Protocol):
    """The line between one socket and its protocol."""

    __slots__ = ("_bytes", "_due_ns", "_leg", "_paused", "_waiting", "target")

    def __init__(self, leg: Leg, target: asyncio.Protocol) -> None:
        self.target = target
        """The protocol whose turn it is; it changes when the start-up phase ends."""
        self._leg = leg
        self._waiting: deque[tuple[int, Callable[[Any], Any], Any]] = deque()
        self._bytes = 0
        self._due_ns = 0
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.target.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._leg.side == FRONTEND:
            self._leg.record(data)
            self.forward(data)
            return
        self._bytes += len(data)
        self._later(self._receive, data)
        self._steer()

    def forward(self, data: bytes) -> None:
        """Write to the peer, when its time has come, what is on the tape already."""
        self._bytes += len(data)
        self._later(self._write, data)
        self._steer()

    def eof_received(self) -> bool:
        self._later(lambda _: self.target.eof_received(), None)
        return not is_tls(self._leg.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leg.peer.write = self._leg.peer.discard
        self._later(self._lose, exc)

    def pause_writing(self) -> None:
        self.target.pause_writing()

    def resume_writing(self) -> None:
        self.target.resume_writing()

    def pause(self) -> None:
        """The peer cannot be written to: stop reading, whatever waits."""
        self._paused = True
        self._steer()

    def resume(self) -> None:
        """The peer can be written to again."""
        self._paused = False
        self._steer()

    def _write(self, data: bytes) -> None:
        self._bytes -= len(data)
        self._leg.write(data)
        self._steer()

    def _receive(self, data: bytes) -> None:
        self._bytes -= len(data)
        self.target.data_received(data)
        self._steer()

    def _lose(self, exc: Exception | None) -> None:
        self.target.connection_lost(exc)  # whoever is the target by then

    def _steer(self) -> None:
        transport = self._leg.transport
        if transport is None or self._leg.lost or self._leg.eof:
            return
        if self._paused or self._bytes > WAITING_BYTES:
            transport.pause_reading()
        else:
            transport.resume_reading()

    def _later(self, action: Callable[[Any], Any], argument: Any) -> None:
        now = monotonic_ns()
        self._due_ns = max(self._due_ns, now + self._leg.session.rtt_ns // 2)
        self._waiting.append((self._due_ns, action, argument))
        if len(self._waiting) == 1:
            self._leg.session.loop.call_later((self._due_ns - now) / 1e9, self._deliver)

    def _deliver(self) -> None:
        while self._waiting:
            due_ns, action, argument = self._waiting[0]
            wait_ns = due_ns - monotonic_ns()
            if wait_ns > 0:
                self._leg.session.loop.call_later(wait_ns / 1e9, self._deliver)
                return
            try:
                action(argument)
            finally:
                self._waiting.popleft()  # only now: what is added meanwhile must not start a second timer
