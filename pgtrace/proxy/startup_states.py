"""The states of a connection's beginning, and what goes for each: the table that startup.py runs on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple


class State(NamedTuple):
    """Where a beginning stands, and what goes for it there."""

    name: str
    reads: bool
    """The driver's socket is read by us. Elsewhere it is paused, and a read that was under way waits."""
    records: bool
    """A read goes onto the tape at once. Elsewhere it may be encrypted, or comes before a fact: it waits for the next state."""
    is_timed: bool
    """It is the driver (or, of FIRST, the server that has not accepted its TLS) who keeps the start-up waiting."""


HELD: Final = State("held", reads=False, records=False, is_timed=False)
"""Nothing is answered yet: a fault delays it, or the upstream is dialled first."""
READING: Final = State("reading", reads=True, records=True, is_timed=True)
"""The next untyped packet is awaited."""
ASKED: Final = State("asked", reads=False, records=False, is_timed=False)
"""A request for encryption is there, and its answer waits for --rtt."""
ENCRYPTING: Final = State("encrypting", reads=False, records=False, is_timed=True)
"""The driver's TLS handshake is under way."""
OPENING: Final = State("opening", reads=False, records=True, is_timed=False)
"""The upstream leg is being opened."""
FIRST: Final = State("first", reads=False, records=True, is_timed=True)
"""The server has what the driver sent first, and its first answer says how to go on."""
DEAF: Final = State("deaf", reads=True, records=True, is_timed=False)
"""It is refused: what still comes is recorded and goes nowhere."""
OVER: Final = State("over", reads=False, records=False, is_timed=False)
"""The sockets belong to their legs, or are gone."""


class Countdown:
    """Seconds that run only while they are told to."""

    __slots__ = ("_left_s", "_loop", "_over", "_since_s", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, over: Callable[[], object]) -> None:
        """It does not run yet; `over` is called when no time is left."""
        self._loop = loop
        self._left_s: float | None = seconds
        self._over = over
        self._since_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def run(self, runs: bool) -> None:
        """Go on, or stand still."""
        if self._timer is not None and self._left_s is not None:
            self._timer.cancel()
            self._timer = None
            self._left_s -= self._loop.time() - self._since_s
        if runs and self._left_s is not None:
            self._since_s = self._loop.time()
            self._timer = self._loop.call_later(max(0.0, self._left_s), self._over)

    def stop(self) -> None:
        """Never call `over` any more."""
        self.run(False)
        self._left_s = None
