"""--rtt and --fault: everything passes later, in order and unchanged.

A Delayed is the line between a socket and its protocol (a leg, or the start-up before it). It
passes on everything that was read when its time has come: bytes, the end of the stream, the loss of
the connection, each after what came before. A driver's bytes are recorded when they are read, the
server's when they are passed on, because a capture shows the driver's side of the wire.

With --rtt every byte waits for half of the round trip. Fault rules (faults.py) decide for each read
how much longer it waits, in which pieces it is passed on, and where the connection ends; that end
keeps its place in the order, too. Each piece is passed on in its own turn of the event loop,
because the loop would otherwise join the pieces again.

The number of waiting bytes is bounded. Above WAITING_BYTES we stop reading the socket, as a narrow
window would on a long line. Before login the bound is much smaller (small_reads.py). A session that
is delayed stays delayed even when the delay is set back to zero, so that nothing overtakes earlier
bytes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic_ns
from typing import Any, Final

from pgtrace.faults import Rule
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.proxy.faults import Faults
from pgtrace.proxy.pauses import Line
from pgtrace.proxy.relay import Leg, is_tls
from pgtrace.proxy.small_reads import BEFORE_LOGIN_BYTES, PIECES

WAITING_BYTES: Final = 256 * 1024


class Delayed(Line):
    """The line between one socket and its protocol."""

    __slots__ = (
        "_at",
        "_before_login",
        "_byte_ns",
        "_bytes",
        "_doomed",
        "_due_ns",
        "_faults",
        "_free_ns",
        "_gap_ns",
        "_held",
        "_leg",
        "_size",
        "_stopped",
        "_target",
        "_waiting",
    )

    def __init__(self, leg: Leg, target: asyncio.Protocol, faults: Faults | None = None, *, before_login: bool = False) -> None:
        """`before_login`: login is not over yet. This applies until logged_in() is called."""
        self._target = target
        self._leg = leg
        self._waiting: deque[tuple[int, Callable[[Any], Any], Any]] = deque()
        self._bytes = 0
        self._due_ns = 0
        self._held = False  # traffic waits for the disk, so nothing is passed on
        self._before_login = before_login
        self._faults = faults
        self._size, self._gap_ns, self._byte_ns = (0, 0, 0.0) if faults is None else faults.paces[leg.side]
        self._at = 0  # bytes of the first waiting item that have been passed on
        self._free_ns = 0  # when the next piece may be passed on
        self._doomed = False  # a fault will apply here: nothing after it will pass
        self._stopped = False  # a fault has applied

    def set_protocol(self, protocol: asyncio.Protocol) -> None:
        """Pass on to this protocol from now on: the start-up phase is over."""
        self._target = protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._target.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._leg.side == FRONTEND:
            self._leg.record(data)
            self.forward(data)
        else:
            self._pass(self._receive, data)

    def forward(self, data: bytes) -> None:
        """Send bytes to the peer when their turn comes. They are already recorded."""
        self._pass(self._write, data)

    def eof_received(self) -> bool:
        if self._leg.side == FRONTEND:
            self._leg.session.end(FRONTEND)
        self._end(lambda _: self._target.eof_received(), None)
        return not is_tls(self._leg.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._leg.lost:  # the session has already been given up
            return
        if self._leg.side == FRONTEND:
            self._leg.note_loss(exc)
        for data in self._leg.leftover(exc):
            self.data_received(data)
        self._leg.peer.write = self._leg.peer.discard
        self._end(self._lose, exc)

    def pause_writing(self) -> None:
        self._target.pause_writing()

    def resume_writing(self) -> None:
        self._target.resume_writing()

    def logged_in(self) -> None:
        """Login is over: more bytes may wait here."""
        self._before_login = False
        self.pause_or_resume()

    def stop(self) -> None:
        """A fault has applied: pass on what waits, up to the place where a fault applies in this
        direction, then nothing but the end."""
        waiting, at = list(self._waiting), self._at
        self._waiting.clear()
        self._at = 0
        self._stopped = True
        passes = True
        for _, action, argument in waiting:
            if isinstance(argument, Rule):
                passes = False
            elif not isinstance(argument, bytes):
                action(argument)
            elif passes:
                action(argument[at:])
            at = 0
        self._bytes = 0
        self.pause_or_resume()

    def _pass(self, action: Callable[[bytes], None], data: bytes) -> None:
        if self._stopped or self._doomed:
            return
        if self._faults is None:
            self._queue(action, data)
        else:
            for step in self._faults.steps(self._leg.side, data):
                if isinstance(step, bytes):
                    self._queue(action, step)
                elif step.action == "delay":
                    self._due_ns = max(self._due_ns, self._arrives()) + self._faults.hold(step)
                else:
                    self._doomed = True
                    self._later(self._faults.apply, step)
                    break
        self.pause_or_resume()

    def _queue(self, action: Callable[[bytes], None], data: bytes) -> None:
        if data:
            self._bytes += len(data)
            self._later(action, data)

    def _end(self, action: Callable[[Any], Any], argument: Any) -> None:
        if self._faults is not None and not self._stopped and not self._doomed:
            side = self._leg.side
            self._queue(self._write if side == FRONTEND else self._receive, self._faults.take_held(side))
            self._due_ns = max(self._due_ns, self._arrives()) + self._faults.end_delay_ns(side)
        self._later(action, argument)

    def _write(self, data: bytes) -> None:
        self._bytes -= len(data)
        self._leg.write(data)
        self.pause_or_resume()

    def _receive(self, data: bytes) -> None:
        self._bytes -= len(data)
        self._target.data_received(data)
        self.pause_or_resume()

    def _lose(self, exc: Exception | None) -> None:
        self._target.connection_lost(exc)  # the target may have changed by then

    def pause_or_resume(self) -> None:
        """Read or pause the socket; pass on or hold back what waits."""
        leg = self._leg
        if self._held and not leg.is_held:
            self._held = False
            self._wait(monotonic_ns())
        if leg.transport is None or not leg.can_be_read:
            return
        if leg.is_blocked or leg.is_held or self._bytes > WAITING_BYTES or (self._before_login and self._holds_enough):
            leg.transport.pause_reading()
        else:
            leg.transport.resume_reading()

    @property
    def _holds_enough(self) -> bool:
        return self._bytes > BEFORE_LOGIN_BYTES // 2 or len(self._waiting) > PIECES

    def _arrives(self) -> int:
        """When a read of this moment arrives at the other end."""
        ns = monotonic_ns() + self._leg.session.rtt_ns // 2
        return ns if self._faults is None else ns + self._faults.latency_ns(self._leg.side)

    def _later(self, action: Callable[[Any], Any], argument: Any) -> None:
        self._due_ns = max(self._due_ns, self._arrives())
        if self._stopped or (not self._waiting and not self._size and self._due_ns <= monotonic_ns()):
            action(argument)  # immediately, so that nothing of the other direction comes between
            return
        self._waiting.append((self._due_ns, action, argument))
        if len(self._waiting) == 1:
            self._wait(self._due_ns)

    def _wait(self, until_ns: int) -> None:
        self._leg.session.loop.call_later(max(0, until_ns - monotonic_ns()) / 1e9, self._deliver)

    def _deliver(self) -> None:
        while self._waiting:
            if self._leg.side == BACKEND and self._leg.is_held:
                self._held = True
                return
            due_ns, action, argument = self._waiting[0]
            due_ns = max(due_ns, self._free_ns)
            if due_ns > monotonic_ns():
                self._wait(due_ns)
                return
            is_piece = bool(self._size) and isinstance(argument, bytes)
            rest = 0
            if is_piece:
                piece = argument[self._at : self._at + self._size]
                self._at += self._size
                rest = len(argument) - self._at
                self._free_ns = due_ns + max(self._gap_ns, round(len(piece) * self._byte_ns))
                argument = piece
            try:
                action(argument)
            finally:
                # Only now, so that what is added in the meantime starts no second timer.
                if self._waiting and rest <= 0:
                    self._waiting.popleft()
                    self._at = 0
            if is_piece and self._waiting:
                self._wait(self._free_ns)
                return


def wrap(protocol: asyncio.Protocol, leg: Leg, faults: Faults | None, *, before_login: bool = False) -> asyncio.Protocol:
    """The protocol that reads the socket of `leg` on behalf of `protocol`: a Delayed if something
    delays the session, otherwise `protocol` itself."""
    if not leg.session.rtt_ns and faults is None:
        return protocol
    leg.delayed = line = Delayed(leg, protocol, faults, before_login=before_login)
    return line
