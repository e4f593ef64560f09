"""Bytes as hex and text, with a range of them inverted in both halves.

There are sixteen bytes on a line: in pairs below WIDE cells, byte by byte above; eight if not even
the pairs fit. The offset is that in the direction's stream. Bytes that are not printable ASCII are
shown as a dot.
"""

from __future__ import annotations

from typing import Final

from textual.strip import Strip

from pgtrace.tui.model.theme import Pen
from pgtrace.tui.widgets.lines import Line

WIDE: Final = 76
NARROW: Final = 66
"""A line of sixteen bytes in pairs."""


def per_line(width: int) -> int:
    """How many bytes a line has."""
    return 16 if width >= NARROW else 8


def line_count(size: int, width: int) -> int:
    """How many lines that many bytes take."""
    return -(-size // per_line(width))


def hex_line(pen: Pen, width: int, data: bytes, number: int, offset: int, marked: tuple[int, int]) -> Strip:
    """Line `number` of a dump of `data`, whose first byte is at `offset` in its stream; `marked` is
    a range of data to invert."""
    line = Line(pen, width)
    most = per_line(width)
    start = number * most
    chunk = data[start : start + most]
    line.add(f"{offset + start:x}", "dim", 6, right=True).add("  ")
    step = 1 if width >= WIDE else 2
    for place in range(most):
        inside = place < len(chunk) and marked[0] <= start + place < marked[1]
        line.add(f"{chunk[place]:02x}" if place < len(chunk) else "  ", "inverted" if inside else "dim")
        if place == most - 1:
            break
        if (place + 1) % step == 0:
            joined = inside and place + 1 < len(chunk) and start + place + 1 < marked[1]
            line.add("  " if place == 7 else " ", "inverted" if joined else "dim")
    line.add("  ")
    for place, byte in enumerate(chunk):
        inside = marked[0] <= start + place < marked[1]
        line.add(chr(byte) if 0x20 <= byte < 0x7F else "·", "inverted" if inside else "dim")
    return line.strip()
