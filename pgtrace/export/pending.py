"""Rows that wait for the other side of a pooler before they are sent.

A live export sends each row once. The matching row on the other side is known only when both have
ended, a moment later. So the rows of a recorder with two legs wait until the match is decided, at
most WAITS_S. Rows that have waited that long, or are too many, are sent without a link; the row on
the other side may still get a link to them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Final

from pgtrace.legs.joins import Finding, Joins, State
from pgtrace.trace.row import RowKind
from pgtrace.trace.trace import Trace

WAITS_S: Final = 3.0
MOST: Final = 100_000
"""The most rows that wait."""
_BUDGET_S: Final = 0.2
_LATE_NS: Final = 1_000_000_000
"""Rows that ended this long ago have been written."""


class Pending:
    """The rows of a growing trace that are not sent yet."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._finding = Finding(trace)
        self._waiting: deque[tuple[float, int]] = deque()
        """(time at which its wait ends, place) of each waiting row, in rising order."""

    @property
    def joins(self) -> Joins | None:
        """What is known about the two sides of a pooler."""
        return self._finding.joins

    def ready(self, places: Sequence[int], now_s: float, *, is_last: bool = False) -> list[int]:
        """Add rows that are complete. Returns the rows that can be sent now; all of them if
        `is_last`.
        """
        if not self._trace.has_legs:
            return list(places)
        self._waiting.extend((now_s + WAITS_S, place) for place in places)
        if self._trace.is_read_up:
            if is_last:
                self._finding.finish()
            if self._finding.advance(None if is_last else _BUDGET_S):
                self._finding.until(time.time_ns() - self._trace.start_ns - _LATE_NS)
        found = []
        for _ in range(len(self._waiting)):
            until_s, place = self._waiting.popleft()
            if is_last or now_s >= until_s or len(self._waiting) >= MOST or self._is_decided(place):
                found.append(place)
            else:
                self._waiting.append((until_s, place))
        return found

    def _is_decided(self, place: int) -> bool:
        rows = self._trace.rows
        if rows.shape_at(rows.entry(place).shape).kind is not RowKind.ROUND_TRIP:
            return True
        return self.joins is not None and self.joins.state(place) is not State.NONE
