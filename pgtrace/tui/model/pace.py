"""Decides when the screen reads on while traffic passes, because forwarding comes first.

The screen has a high niceness, but if Linux divides processors by session (autogroup), that counts
only within one session, and a terminal is a separate session. So the screen measures its own
readings. If they take much longer than their CPU time, they had to wait for a processor that others
need, too. Then the screen rests between two readings, and falls behind if there is much to read. If
a processor is free, it never rests.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

CONTENDED: Final = 1.3
"""Readings that take longer than this, in units of their CPU time, share their processor."""
RESTS: Final = 8.0
"""The length of a rest, in units of the CPU time of the last reading."""
FORGETS: Final = 0.7
"""The weight of the earlier readings at each new one."""


class Pace:
    """Computes how long to rest, from the times of the latest readings."""

    def __init__(self) -> None:
        self._wall_s = self._cpu_s = 0.0
        self._rests_until_s = 0.0

    def rests(self, now_s: float) -> bool:
        """Whether the next reading has to wait."""
        return now_s < self._rests_until_s

    @contextmanager
    def reading(self, now_s: float) -> Iterator[None]:
        """Measure a reading, which is the block and began at `now_s`."""
        wall_s, cpu_s = time.perf_counter(), time.thread_time()
        yield
        wall_s, cpu_s = time.perf_counter() - wall_s, time.thread_time() - cpu_s
        self._wall_s = self._wall_s * FORGETS + wall_s
        self._cpu_s = self._cpu_s * FORGETS + cpu_s
        if self._wall_s > self._cpu_s * CONTENDED:
            self._rests_until_s = now_s + wall_s + cpu_s * RESTS
