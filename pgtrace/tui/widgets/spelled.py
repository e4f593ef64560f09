"""The selected row in words: its flight and, on the right, its marks, so that the notation teaches
itself.

A flight that fits is shown whole, and the marks that have room beside it; of a longer one, its
beginning.
"""

from __future__ import annotations

from typing import Final

from textual.strip import Strip

from pgtrace.tui.model import cells, rowtext
from pgtrace.tui.model.items import Item
from pgtrace.tui.widgets.base import LineWidget
from pgtrace.tui.widgets.lines import Line

_BETWEEN: Final = 2
_LONGEST: Final = 500
"""Cells that any screen has less of."""


class Spelled(LineWidget):
    """One line of words below the list."""

    item: Item | None = None

    def build(self, width: int, height: int) -> list[Strip]:
        pen, item = self.view.pen, self.item
        line = Line(pen, width).add(" ")
        if item is None:
            return [line.strip()]
        flight = sum(cells.width(text) for text, _ in rowtext.spelled(item, pen, _LONGEST))
        room = width - 2 - flight
        marks, wide = [], 0
        for text, role in rowtext.marks_in_words(item, self.view.findings_of(item)):
            if wide + cells.width(pen.text(text)) + _BETWEEN <= room:
                marks.append((text, role))
                wide += cells.width(pen.text(text)) + _BETWEEN
        for text, role in rowtext.spelled(item, pen, width - 2 - wide):
            line.add(text, role)
        line.to(width - wide + 1)
        for text, role in marks:
            line.add(text, role).to(line.used + _BETWEEN)
        return [line.strip()]
