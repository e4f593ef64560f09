"""One line of the screen, built piece by piece, measured in cells.

Widths are cells, not characters: a wide character takes two, a combining one none, and a cut never splits one. A Line always ends up exactly as
wide as it was made, whatever was put in. The pieces become Segments, so nothing that came over the wire meets a markup parser.

The numbers of the screen are written here too: counts and bytes in five cells, milliseconds with two decimals, seconds to a tenth of a millisecond.
"""

from __future__ import annotations

from rich.cells import cell_len, split_text
from rich.segment import Segment
from textual.strip import Strip

from pgtrace.tui.theme import Pen


def cells(text: str) -> int:
    """How many cells the text takes."""
    return len(text) if text.isascii() else cell_len(text)


def cut(text: str, width: int, ellipsis: str = "…") -> str:
    """The text in at most `width` cells; where it does not fit, its end becomes the ellipsis."""
    if width <= 0:
        return ""
    longest = 4 * width + 8
    whole = len(text) <= longest
    text = text[:longest]
    if whole and cells(text) <= width:
        return text
    room = width - len(ellipsis)
    if room < 0:
        return ellipsis[:width]
    if text.isascii():
        return text[:room] + ellipsis
    return split_text(text, room)[0].rstrip("\u200d") + ellipsis if cells(text) > room else text + ellipsis


def pad(text: str, width: int, *, right: bool = False) -> str:
    """The text with blanks up to `width` cells, behind it or, with `right`, before it."""
    blanks = " " * (width - cells(text))
    return blanks + text if right else text + blanks


class Line:
    """A line under construction. Blanks go with the piece behind them, so that a line has few segments."""

    __slots__ = ("_gap", "_only", "_segments", "ground", "pen", "used", "width")

    def __init__(self, pen: Pen, width: int, ground: str = "background", only: str = "") -> None:
        """With `only`, everything on it has that role."""
        self.pen = pen
        self.width = width
        self.ground = ground
        self._only = only
        self.used = 0
        self._gap = 0
        self._segments: list[Segment] = []

    @property
    def room(self) -> int:
        """Cells that are still free."""
        return self.width - self.used

    def add(self, text: str, role: str = "text", width: int | None = None, *, right: bool = False) -> Line:
        """Put text at the end: cut and padded to `width` cells where given, cut to the room there is in any case."""
        pen = self.pen
        if pen.ascii_only:
            text = pen.text(text)
        taken = len(text) if text.isascii() else cell_len(text)
        room = self.width - self.used
        most = room if width is None or width > room else width
        if taken > most:
            text = cut(text, most, pen.ellipsis)
            taken = cells(text)
        if width is not None and taken < most:
            text = " " * (most - taken) + text if right else text + " " * (most - taken)
            taken = most
        if taken:
            if self._gap:
                text, self._gap = " " * self._gap + text, 0
            self._segments.append(Segment(text, pen.style(self._only or role, self.ground)))
            self.used += taken
        return self

    def to(self, position: int) -> Line:
        """Blanks up to that cell."""
        blanks = min(position, self.width) - self.used
        if blanks > 0:
            self._gap += blanks
            self.used += blanks
        return self

    def strip(self) -> Strip:
        """The finished line, exactly as wide as it was made."""
        self.to(self.width)
        if self._gap:
            self._segments.append(Segment(" " * self._gap, self.pen.style("text", self.ground)))
            self._gap = 0
        return Strip(self._segments, self.width)


def blank(pen: Pen, width: int) -> Strip:
    """An empty line."""
    return Line(pen, width).strip()


def rule(pen: Pen, width: int, left: str, right: str = "") -> Strip:
    """A thin rule with a title at the left and, where there is room, a note at the right."""
    line = Line(pen, width)
    line.add("── ", "faint").add(left, "dim").add(" ")
    tail = f" {right} ─" if right else ""
    gap = line.room - cells(pen.text(tail))
    if gap < 1:
        return line.add("─" * line.room, "faint").strip()
    line.add("─" * gap, "faint")
    if right:
        line.add(f" {right} ", "dim").add("─", "faint")
    return line.strip()


def count(number: int) -> str:
    """A count or a number of bytes in at most five cells: 959, 9.2k, 18k, 1.2M; a dot for none."""
    if number < 1000:
        return str(number) if number else "·"
    value = float(number)
    for unit in "kMGT":
        value /= 1000
        if value < 9.95:
            return f"{value:.1f}{unit}"
        if value < 999.5:
            return f"{value:.0f}{unit}"
    return f"{value / 1000:.0f}P"


def whole(number: int) -> str:
    """A count written out while it fits seven cells, then shortened; a dot for none."""
    return count(number) if not number or number >= 10_000_000 else str(number)


def grouped(number: int) -> str:
    """A number in groups of three."""
    return f"{number:,}".replace(",", " ")


def milliseconds(duration_ns: int) -> str:
    """Always ms, two decimals; none from 1000 ms."""
    ms = duration_ns / 1e6
    return f"{ms:.2f}" if ms < 999.995 else f"{ms:.0f}"


def seconds(time_ns: int) -> str:
    """Seconds to a tenth of a millisecond, with fewer decimals where eight cells do not hold them."""
    value = time_ns / 1e9
    return f"{value:.4f}" if value < 999 else f"{value:.2f}" if value < 99_999 else f"{value:.0f}"


def span(duration_ns: int) -> str:
    """A duration for people: 850 ms, 12.4 s, 2m14s, 3h05m."""
    total = duration_ns / 1e9
    if total < 1:
        return f"{duration_ns / 1e6:.0f} ms"
    if total < 60:
        return f"{total:.1f} s"
    minutes, rest = divmod(int(total), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    return f"{minutes // 60}h{minutes % 60:02d}m"
