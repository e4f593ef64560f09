"""Handles the signals that end a command without a screen: SIGTERM, which stops a service, and
Ctrl-C.

The first signal is noted, and the command ends in order. The handler writes a byte into a pipe. It
takes no lock, as an Event would: a handler runs between any two steps of the code it interrupts,
and would wait forever if that code held the lock. The command's output may be a full pipe without a
reader, and a write to it would keep the command alive forever. So a write that has taken WAIT_S
since the signal goes to the null device. (An alarm's handler changes the descriptor under it; the
interrupted write is then tried again and succeeds.)
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
    """An event that the first SIGTERM or SIGINT sets."""

    def __init__(self) -> None:
        self.exit_code = 0
        """The exit code of the command: 130 after Ctrl-C, 0 after SIGTERM."""
        self._seen = 0
        self._is_set = False
        self._wake_reader, self._wake_writer = os.pipe()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)

    def is_set(self) -> bool:
        """Whether the signal has come."""
        return self._is_set

    def wait(self, timeout_s: float) -> bool:
        """Wait for the signal, at most that long. Returns whether it has come."""
        return self._is_set or bool(select.select([self._wake_reader], [], [], timeout_s)[0])

    def _stop(self, number: int, _: FrameType | None) -> None:
        if self._is_set:
            return
        self._is_set = True
        self.exit_code = INTERRUPTED if number == signal.SIGINT else 0
        os.write(self._wake_writer, b"!")
        signal.signal(signal.SIGALRM, self._check_write)
        signal.setitimer(signal.ITIMER_REAL, WAIT_S, WAIT_S)

    def over(self) -> None:
        """The command has ended in order and writes nothing more. An alarm while Python exits would
        kill the process."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _check_write(self, *_: object) -> None:
        """Check whether the write seen last time is still under way."""
        now = output.writes()
        if now % 2 and now == self._seen:
            output.discard_output()
        self._seen = now
