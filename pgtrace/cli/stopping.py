"""The signals that end a command without a screen: SIGTERM as a service is stopped, Ctrl-C as a
person does it.

The first one is noted, and the command ends in order. It is noted by a byte in a pipe: a handler runs
between any two steps of what it interrupts, and one that takes a lock, as that of an Event does, waits
for ever where the interrupted step holds it. The command's output may lead to a pipe that is
full because nobody reads it: a write that waits for that would keep the command for ever, so one
that has taken WAIT_S since the signal leads nowhere from then on. (The handler of an alarm changes
the descriptor under it; the interrupted write is tried again, and is done.)
"""

from __future__ import annotations

import os
import select
import signal
from types import FrameType
from typing import Final

from pgtrace.cli import INTERRUPTED, output

WAIT_S: Final = 1.0


class Stop:
    """Set by the first SIGTERM or SIGINT from here on."""

    def __init__(self) -> None:
        self.exit_code = 0
        """What the command ends with: 130 after Ctrl-C, 0 after SIGTERM."""
        self._seen = 0
        self._is_set = False
        self._told, self._tell = os.pipe()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)

    def is_set(self) -> bool:
        """Whether the signal has come."""
        return self._is_set

    def wait(self, timeout_s: float) -> bool:
        """Wait for it, at most that long; whether it has come."""
        return self._is_set or bool(select.select([self._told], [], [], timeout_s)[0])

    def _stop(self, number: int, _: FrameType | None) -> None:
        if self._is_set:
            return
        self._is_set = True
        self.exit_code = INTERRUPTED if number == signal.SIGINT else 0
        os.write(self._tell, b"!")
        signal.signal(signal.SIGALRM, self._look)
        signal.setitimer(signal.ITIMER_REAL, WAIT_S, WAIT_S)

    def over(self) -> None:
        """The command has ended in order: nothing is written any more. An alarm that came while Python ends would kill the process."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _look(self, *_: object) -> None:
        """Whether the write that was under way the last time still is."""
        now = output.writes()
        if now % 2 and now == self._seen:
            output.lead_all_nowhere()
        self._seen = now
