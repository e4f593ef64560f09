"""One connection of a replay, once libpq has logged in: sends its units when they are due.

It takes over libpq's socket. libpq sends nothing more until it ends the connection with Terminate.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from pgtrace.replay.loop import READ, WRITE, Loop
from pgtrace.replay.plan import Plan
from pgtrace.replay.player import NEVER, Player

_READ_BYTES: Final = 64 * 1024


class Connection:
    """Sends and receives on the socket of one connection."""

    __slots__ = ("_cancel", "_ended_ns", "_has_ended", "_loop", "_over", "_pgconn", "_socket", "_unsent", "_waits", "lost", "player")

    def __init__(
        self,
        loop: Loop,
        plan: Plan,
        pgconn: Any,
        *,
        cancel: Callable[[Any, int], None],
        has_ended: Callable[[Connection], None],
    ) -> None:
        """`pgconn` is logged in. `cancel` is called with it and the time in ns after which the unit
        just sent must be cancelled; `has_ended` when the connection has ended.
        """
        self.player = Player(plan)
        self.lost = False
        """Whether the server ended it before everything was sent."""
        self._socket = socket.socket(fileno=os.dup(pgconn.socket))
        self._socket.setblocking(False)
        self._loop = loop
        self._ended_ns = plan.script.ended_ns
        self._pgconn = pgconn
        self._cancel = cancel
        self._has_ended = has_ended
        self._over = False
        self._unsent: deque[memoryview] = deque()
        self._waits = False

    def start(self) -> None:
        """Send the first units."""
        self._loop.watch(self._socket, READ, self._ready)
        self._process()

    def leave(self) -> None:
        """End the connection now."""
        if not self._over:
            self._over = True
            self._loop.unwatch(self._socket)
            # libpq says Terminate, on the same socket
            self._pgconn.finish()
            self._socket.close()
            self._has_ended(self)

    def _ready(self, events: int) -> None:
        """Called when the socket can be read or written."""
        if events & WRITE:
            self._send_rest()
        if events & READ:
            try:
                data = self._socket.recv(_READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if data:
                self._process(data)
            else:
                self.lost = not self.player.done
                self.leave()

    def _process(self, data: bytes = b"") -> None:
        """Process received data, and send the units that are due."""
        player = self.player
        reply = player.feed(data, NEVER if self._waits else self._loop.until_ns())
        if reply and (self._unsent or (sent := self._send_some(reply)) < len(reply)):
            self._keep(reply if self._unsent else reply[sent:])
        while player.cancels:
            self._cancel(self._pgconn, player.cancels.pop())
        if self._waits:
            return
        if player.done:
            self._wait_until(self._ended_ns, self.leave)
        elif not self._loop.is_at_max and (next_ns := player.next_ns) is not None:
            self._wait_until(next_ns, self._process)

    def _wait_until(self, recorded_ns: int, then: Callable[[], None]) -> None:
        """Call `then` at a recorded time; until then, every due unit waits for an answer."""
        if recorded_ns <= self._loop.until_ns():
            if self.player.done:
                then()
            return

        def later() -> None:
            self._waits = False
            if not self._over:
                then()

        self._waits = True
        self._loop.at(recorded_ns, later)

    def _keep(self, data: bytes) -> None:
        """Keep data until the socket can be written."""
        if not self._unsent:
            self._loop.rewatch(self._socket, READ | WRITE, self._ready)
        self._unsent.append(memoryview(data))

    def _send_rest(self) -> None:
        while self._unsent:
            piece = self._unsent[0]
            sent = self._send_some(piece)
            if sent < len(piece):
                self._unsent[0] = piece[sent:]
                return
            self._unsent.popleft()
        self._loop.rewatch(self._socket, READ, self._ready)

    def _send_some(self, data: bytes | memoryview) -> int:
        """Send some of the data. Returns how much was sent; all of it if the connection is gone,
        which reading will report.
        """
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)
