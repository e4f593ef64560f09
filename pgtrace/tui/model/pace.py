"""When the screen reads on while traffic passes: forwarding comes first.

The screen is nice to the traffic, but where Linux shares the processors out by session (autogroup)
that only counts within one session, and a terminal is a session of its own. So the screen looks at
its own readings. Those that took much longer than their CPU time had to wait for a processor, which
others want, too. Then it rests between two readings, and falls behind if there is much to read.
Where a processor is free it never rests.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

CONTENDED: Final = 1.3
"""Readings that take longer than this, in units of their CPU time, share their processor."""
RESTS: Final = 8.0
"""A rest, for the CPU time of the reading before it."""
FORGETS: Final = 0.7
"""What the readings before count with each new one."""


class Pace:
    """How long to rest, from how long the latest readings took."""

    def __init__(self) -> None:
        self._wall_s = self._cpu_s = 0.0
        self._rests_until_s = 0.0

    def rests(self, now_s: float) -> bool:
        """Whether the next reading has to wait."""
        return now_s < self._rests_until_s

    @contextmanager
    def reading(self, now_s: float) -> Iterator[None]:
        """Read in its block, which began at `now_s`."""
        wall_s, cpu_s = time.perf_counter(), time.thread_time()
        yield
        wall_s, cpu_s = time.perf_counter() - wall_s, time.thread_time() - cpu_s
        self._wall_s = self._wall_s * FORGETS + wall_s
        self._cpu_s = self._cpu_s * FORGETS + cpu_s
        if self._wall_s > self._cpu_s * CONTENDED:
            self._rests_until_s = now_s + wall_s + cpu_s * RESTS
