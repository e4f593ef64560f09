"""The stretch of time that a waterfall's bars span, if that is not the rows in sight: one row, what
was dragged over, or what `+ -` and `h l` make of it."""

from __future__ import annotations

from typing import Final

LEAST_NS: Final = 1000
"""What the bars span at the least."""


class Zoom:
    """A window on the time of the capture, or none."""

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
        """Half as much time around a row as is spanned now, or twice as much. The beginning of a
        row that is longer stays in sight."""
        half = max(LEAST_NS, span_ns // 4 if closer > 0 else span_ns)
        middle = (start_ns + min(end_ns, start_ns + half)) // 2
        self.show(middle - half, middle + half)

    def move(self, steps: int) -> None:
        """Go along by quarters of the window."""
        if self.window is not None:
            start, end = self.window
            step = (end - start) // 4 * steps
            self.show(start + step, end + step)

    def drag(self, moment_ns: int | None) -> None:
        """A drag begins at that moment; None is beside the axis."""
        self._drag_began = moment_ns

    def drop(self, moment_ns: int | None) -> bool:
        """The drag ends: span what lies between; whether there is anything."""
        began, self._drag_began = self._drag_began, None
        if began is None or moment_ns is None or began == moment_ns:
            return False
        self.show(min(began, moment_ns), max(began, moment_ns))
        return True
