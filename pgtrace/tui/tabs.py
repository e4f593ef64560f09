"""The line of panes: their keys and names, and at the right what is folded or filtered."""

from __future__ import annotations

from dataclasses import dataclass

from textual import events
from textual.strip import Strip

from pgtrace.tui import rowtext
from pgtrace.tui.lines import Line
from pgtrace.tui.view import View
from pgtrace.tui.widgets import LineWidget


@dataclass(frozen=True, slots=True)
class Pane:
    """A pane: its key, the name of its widget, and its titles."""

    key: str
    name: str
    title: str
    short: str


PANES = (
    Pane("1", "timeline", "Timeline", "Time"),
    Pane("4", "drivers", "Drivers", "Drivers"),
    Pane("6", "findings", "Findings", "Find"),
)


def shown(view: View) -> tuple[str, str]:
    """What of the trace is listed: filter or fold, and its role."""
    selection = view.listing.selection
    if selection.everything:
        return (f"fold {view.listing.fold}" if len(view.listing) and view.listing.fold != "none" else ""), "dim"
    if selection.connection is not None:
        term = f"conn:{view.connection_name(selection.connection).removeprefix('c')}"
    else:
        term = f"driver:{rowtext.plain(selection.driver or '', 12)}"
    return f"/ {term}  {view.listing.shown} of {view.listing.rows}", "attention"


class Tabs(LineWidget):
    """The panes' names."""

    active = "timeline"
    narrow = False

    def build(self, width: int, height: int) -> list[Strip]:
        line = Line(self.view.pen, width).add(" ")
        self._ends: list[tuple[int, str]] = []
        for pane in PANES:
            title = pane.short if self.narrow else pane.title
            active = pane.name == self.active
            line.add(pane.key, "strong" if active else "you").add(f" {title}", "strong" if active else "dim")
            if pane.name == "findings" and self.view.snapshot.findings:
                line.add(f" {len(self.view.snapshot.findings)}", "attention")
            self._ends.append((line.used, pane.key))
            line.add("  " if self.narrow else "   ")
        text, role = shown(self.view)
        if len(text) + 1 < line.room:
            line.to(width - len(text) - 1).add(text, role)
        return [line.strip()]

    async def on_click(self, event: events.Click) -> None:
        """A click on a name goes to its pane."""
        event.stop()
        for end, key in self._ends:
            if event.x < end:
                await self.run_action(f"screen.pane('{key}')")
                return
