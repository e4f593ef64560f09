"""The areas of the screen: all its widgets, which of them are on display, and which one has the
focus.

View holds the contents, bands.py computes how many lines each band gets, and each widget draws
itself. This module decides what is on display, from the chosen pane and from what is open (the
inspector, the help, a page, a question).
"""

from __future__ import annotations

import time

from textual.app import ComposeResult
from textual.containers import Container
from textual.geometry import Size
from textual.screen import Screen
from textual.widget import Widget

from pgtrace.tui.model import rowtext
from pgtrace.tui.model.asking import Asking
from pgtrace.tui.model.bands import bands
from pgtrace.tui.model.folds import LEVELS
from pgtrace.tui.model.gathering import FIRST_BUDGET_S
from pgtrace.tui.model.keys import usable
from pgtrace.tui.model.remembered import Remembered
from pgtrace.tui.model.rowtext import TIMES
from pgtrace.tui.model.view import View
from pgtrace.tui.panes.differences import Differences
from pgtrace.tui.panes.tabs import DIFFERENCES, PANES, Tabs
from pgtrace.tui.panes.timeline import Timeline
from pgtrace.tui.widgets.base import LineWidget, ListWidget
from pgtrace.tui.widgets.empty import Empty, TooSmall
from pgtrace.tui.widgets.footer import CopyMenu, Footer
from pgtrace.tui.widgets.help import Help
from pgtrace.tui.widgets.inspector import Inspector
from pgtrace.tui.widgets.prompt import Prompt
from pgtrace.tui.widgets.sheet import Page, Sheet
from pgtrace.tui.widgets.spelled import Spelled
from pgtrace.tui.widgets.status import Status
from pgtrace.tui.widgets.table import TablePane
from pgtrace.tui.widgets.totals import Totals


class Areas:
    """The widgets of one screen, and what is open."""

    def __init__(self, view: View, screen: Screen[None]) -> None:
        self.view = view
        self.screen = screen
        self.status = Status(view, id="status")
        self.totals = Totals(view, id="totals")
        self.tabs = Tabs(view, id="tabs")
        self.timeline = Timeline(view, id="timeline")
        self.differences = Differences(view, id=DIFFERENCES)
        own = {"timeline": self.timeline, DIFFERENCES: self.differences}
        self.panes: dict[str, ListWidget] = {pane.name: own.get(pane.name) or pane.widget(view, id=pane.name) for pane in PANES}
        self.empty = Empty(view, id="empty")
        self.spelled = Spelled(view, id="spelled")
        self.inspector = Inspector(view, id="inspector")
        self.sheet = Sheet(view, id="sheet")
        self.help_screen = Help(view, id="help")
        self.footer = Footer(view, id="footer")
        self.copy_menu = CopyMenu(view, id="copy-menu")
        self.prompt = Prompt(view, id="prompt")
        self.body = Container(*self.panes.values(), self.empty, self.help_screen, id="body")
        self.pane = "timeline"
        self.touched = False
        """Whether the user has pressed a key."""
        self._compares = False
        """Whether the captures were compared at the latest drawing."""
        self.inspecting = False
        self.helping = False
        self.size: Size | None = None
        """The size of the screen, once it is known."""
        self._focused: Widget | None = None
        """The area with the focus, or which had it before the terminal's window lost it."""
        self._laid_out: tuple[object, ...] | None = None
        self._noticed_place = -1
        """The place of the row to which the footer's notice refers."""

    def compose(self) -> ComposeResult:
        """All widgets, from top to bottom."""
        yield TooSmall(self.view, id="too-small")
        with Container(id="all"):
            yield self.status
            yield self.totals
            yield self.tabs
            yield self.body
            yield self.spelled
            yield self.inspector
            yield self.sheet
            yield self.footer
            yield self.copy_menu
            yield self.prompt

    def begin(self) -> None:
        """Show the initial contents."""
        self.copy_menu.display = False
        self.view.reading.tick(time.monotonic())
        self.lay_out()
        if self.view.source.greeting:
            self.footer.show_notice(self.view.source.greeting)

    @property
    def width(self) -> int:
        """The width of the screen, in cells."""
        return (self.size or self.screen.app.size).width

    # What is open.

    def reset_layout(self) -> None:
        """Remove the footer's notice and lay everything out again, because the user wants to see
        something else.
        """
        self.footer.forget()
        self.lay_out()

    def show_pane(self, name: str) -> None:
        """Show another pane."""
        self.pane, self.helping = name, False
        self.reset_layout()

    def inspect(self) -> None:
        """Open the inspector on the row under the cursor."""
        if self.timeline.item is None:
            return
        self.timeline.unfollow()
        self.inspecting = True
        self.inspector.forget()
        self.reset_layout()
        self.screen.set_focus(self.inspector.messages)

    def close_inspector(self) -> None:
        """Close the inspector."""
        self.inspecting = False
        self.inspector.forget()

    def show_page(self, page: Page | None) -> None:
        """Show a page in the inspector's place, or close it with None."""
        self.sheet.show(page)
        self.lay_out()
        if self.sheet.display:
            self.screen.set_focus(self.sheet)

    def ask(self, asking: Asking, text: str = "") -> None:
        """Open the prompt in the footer's place."""
        self.prompt.open(asking, text)
        self.lay_out()
        self.prompt.redraw()

    def show_notice(self, notice: str) -> None:
        """Show a notice in the footer."""
        self.footer.show_notice(notice)

    def refuse(self, reason: str) -> None:
        """Show in the footer why something is refused; the reason may be text from the wire."""
        self.footer.show_notice(rowtext.plain(reason, max(1, self.width - 2)))

    def notice_row(self, notice: str) -> None:
        """Show a notice about the row to which the cursor moves; the move does not remove it."""
        self.footer.show_notice(notice)
        self._noticed_place = self.timeline.place

    def cursor_moved(self) -> None:
        """Spell and inspect the row that the cursor has moved to."""
        if self.timeline.place != self._noticed_place:
            self.footer.forget()
        self.follow_cursor()
        self.draw_footer()

    # Layout.

    def resize(self, size: Size) -> None:
        """Lay out for another size. If it is the known size, as at the start, each widget has drawn
        itself already.
        """
        known, self.size = self._laid_out, size
        if known is not None and known[:2] == tuple(size):
            self.follow_cursor()
            self.draw_footer()
        else:
            self.lay_out()

    def lay_out(self) -> None:
        """Decide what is on display and how high it is."""
        width, height = self.size or self.screen.app.size
        timeline = self.pane == "timeline" and not self.helping
        drivers, empty = self._content()
        asked = 1 + self.prompt.room(height) if self.prompt.asking is not None else 0
        reading = self.sheet.page is not None
        opened = (self.inspecting and timeline) or (reading and (timeline or (self.pane == DIFFERENCES and not self.helping)))
        state = (width, height, self.pane, opened, reading, self.helping, asked, (drivers, empty))
        if state != self._laid_out:
            self._laid_out = state
            shares = bands(width, height, drivers, timeline=timeline, inspector=opened and not empty)
            self.screen.set_class(not shares.fits, "-too-small")
            self.totals.narrow = self.tabs.narrow = shares.narrow
            self.tabs.active = self.pane
            self.totals.styles.height = shares.totals
            if shares.inspector:
                self.inspector.share_out(width, shares.inspector, alone=shares.inspector_alone)
            listed = timeline and not shares.inspector_alone
            self.body.display = not shares.inspector_alone
            for name, pane in self.panes.items():
                pane.display = name == self.pane and not self.helping and (pane is not self.timeline or (listed and not empty))
            self.empty.display = listed and empty
            self.spelled.display = listed and not empty and asked < 2
            self.inspector.display = bool(shares.inspector) and not reading
            self.sheet.display = bool(shares.inspector) and reading
            self.sheet.styles.height = max(1, shares.inspector)
            self.help_screen.display = self.helping
            self.prompt.display, self.footer.display = bool(asked), not asked
            self.prompt.styles.height = max(1, asked)
            self._focus_something()
            pane = self.panes[self.pane]
            if isinstance(pane, TablePane):
                pane.advance(time.monotonic(), FIRST_BUDGET_S)
        self.draw()

    def draw(self) -> None:
        """Let every visible widget show the present state."""
        if self.view.compares != self._compares:
            self._compares = self.view.compares
            self._show_compared()
        if self._laid_out is not None and self._content() != self._laid_out[-1]:
            self.lay_out()
            return
        self.timeline.refresh_list()
        self.follow_cursor()
        self.tabs.differences = self.differences.differences
        for widget in (self.status, self.totals, self.tabs, self.empty, self.help_screen, self.sheet, self.prompt):
            widget.redraw()
        for pane in self.panes.values():
            if pane is not self.timeline:
                pane.redraw()
        self.draw_footer()

    def advance(self, now_s: float) -> None:
        """Give the pane on display time to gather its table."""
        pane = self.panes[self.pane]
        if isinstance(pane, TablePane) and pane.display and pane.advance(now_s):
            pane.redraw()
        if self.view.compares:
            self.differences.advance(now_s)

    def gather_again(self) -> None:
        """Gather the tables again, because another filter or moment is in force."""
        for pane in self.panes.values():
            if isinstance(pane, TablePane):
                pane.gather_again()

    def restore(self, remembered: Remembered) -> None:
        """Restore the settings with which the screen was left, before anything is shown."""
        view = self.view
        if not view.source.listener:
            self.pane = remembered.get("pane", [name for name in self.panes if name != DIFFERENCES], self.pane)
        self.totals.driver_rows = remembered.get("driver rows", ("yes", "no"), "yes") == "yes"
        view.times = remembered.get("time column", TIMES, view.times)
        view.listing.fold_to(remembered.get("fold", LEVELS, view.listing.fold))

    def remember(self, remembered: Remembered) -> None:
        """Store the settings of the screen."""
        for name, value in (
            ("pane", self.pane),
            ("driver rows", "yes" if self.totals.driver_rows else "no"),
            ("time column", self.view.times),
            ("fold", self.view.listing.fold),
        ):
            remembered.put(name, value)

    def focus_moved(self) -> None:
        """Update the footer's keys for the focused area, and the cursors that show the focus."""
        self._focused = self.screen.focused
        for widget in (self.inspector.messages, self.inspector.fields):
            widget.redraw()
        self.draw_footer()

    def follow_cursor(self) -> None:
        """Spell and inspect the row under the cursor."""
        item = self.timeline.item
        self.spelled.item = item
        self.spelled.redraw()
        if self.inspector.display and self.inspecting:
            self.inspector.show(item)

    def draw_footer(self) -> None:
        """Show the keys of the focused area that have a use now, and the position in its list."""
        keys = self._focused.hints() if isinstance(self._focused, LineWidget) else ()
        if keys and self.pane != "timeline" and self._focused is self.panes[self.pane]:
            keys = (*keys[:1], *([("esc", "back")] if self.view.is_filtered else []), ("/", "filter"), *keys[1:])
        self.footer.keys = usable(keys, self.screen.active_bindings)
        pane = self.panes[self.pane]
        self.footer.position = pane.position if not self.helping and isinstance(pane, (Timeline, TablePane, Differences)) else ("", "dim")
        self.footer.redraw()

    def _show_compared(self) -> None:
        """Show the differences of two captures first, unless the user has pressed a key; if there
        are none, go back to the timeline.
        """
        if self._compares and not self.touched:
            self.show_pane(DIFFERENCES)
        elif not self._compares and self.pane == DIFFERENCES:
            self.show_pane("timeline")

    def _content(self) -> tuple[int, bool]:
        """The parts of the contents that decide the layout: the number of driver lines, and whether
        there is nothing to show.
        """
        view = self.view
        empty = not len(view.listing) and not view.listing.behind and view.listing.filtering.everything
        return (len(view.snapshot.drivers) if self.totals.driver_rows else 0), empty

    def _focus_something(self) -> None:
        """Keep the focus on an area that is on display."""
        if self.screen.focused is not None and all(
            node.display for node in self.screen.focused.ancestors_with_self if isinstance(node, Widget)
        ):
            return
        if self.helping:
            self.screen.set_focus(self.help_screen)
        elif self.pane != "timeline":
            self.screen.set_focus(self.panes[self.pane])
        elif self.sheet.display:
            self.screen.set_focus(self.sheet)
        elif self.inspecting and self.inspector.display:
            self.screen.set_focus(self.inspector.messages)
        elif self.empty.display:
            self.screen.set_focus(self.empty)
        else:
            self.screen.set_focus(self.timeline)
