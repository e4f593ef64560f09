"""Round trips per second: now, and over the last minute as a sparkline with its errors.

The rate covers the last five seconds; the sparkline has one cell per five seconds. Counts are added
as they are read; nothing older than the sparkline is kept.
"""

from __future__ import annotations

from collections import deque
from typing import Final

WINDOW_S: Final = 5.0
CELLS: Final = 12
_BLOCKS: Final = "▁▂▃▄▅▆▇█"


def blocks(counts: list[int], none: str) -> str:
    """Each count as a block relative to the greatest; `none` for zero."""
    most = max(counts, default=0)
    return "".join(_BLOCKS[round((len(_BLOCKS) - 1) * count / most)] if count else none for count in counts)


def shares(parts: list[float]) -> str:
    """Each share from 0 to 1 as a block of that height; a blank only for zero."""
    return "".join(_BLOCKS[min(len(_BLOCKS) - 1, int(len(_BLOCKS) * part))] if part > 0 else " " for part in parts)


class Rates:
    """The recent values of a counter."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, int]] = deque()
        self._cells: deque[int] = deque(maxlen=CELLS)
        self._errors: deque[int] = deque(maxlen=CELLS)
        self._cell_start: tuple[float, int, int] | None = None

    def note(self, now_s: float, count: int, errors: int = 0) -> None:
        """Note that the counter is at `count` now, and that of errors at `errors`."""
        if self._cell_start is None:
            self._cell_start = (now_s, count, errors)
        self._recent.append((now_s, count))
        while len(self._recent) > 2 and self._recent[1][0] <= now_s - WINDOW_S:
            self._recent.popleft()
        started, before, failed = self._cell_start
        while now_s - started >= WINDOW_S:
            self._cells.append(count - before)
            self._errors.append(errors - failed)
            started, before, failed = started + WINDOW_S, count, errors
        self._cell_start = (started, before, failed)

    @property
    def per_second(self) -> float:
        """The rate over the last five seconds."""
        if len(self._recent) < 2:
            return 0.0
        (first_s, first), (last_s, last) = self._recent[0], self._recent[-1]
        return (last - first) / max(1.0, last_s - first_s)

    def sparkline(self) -> str:
        """One block for each five seconds, the newest on the right; the lowest block is zero."""
        return blocks(list(self._cells), _BLOCKS[0]) if any(self._cells) else ""

    def failed(self) -> list[bool]:
        """For each block of the sparkline, whether there were errors."""
        return [bool(errors) for errors in self._errors]
