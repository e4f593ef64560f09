"""The selected row in words: the flight spelled out, so that the notation teaches itself."""

from __future__ import annotations

from textual.strip import Strip

from pgtrace.tui.model import rowtext
from pgtrace.tui.model.items import Item
from pgtrace.tui.widgets.base import LineWidget
from pgtrace.tui.widgets.lines import Line


class Spelled(LineWidget):
    """One line of words below the list."""

    item: Item | None = None

    def build(self, width: int, height: int) -> list[Strip]:
        line = Line(self.view.pen, width).add(" ")
        if self.item is None:
            return [line.strip()]
        for text, role in rowtext.spelled(self.item, self.view.pen, width - 2):
            line.add(text, role)
        return [line.strip()]
