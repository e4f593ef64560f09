"""The selected row in words, so that users learn the notation: its flight and, on the right, its
marks.

A flight that fits is shown whole, with the marks that fit next to it; otherwise its beginning is
shown. The row's counterpart on the other side of a pooler comes first, on up to half of the line.
"""

from __future__ import annotations

from typing import Final

from textual.strip import Strip

from pgtrace.trace.connection import Connection
from pgtrace.tui.model import cells, rowtext
from pgtrace.tui.model.items import Item
from pgtrace.tui.widgets.base import LineWidget
from pgtrace.tui.widgets.lines import Line

_BETWEEN: Final = 2
_LONGEST: Final = 500
"""More cells than any screen has."""


class Spelled(LineWidget):
    """One line of words below the list."""

    item: Item | None = None

    def _waits(self, item: Item) -> Connection | None:
        """The connection of an item that is an open round trip; else None."""
        is_open = item.row.is_round_trip and item.end_ns is None and not item.folded and not item.row.label.end
        return self.view.connection(item.row.connection) if is_open else None

    def _across(self, item: Item, width: int) -> str:
        """The item's counterpart on the other side of a pooler, in at most half of the line."""
        view = self.view
        if item.folded or not item.row.is_round_trip or view.lanes.joins is None:
            return ""
        text = view.lanes.in_words(item.place, item.row)
        return cells.cut(view.pen.text(rowtext.plain(text, width)), width // 2, view.pen.ellipsis)

    def build(self, width: int, height: int) -> list[Strip]:
        pen, item = self.view.pen, self.item
        line = Line(pen, width).add(" ")
        if item is None:
            return [line.strip()]
        wait = self.view.wait_of(connection, item.opened_ns) if (connection := self._waits(item)) is not None else None
        if wait is not None:
            return [line.add(rowtext.plain(rowtext.waiting(wait, self.view.reading.now_ns), width - 2), "attention").strip()]
        flight = sum(cells.width(text) for text, _ in rowtext.spelled(item, pen, _LONGEST))
        across = self._across(item, width)
        room = width - 2 - flight - (cells.width(across) + _BETWEEN if across else 0)
        marks, wide = [], 0
        for text, role in rowtext.marks_in_words(item, self.view.findings_of(item)):
            if wide + cells.width(pen.text(text)) + _BETWEEN <= room:
                marks.append((text, role))
                wide += cells.width(pen.text(text)) + _BETWEEN
        beside = wide + (cells.width(across) + _BETWEEN if across else 0)
        for text, role in rowtext.spelled(item, pen, width - 2 - beside):
            line.add(text, role)
        line.to(width - beside + 1)
        if across:
            line.add(across, "strong").to(line.used + _BETWEEN)
        for text, role in marks:
            line.add(text, role).to(line.used + _BETWEEN)
        return [line.strip()]
