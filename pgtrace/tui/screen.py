"""The one screen: its widgets, how it shares its lines out among them, and what keys and clicks do to it.

What is shown is View's, how many lines each band gets is bands', what a widget draws is its own. Here is decided which widgets are on display, which of
them has the focus, and which keys have a use at the moment: a key without one does nothing and says so.
"""

from __future__ import annotations

import time
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.geometry import Size
from textual.screen import Screen
from textual.widget import Widget

from pgtrace.tui import copying
from pgtrace.tui.bands import TABLE_WIDTH, bands
from pgtrace.tui.empty import Empty, TooSmall, instructions
from pgtrace.tui.footer import CopyMenu, Footer
from pgtrace.tui.help import Help
from pgtrace.tui.inspector import Inspector
from pgtrace.tui.listing import Selection
from pgtrace.tui.panes.drivers import Drivers
from pgtrace.tui.spelled import Spelled
from pgtrace.tui.status import Status
from pgtrace.tui.tabs import PANES, Tabs
from pgtrace.tui.timeline import Timeline
from pgtrace.tui.totals import Totals
from pgtrace.tui.view import View
from pgtrace.tui.widgets import RIGHT_BUTTON, LineWidget

_TIMELINE_ONLY = frozenset({"problem", "only_connection", "only_driver", "fold_level"})


class MainScreen(Screen[None]):
    """Everything pgtrace shows."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(pane.key, f"pane('{pane.key}')", show=False) for pane in PANES),
        Binding("question_mark", "help", show=False),
        Binding("escape", "back", show=False),
        Binding("n", "problem(1)", show=False),
        Binding("N", "problem(-1)", show=False),
        Binding("c", "only_connection", show=False),
        Binding("C", "only_driver", show=False),
        Binding("X", "fold_level", show=False),
        Binding("d", "driver_rows", show=False),
        Binding("u", "raw", show=False),
        Binding("y", "copy", show=False),
        Binding("space", "pause", show=False),
    ]

    def __init__(self, view: View) -> None:
        super().__init__()
        self.view = view
        self.status = Status(view, id="status")
        self.totals = Totals(view, id="totals")
        self.tabs = Tabs(view, id="tabs")
        self.timeline = Timeline(view, id="timeline")
        self.empty = Empty(view, id="empty")
        self.spelled = Spelled(view, id="spelled")
        self.inspector = Inspector(view, id="inspector")
        self.drivers = Drivers(view, id="drivers")
        self.help_screen = Help(view, id="help")
        self.footer = Footer(view, id="footer")
        self.copy_menu = CopyMenu(view, id="copy-menu")
        self.copied = copying.CopyFile()
        self.pane = "timeline"
        self.inspecting = False
        self.helping = False
        self._area: Widget | None = None
        """The area that had the focus last, also while the terminal's window has lost it."""
        self._came_from = ""
        self._room: Size | None = None
        self._laid_out: tuple[object, ...] | None = None

    def compose(self) -> ComposeResult:
        yield TooSmall(self.view, id="too-small")
        with Container(id="all"):
            yield self.status
            yield self.totals
            yield self.tabs
            with Container(id="body"):
                yield self.timeline
                yield self.empty
                yield self.drivers
                yield self.help_screen
            yield self.spelled
            yield self.inspector
            yield self.footer
            yield self.copy_menu

    def on_mount(self) -> None:
        """Begin with what is there."""
        self.copy_menu.display = False
        self.view.tick(time.monotonic())
        self.lay_out()

    def on_unmount(self) -> None:
        self.copied.close()

    def on_resize(self, event: events.Resize) -> None:
        """Share the lines out anew."""
        self._room = event.size
        self.lay_out()

    def lay_out(self) -> None:
        """Decide what is on display and how high it is."""
        width, height = self._room or self.app.size
        timeline = self.pane == "timeline" and not self.helping
        drivers, empty = self._content()
        state = (width, height, timeline, self.inspecting, self.helping, (drivers, empty))
        if state != self._laid_out:
            self._laid_out = state
            shares = bands(width, height, drivers, timeline=timeline, inspector=self.inspecting and not empty)
            self.set_class(not shares.fits, "-too-small")
            self.totals.narrow = self.tabs.narrow = shares.narrow
            self.tabs.active = self.pane
            self.totals.styles.height = shares.totals
            if shares.inspector:
                self.inspector.share_out(width, shares.inspector, alone=shares.inspector_alone)
            listed = timeline and not shares.inspector_alone
            self.query_one("#body").display = not shares.inspector_alone
            self.timeline.display = listed and not empty
            self.empty.display = listed and empty
            self.spelled.display = listed and not empty
            self.inspector.display = bool(shares.inspector)
            self.drivers.display = self.pane == "drivers" and not self.helping
            self.help_screen.display = self.helping
            self._focus_something()
        self.draw()

    def draw(self) -> None:
        """Have every visible widget show the present."""
        if self._laid_out is not None and self._content() != self._laid_out[-1]:
            self.lay_out()
            return
        self.timeline.refresh_list()
        self._follow_cursor()
        for widget in (self.status, self.totals, self.tabs, self.empty, self.drivers, self.help_screen):
            widget.redraw()
        self._draw_footer()

    def paint(self) -> None:
        """Everything anew: the terminal may have lost it."""
        for widget in self.query(LineWidget):
            widget.refresh()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether an action has a use at the moment."""
        timeline = self.pane == "timeline" and not self.helping
        listed = timeline and self.timeline.item is not None
        if action in _TIMELINE_ONLY:
            return listed
        match action:
            case "copy":
                return listed or (timeline and bool(instructions(self.view.source)))
            case "raw":
                return listed and self.inspecting
            case "driver_rows":
                return timeline and self.size.width >= TABLE_WIDTH and not self.view.single_driver
            case "pause":
                return self.view.growing or self.view.paused
        return True

    def before_bindings(self, event: events.Key) -> None:
        """Every key, before it does something: an open menu takes it, and one without use here says so."""
        if self.copy_menu.display:
            event.prevent_default()
            self._close_menu(self.copy_menu.offered(event.character))
        elif event.is_printable and event.key not in self.active_bindings:
            self.footer.say(f"{event.character} has no use here; ? tells the keys")

    async def on_click(self, event: events.Click) -> None:
        """The right button is one step back."""
        if event.button == RIGHT_BUTTON:
            await self.action_back()

    def on_descendant_focus(self) -> None:
        """The footer's keys are those of the focused area, and cursors show where the focus is."""
        self._area = self.focused
        for widget in (self.inspector.messages, self.inspector.fields):
            widget.redraw()
        self._draw_footer()

    def on_timeline_moved(self) -> None:
        """Another row: spell it, inspect it."""
        self.footer.forget()
        self._follow_cursor()
        self._draw_footer()

    def on_timeline_opened(self) -> None:
        """Open the inspector on the row under the cursor."""
        if self.timeline.item is None:
            return
        self.timeline.unfollow()
        self.inspecting = True
        self.inspector.forget()
        self._turn()
        self.set_focus(self.inspector.messages)

    def on_drivers_chosen(self, event: Drivers.Chosen) -> None:
        """Go to the timeline, filtered to that driver."""
        self._came_from = "drivers"
        self.pane = "timeline"
        self._select(Selection(driver=event.driver))

    def on_copy_menu_chosen(self, event: CopyMenu.Chosen) -> None:
        self._close_menu(event.offer)

    def action_pane(self, key: str) -> None:
        """Show another pane."""
        self.pane = next(pane.name for pane in PANES if pane.key == key)
        self.helping = False
        self._turn()

    def action_help(self) -> None:
        self.helping = not self.helping
        self._turn()

    async def action_back(self) -> None:
        """One step back; never out of the program."""
        if self.helping:
            self.helping = False
        elif self.focused is self.inspector.fields:
            self.set_focus(self.inspector.messages)
        elif self.inspecting and self.pane == "timeline":
            self.inspecting = False
            self.inspector.forget()
        elif not self.view.listing.selection.everything:
            self.pane, self._came_from = self._came_from or self.pane, ""
            self._select(Selection())
            return
        self._turn()

    def action_problem(self, direction: int) -> None:
        """Go to the next or previous error or gap."""
        if not self.timeline.go_to_problem(direction):
            so_far = "" if self.view.loaded else " so far"
            self.footer.say(f"no further problem{so_far}" if direction > 0 else "no problem before this")

    def action_only_connection(self) -> None:
        """Only this connection; again: all."""
        self._select(self.timeline.only_connection())

    def action_only_driver(self) -> None:
        """Only this driver; again: all."""
        self._select(self.timeline.only_driver())

    def action_fold_level(self) -> None:
        """The next fold level."""
        self.view.listing.next_level()
        self.view.sync()
        self._turn()

    def action_driver_rows(self) -> None:
        """Show or hide the drivers' lines of the totals."""
        self.totals.driver_rows = not self.totals.driver_rows
        self._turn()

    def action_raw(self) -> None:
        """Values by their types, or as the bytes that passed."""
        self.view.raw = not self.view.raw
        self.inspector.fields.redraw()
        self.footer.say("values as bytes" if self.view.raw else "values by their types")

    def action_copy(self) -> None:
        """Ask what to copy; on the empty screen there is one thing only."""
        item, fields = self.timeline.item, self.inspector.fields
        if item is None:
            self._copy("how to connect", "\n".join(instructions(self.view.source)))
            return
        offers = copying.of_row(self.view.trace, item)
        if self.inspecting:
            offers += copying.of_message(fields, field_chosen=fields.has_focus)
        self.copy_menu.offers = tuple(offers)
        self.copy_menu.display = True
        self.footer.display = False
        self.copy_menu.redraw()

    def action_pause(self) -> None:
        """Freeze the screen, or let it go on."""
        self.view.pause()
        self._turn()

    def _turn(self) -> None:
        """The user wants to see something else: what was said last is history."""
        self.footer.forget()
        self.lay_out()

    def _close_menu(self, offer: copying.Offer | None) -> None:
        """Copy what was chosen."""
        self.copy_menu.display = False
        self.footer.display = True
        if offer is not None:
            self._copy(offer.name, offer.text())

    def _copy(self, name: str, text: str) -> None:
        self.app.copy_to_clipboard(text)
        try:
            self.footer.say(f"{name} copied, also in {self.copied.write(text)}")
        except OSError as error:
            self.footer.say(f"{name} copied; it could not be written to a file: {error.strerror}")

    def _select(self, selection: Selection) -> None:
        self.view.listing.select(selection)
        self.view.sync()
        self._turn()

    def _follow_cursor(self) -> None:
        item = self.timeline.item
        self.spelled.item = item
        self.spelled.redraw()
        if self.inspector.display and self.inspecting:
            self.inspector.show(item)

    def _draw_footer(self) -> None:
        listed = self.pane == "timeline" and not self.helping
        self.footer.keys = self._area.hints() if isinstance(self._area, LineWidget) else ()
        self.footer.position = self.timeline.position if listed else ("", "dim")
        self.footer.redraw()

    def _content(self) -> tuple[int, bool]:
        """What of the content decides the layout: driver lines, and whether there is nothing at all."""
        view = self.view
        empty = not len(view.listing) and not view.listing.behind and view.listing.selection.everything
        return (len(view.snapshot.drivers) if self.totals.driver_rows else 0), empty

    def _focus_something(self) -> None:
        """Keep the focus on an area that is on display."""
        if self.focused is not None and all(node.display for node in self.focused.ancestors_with_self if isinstance(node, Widget)):
            return
        if self.helping:
            self.set_focus(self.help_screen)
        elif self.pane == "drivers":
            self.set_focus(self.drivers)
        elif self.inspecting and self.inspector.display:
            self.set_focus(self.inspector.messages)
        elif self.empty.display:
            self.set_focus(self.empty)
        else:
            self.set_focus(self.timeline)
