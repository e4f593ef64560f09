"""Bytes as hex and text, with a range of them inverted in both halves.

Sixteen bytes a line: in pairs where fewer than WIDE cells are there, byte by byte above. The offset is that in the direction's stream. Bytes that
are not printable ASCII are a dot.
"""

from __future__ import annotations

from typing import Final

from textual.strip import Strip

from pgtrace.tui.lines import Line
from pgtrace.tui.theme import Pen

WIDE: Final = 76
PER_LINE: Final = 16


def line_count(size: int) -> int:
    """How many lines that many bytes take."""
    return -(-size // PER_LINE)


def hex_line(pen: Pen, width: int, data: bytes, number: int, offset: int, marked: tuple[int, int]) -> Strip:
    """Line `number` of a dump of `data`, whose first byte is at `offset` in its stream; `marked` is a range of data to invert."""
    line = Line(pen, width)
    start = number * PER_LINE
    chunk = data[start : start + PER_LINE]
    line.add(f"{offset + start:x}", "dim", 6, right=True).add("  ")
    step = 1 if width >= WIDE else 2
    for place in range(PER_LINE):
        inside = place < len(chunk) and marked[0] <= start + place < marked[1]
        line.add(f"{chunk[place]:02x}" if place < len(chunk) else "  ", "inverted" if inside else "dim")
        if place == PER_LINE - 1:
            break
        if (place + 1) % step == 0:
            joined = inside and place + 1 < len(chunk) and start + place + 1 < marked[1]
            line.add("  " if place == 7 else " ", "inverted" if joined else "dim")
    line.add("  ")
    for place, byte in enumerate(chunk):
        inside = marked[0] <= start + place < marked[1]
        line.add(chr(byte) if 0x20 <= byte < 0x7F else "·", "inverted" if inside else "dim")
    return line.strip()
