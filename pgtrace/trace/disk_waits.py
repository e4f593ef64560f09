"""When the traffic waited for the recorder's disk (--when-behind wait): round trips then took
longer than without pgtrace.

The spans come in order and do not overlap. There are at most KEPT: beyond that, neighbours are
merged. So a row that did not wait may be marked, but no row that waited is missed.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Final

from pgtrace.capture.record import DISK, Pause

KEPT: Final = 10_000


class DiskWaits:
    """The spans of one capture. Times are ns, from the start of the trace."""

    __slots__ = ("_begins", "_ends", "waited_ns")

    def __init__(self) -> None:
        self._begins: list[int] = []
        self._ends: list[float] = []
        self.waited_ns = 0
        """The sum of the spans that have ended."""

    def note(self, time_ns: int, pause: Pause) -> None:
        """Take a Pause record: the beginning or the end of a pause."""
        if pause.why != DISK:
            return
        if pause.begin and not self._lasts:
            self._begins.append(time_ns)
            self._ends.append(math.inf)
        elif not pause.begin and self._lasts:
            self._ends[-1] = max(time_ns, self._begins[-1])
            self.waited_ns += max(0, time_ns - self._begins[-1])
            if len(self._begins) > KEPT:
                self._begins, self._ends = self._begins[::2], [*self._ends[1::2], *([self._ends[-1]] if len(self._ends) % 2 else [])]

    @property
    def _lasts(self) -> bool:
        return bool(self._ends) and self._ends[-1] == math.inf

    def during(self, begin_ns: int, end_ns: int | None) -> bool:
        """Whether the traffic waited at any time between these two moments. `end_ns` of None means
        now."""
        place = bisect_right(self._begins, math.inf if end_ns is None else end_ns) - 1
        return place >= 0 and self._ends[place] > begin_ns
