"""One line of the screen, built piece by piece, measured in cells.

A finished Line always has exactly its width, whatever was added. The pieces become Segments, so no
text from the wire reaches a markup parser.
"""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from textual.strip import Strip

from pgtrace.tui.model import cells
from pgtrace.tui.model.theme import Pen


class Line:
    """A line under construction. Blanks are joined to the piece after them, so that a line has few
    segments."""

    __slots__ = ("_gap", "_only", "_segments", "_styles", "pen", "used", "width")

    def __init__(self, pen: Pen, width: int, ground: str = "background", only: str = "") -> None:
        """With `only`, everything on it has that role."""
        self.pen = pen
        self.width = width
        self._styles = pen.on(ground)
        self._only = only
        self.used = 0
        self._gap = 0
        self._segments: list[Segment] = []

    @property
    def room(self) -> int:
        """Cells that are still free."""
        return self.width - self.used

    def add(self, text: str, role: str = "text", width: int | None = None, *, right: bool = False) -> Line:
        """Add text at the end: cut and padded to `width` cells if given, and cut to the room there
        is in any case."""
        pen = self.pen
        if pen.ascii_only:
            text = pen.text(text)
        taken = len(text) if text.isascii() else cell_len(text)
        room = self.width - self.used
        most = room if width is None or width > room else width
        if taken > most:
            text = cells.cut(text, most, pen.ellipsis)
            taken = cells.width(text)
        if width is not None and taken < most:
            text = " " * (most - taken) + text if right else text + " " * (most - taken)
            taken = most
        if taken:
            if self._gap:
                text, self._gap = " " * self._gap + text, 0
            self._segments.append(Segment(text, self._styles[self._only or role]))
            self.used += taken
        return self

    def to(self, position: int) -> Line:
        """Add blanks up to that cell."""
        blanks = min(position, self.width) - self.used
        if blanks > 0:
            self._gap += blanks
            self.used += blanks
        return self

    def strip(self) -> Strip:
        """The finished line, exactly as wide as it was made."""
        self.to(self.width)
        if self._gap:
            self._segments.append(Segment(" " * self._gap, self._styles["text"]))
            self._gap = 0
        return Strip(self._segments, self.width)


def blank(pen: Pen, width: int) -> Strip:
    """An empty line."""
    return Line(pen, width).strip()


def rule(pen: Pen, width: int, left: str, right: str = "") -> Strip:
    """A thin rule with a title on the left and, if there is room, a note on the right."""
    line = Line(pen, width)
    line.add("── ", "faint").add(left, "dim").add(" ")
    tail = f" {right} ─" if right else ""
    gap = line.room - cells.width(pen.text(tail))
    if gap < 1:
        return line.add("─" * line.room, "faint").strip()
    line.add("─" * gap, "faint")
    if right:
        line.add(f" {right} ", "dim").add("─", "faint")
    return line.strip()
