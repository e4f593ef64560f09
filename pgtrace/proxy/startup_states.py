"""The states of a driver's start-up: what each of them does with the socket, and which can follow.

    WAITING -> READING -> ASKED -> ENCRYPTING -> READING        pgtrace terminates TLS
                  |         '----> READING                      an answer of N
                  v
               OPENING <-> SENT -> READING                      a second try; an N of the server's own
                  |         |
                  '---------'----> OVER                         the sockets belong to their legs

Any of them can also become REFUSED or OVER, because a fault applies, time runs out or the driver
leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """One state. A state does only what its flags name."""

    name: str
    reads: bool = False
    """We read the driver's socket. In other states it is paused, and a read that was in progress
    waits."""
    records: bool = False
    """A read goes onto the tape immediately. In other states it waits for the next state, because
    it may be encrypted or because a fact has to be recorded first."""
    decides: bool = False
    """The bytes read are the next untyped packet, and we decide by it."""
    keeps: bool = False
    """The bytes read are kept for the upstream."""
    is_timed: bool = False
    """The start-up waits for the driver, so its time runs. (In SENT it waits for a server that has
    not accepted the driver's TLS.)"""
    leaves: bool = False
    """A driver that ends its direction in this state wants nothing more: we close its socket."""


WAITING: Final = State("waiting", leaves=True)
"""We answer nothing yet: a fault delays the answer, or the upstream is dialled first."""
READING: Final = State("reading", reads=True, records=True, decides=True, is_timed=True, leaves=True)
"""We wait for the next untyped packet."""
ASKED: Final = State("asked")
"""The driver has asked for encryption, and our answer waits for --rtt."""
ENCRYPTING: Final = State("encrypting", is_timed=True)
"""The driver's TLS handshake is in progress."""
OPENING: Final = State("opening", records=True, keeps=True)
"""We are opening the upstream leg."""
SENT: Final = State("sent", records=True, keeps=True, is_timed=True)
"""The server has the driver's first packet, and its first answer decides how to continue."""
REFUSED: Final = State("refused", reads=True, records=True, leaves=True)
"""The driver is refused. What it still sends is recorded but not forwarded."""
OVER: Final = State("over")
"""The sockets belong to their legs, or are gone."""

NEXT: Final[Mapping[State, tuple[State, ...]]] = {
    WAITING: (READING, REFUSED, OVER),
    READING: (ASKED, ENCRYPTING, OPENING, REFUSED, OVER),
    ASKED: (READING, ENCRYPTING, REFUSED, OVER),
    ENCRYPTING: (READING, REFUSED, OVER),
    OPENING: (SENT, ASKED, REFUSED, OVER),
    SENT: (READING, OPENING, REFUSED, OVER),
    REFUSED: (OVER,),
    OVER: (),
}
"""Which states can follow each state."""


class Countdown:
    """A time limit that runs only between run(True) and run(False)."""

    __slots__ = ("_left_s", "_loop", "_over", "_since_s", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, over: Callable[[], object]) -> None:
        """The time does not run yet. `over` is called when no time is left."""
        self._loop = loop
        self._left_s: float | None = seconds
        self._over = over
        self._since_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def run(self, runs: bool) -> None:
        """Let the time run, or stop it for now."""
        if self._timer is not None and self._left_s is not None:
            self._timer.cancel()
            self._timer = None
            self._left_s -= self._loop.time() - self._since_s
        if runs and self._left_s is not None:
            self._since_s = self._loop.time()
            self._timer = self._loop.call_later(max(0.0, self._left_s), self._over)

    def stop(self) -> None:
        """Stop the time for good."""
        self.run(False)
        self._left_s = None
