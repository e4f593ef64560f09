"""The line of panes: their keys and names, and on the right what is folded or filtered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from textual import events
from textual.strip import Strip

from pgtrace.tui.model import cells, rowtext
from pgtrace.tui.model.view import View
from pgtrace.tui.panes.connections import Connections
from pgtrace.tui.panes.differences import Differences
from pgtrace.tui.panes.drivers import Drivers
from pgtrace.tui.panes.findings import Findings
from pgtrace.tui.panes.statements import Statements
from pgtrace.tui.panes.timeline import Timeline
from pgtrace.tui.panes.transactions import Transactions
from pgtrace.tui.widgets.base import LineWidget, ListWidget
from pgtrace.tui.widgets.lines import Line


@dataclass(frozen=True, slots=True)
class Pane:
    """A pane: its key, the name of its widget, and its titles."""

    key: str
    name: str
    title: str
    short: str
    widget: type[ListWidget]


DIFFERENCES: Final = "differences"
"""The pane of two captures that are compared."""
_SEVEN_TITLES: Final = 150
"""From this width on, seven whole titles leave room for a filter."""
PANES = (
    Pane("1", "timeline", "Timeline", "Time", Timeline),
    Pane("2", "statements", "Statements", "Stmts", Statements),
    Pane("3", "connections", "Connections", "Conns", Connections),
    Pane("4", "drivers", "Drivers", "Drivers", Drivers),
    Pane("5", "transactions", "Transactions", "Txs", Transactions),
    Pane("6", "findings", "Findings", "Find", Findings),
    Pane("7", DIFFERENCES, "Differences", "Diff", Differences),
)


def shown(view: View, room: int) -> tuple[str, str]:
    """The filter or the fold, in that many cells, and the role. The number of remaining rows is
    never cut off.
    """
    listing = view.listing
    if listing.filtering.everything:
        return (f"fold {listing.fold}" if len(listing) and listing.fold != "none" else ""), "dim"
    left = f"  {listing.matching} of {listing.rows}"
    text = rowtext.plain(listing.filtering.text, max(0, room - len(left) - 2))
    return cells.cut(view.pen.text(f"/ {text}"), room - len(left), view.pen.ellipsis) + left, "attention"


class Tabs(LineWidget):
    """The panes' names."""

    active = "timeline"
    narrow = False
    differences = 0
    """The number of differences between two captures."""

    def build(self, width: int, height: int) -> list[Strip]:
        line = Line(self.view.pen, width).add(" ")
        self._ends: list[tuple[int, str]] = []
        is_short = self.narrow or (self.view.compares and width < _SEVEN_TITLES)
        for pane in PANES:
            if pane.name == DIFFERENCES and not self.view.compares:
                continue
            title = pane.short if is_short else pane.title
            active = pane.name == self.active
            line.add(pane.key, "strong" if active else "you").add(f" {title}", "strong" if active else "dim")
            if pane.name == "findings" and self.view.findings:
                line.add(f" ({len(self.view.findings)})", "attention")
            elif pane.name == DIFFERENCES and self.differences:
                line.add(f" ({self.differences})", "attention")
            self._ends.append((line.used, pane.key))
            line.add("  " if is_short else "   ")
        text, role = shown(self.view, line.room - 2)
        self._filter = width - cells.width(text) - 1 if text.startswith("/") else width
        if cells.width(text) + 1 < line.room:
            line.to(width - cells.width(text) - 1).add(text, role)
        return [line.strip()]

    async def on_click(self, event: events.Click) -> None:
        """Go to the clicked pane; edit the filter at a click on it."""
        event.stop()
        if event.x >= self._filter:
            await self.run_action("screen.filter")
            return
        for end, key in self._ends:
            if event.x < end:
                await self.run_action(f"screen.pane('{key}')")
                return
