"""The time axis of the rows in sight: where a bar begins and ends, in half cells.

The axis runs from the first beginning to the last end among the rows. Idle time longer than a tenth
of it is cut out, so that a pause does not flatten everything else; `╌` in the heading marks the
cut. There are at most nine cuts. A bar is at least half a cell long. When zoomed, the axis is the
chosen window, without cuts, and nothing outside it is drawn.

A bar has parts: `━` until the first answer, `─` until the last one, `┄` for the driver's own time
before it, `╍` for work of the server after the driver had left, and `░` for the time in a pooler.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Final

from pgtrace.tui.model import figures

IDLE_SHARE: Final = 0.1
"""Idle time above this share of the span is cut."""

Part = tuple[int, int, int]
"""A piece of a bar: from, to, and what happened in it."""
WAITING: Final = 1
RECEIVING: Final = 2
IDLE: Final = 3
"""The driver's own time, in which the server had nothing to do."""
FOR_NOBODY: Final = 4
"""Time in which the server worked on although the driver had left."""
IN_POOLER: Final = 5
"""Time in the pooler, before or after the server."""
_GLYPHS: Final = {
    (0, 0): " ", (1, 1): "━", (1, 0): "╸", (0, 1): "╺",
    (2, 2): "─", (2, 0): "╴", (0, 2): "╶", (1, 2): "╾", (2, 1): "╼",
}  # fmt: skip


def _cell(left: int, right: int) -> tuple[str, str]:
    """The glyph of a cell, by what is in its halves, and its role."""
    if FOR_NOBODY in (left, right):
        return "╍", "attention"
    glyph = _GLYPHS[left if left < IDLE else 0, right if right < IDLE else 0]
    if glyph == " " and IN_POOLER in (left, right):
        glyph = "░"
    return (glyph, "bar") if glyph != " " else ("┄" if left or right else " ", "faint")


_CELLS: Final = {(left, right): _cell(left, right) for left, right in product(range(IN_POOLER + 1), repeat=2)}


class Axis:
    """A scale from nanoseconds to half cells."""

    def __init__(self, spans: Sequence[tuple[int, int]], width: int, window: tuple[int, int] | None = None) -> None:
        """`window` is shown instead of the spans, idle time included."""
        self.width = width
        self.zoomed = window is not None
        spans = [window] if window is not None else spans
        self.start_ns = min((start for start, _ in spans), default=0)
        self.span_ns = max((end for _, end in spans), default=0) - self.start_ns
        busy = self._busy(spans)
        halves = 2 * width
        scale = max(2.0, halves - 3.0 * (len(busy) - 1)) / max(1, sum(end - start for start, end in busy))
        self.cuts: list[int] = []
        """Cells for idle time that is cut out."""
        # from, to, first half cell, half cells per ns
        self._pieces: list[tuple[int, int, float, float]] = []
        position = 0.0
        for number, (start, end) in enumerate(busy):
            if number:
                cell = min(width - 1, int(-(-position // 2)))
                self.cuts.append(cell)
                position = 2.0 * (cell + 1)
            self._pieces.append((start, end, position, scale))
            position += (end - start) * scale

    def _busy(self, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        longest_idle = self.span_ns * IDLE_SHARE
        busy: list[tuple[int, int]] = []
        for start, end in sorted(spans):
            if busy and start - busy[-1][1] <= longest_idle:
                busy[-1] = (busy[-1][0], max(busy[-1][1], end))
            else:
                busy.append((start, end))
        return busy

    def half(self, time_ns: int) -> float:
        """The half cell of a time."""
        at = 0.0
        for start, end, position, scale in self._pieces:
            if time_ns < start:
                break
            at = position + (min(time_ns, end) - start) * scale
        return at

    def time_at(self, cell: int) -> int:
        """The time at the beginning of a cell."""
        half = 2.0 * cell
        for start, end, position, scale in self._pieces:
            if half <= position + (end - start) * scale:
                return start + max(0, round((half - position) / scale))
        return self.start_ns + self.span_ns

    def bar(self, parts: Sequence[Part]) -> list[tuple[str, str]]:
        """The cells of one row as (text, role) runs: role `bar` for the bar and for time in a
        pooler, `faint` for idle time, `attention` for work after the driver had left, exactly
        `width` cells. Later parts cover earlier ones.
        """
        halves = bytearray(2 * self.width)
        for start_ns, end_ns, what in parts:
            if self.zoomed and (end_ns < self.start_ns or start_ns > self.start_ns + self.span_ns):
                continue
            first = min(2 * self.width - 1, int(self.half(start_ns)))
            last = min(2 * self.width, max(first + (what in (WAITING, IN_POOLER)), round(self.half(end_ns))))
            halves[first:last] = bytes([what]) * (last - first)
        runs: list[tuple[str, str]] = []
        for glyph, role in map(_CELLS.__getitem__, zip(halves[::2], halves[1::2], strict=True)):
            if runs and runs[-1][1] == role:
                runs[-1] = (runs[-1][0] + glyph, role)
            else:
                runs.append((glyph, role))
        return runs

    def head(self) -> str:
        """The ends of the axis and its cuts: `0 ╌ +17.64 ms`; if it does not begin with the visible
        rows, the second at which it begins.
        """
        start = figures.seconds(self.start_ns) if self.zoomed else "0"
        end = f"+{figures.milliseconds(self.span_ns)} ms"
        if len(start) + len(end) >= self.width:
            return end.rjust(self.width)
        text = start + end.rjust(self.width - len(start))
        free = range(len(start), self.width - len(end))  # not the blank before `ms`
        return "".join("╌" if cell in self.cuts and cell in free else letter for cell, letter in enumerate(text))
