"""Gathers the items of a table, a few milliseconds at a time, so that fifty thousand statements
never block the screen.

The old table stays until a gathering is complete. It begins again when the view has a new snapshot,
at most once a second and once in ten times what it took, and never while the user presses keys.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

AGAIN_S: Final = 1.0
"""How often a table is gathered again at most, in seconds."""
AT_KEYS_S: Final = 2.0
"""How long the table stays as it is after a key, in seconds."""
BUDGET_S: Final = 0.006
"""Processor time spent on gathering in a tick."""
FIRST_BUDGET_S: Final = 0.03
"""Processor time spent at once when there is nothing to show yet."""


class Gathering:
    """Does work in slices, and decides when it is due again."""

    def __init__(self, begin: Callable[[], Iterator[bool]]) -> None:
        """`begin` starts the work, which yields True at its end."""
        self._begin = begin
        self._source: tuple[object, ...] | None = None
        """The snapshot with which the latest work was begun."""
        self._work: Iterator[bool] | None = None
        self._work_s = 0.0
        self._next_s = 0.0
        self._touched_s = -AT_KEYS_S

    @property
    def under_way(self) -> bool:
        """Whether there is work to continue."""
        return self._work is not None

    def touched(self) -> None:
        """Note that the user has pressed a key."""
        self._touched_s = time.monotonic()

    def restart(self) -> None:
        """Begin again as soon as there is time."""
        self._work = self._source = None

    def sort(self, order: Iterator[bool]) -> None:
        """Order what has been gathered; if it is still being gathered, begin again."""
        if self._work is None:
            self._work = order
        else:
            self.restart()

    def advance(self, snapshot: tuple[object, ...], now_s: float, budget_s: float = BUDGET_S) -> bool:
        """Continue for that long. Returns whether the work is done."""
        if self._work is None:
            waits = self._source is not None and (now_s < self._next_s or now_s < self._touched_s + AT_KEYS_S)
            if waits or _same(snapshot, self._source):
                return False
            self._source, self._work, self._work_s = snapshot, self._begin(), 0.0
        began = time.thread_time()
        while time.thread_time() - began < budget_s:
            if next(self._work):
                self._work = None
                self._next_s = now_s + max(AGAIN_S, 10 * (self._work_s + time.thread_time() - began))
                return True
        self._work_s += time.thread_time() - began
        return False


def _same(some: tuple[object, ...], others: tuple[object, ...] | None) -> bool:
    """Whether they are the very same objects."""
    return others is not None and len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))
