"""The time that a waterfall's bars span when zoomed: one row, a dragged range, or the result of `+
-` and `h l`.
"""

from __future__ import annotations

from typing import Final

LEAST_NS: Final = 1000
"""The shortest time that the bars span."""


class Zoom:
    """A window on the time of the capture, if zoomed."""

    def __init__(self) -> None:
        self.window: tuple[int, int] | None = None
        self._drag_began: int | None = None

    def show(self, start_ns: int, end_ns: int) -> None:
        """Span that time, or LEAST_NS if it is shorter."""
        start_ns = max(0, start_ns)
        self.window = (start_ns, max(end_ns, start_ns + LEAST_NS))

    def show_all(self) -> None:
        """Span the rows in sight again."""
        self.window = None

    def closer(self, start_ns: int, end_ns: int, span_ns: int, closer: int) -> None:
        """Halve or double the spanned time, around a row. The beginning of a row that is longer
        stays visible.
        """
        half = max(LEAST_NS, span_ns // 4 if closer > 0 else span_ns)
        middle = (start_ns + min(end_ns, start_ns + half)) // 2
        self.show(middle - half, middle + half)

    def move(self, steps: int) -> None:
        """Move the window by quarters of its length."""
        if self.window is not None:
            start, end = self.window
            step = (end - start) // 4 * steps
            self.show(start + step, end + step)

    def drag(self, moment_ns: int | None) -> None:
        """Begin a drag at that time; None means outside the axis."""
        self._drag_began = moment_ns

    def drop(self, moment_ns: int | None) -> bool:
        """End the drag, and span the time between. Returns whether there is any."""
        began, self._drag_began = self._drag_began, None
        if began is None or moment_ns is None or began == moment_ns:
            return False
        self.show(min(began, moment_ns), max(began, moment_ns))
        return True
