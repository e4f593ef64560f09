"""The lines below a table that spell out the selected item."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Final

from textual.strip import Strip

from pgtrace import sanitise
from pgtrace.tui.model import cells
from pgtrace.tui.model.theme import Pen
from pgtrace.tui.widgets.lines import Line

LABEL_CELLS: Final = 12
_LONGEST: Final = 8_000


def labelled(pen: Pen, width: int, label: str, *runs: tuple[str, str]) -> Strip:
    """One line of details: a label, then pieces of text."""
    line = Line(pen, width).add(f" {label}", "dim", LABEL_CELLS)
    for text, role in runs:
        line.add(text, role)
    return line.strip()


def wrapped(pen: Pen, width: int, text: str, role: str = "text", most: int = 100) -> Iterator[Strip]:
    """Text from the wire in full, its white space folded, on as many lines as it takes."""
    whole = sanitise.text(" ".join(text[:_LONGEST].split()))
    # no character takes more than two cells
    room = width - 2 if cells.width(whole) == len(whole) else (width - 2) // 2
    parts = textwrap.wrap(whole, max(20, room), max_lines=most, placeholder=f" {pen.ellipsis}") or [""]
    yield from (Line(pen, width).add(f" {part}", role).strip() for part in parts)
