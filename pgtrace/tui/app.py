"""The application: it composes the widgets, shares out the screen, and turns keys into what the widgets do.

Ten times a second tick() reads the trace on, in this process, and has the visible widgets redrawn from it. The recorder is a process of its own:
whatever the screen costs, the traffic does not wait for it. What is shown is View's, how the lines are shared out is bands', what a widget draws
is its own.
"""

from __future__ import annotations

import locale
import os
import sys
import time
from typing import Any, ClassVar

from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.geometry import Size
from textual.theme import Theme
from textual.widget import Widget

from pgtrace.analysis.trace import Trace
from pgtrace.tui.bands import bands
from pgtrace.tui.empty import Empty, TooSmall
from pgtrace.tui.footer import Footer
from pgtrace.tui.help import Help
from pgtrace.tui.inspector import Inspector
from pgtrace.tui.listing import Selection
from pgtrace.tui.panes.drivers import Drivers
from pgtrace.tui.source import Source
from pgtrace.tui.spelled import Spelled
from pgtrace.tui.status import Status
from pgtrace.tui.tabs import PANES, Tabs
from pgtrace.tui.theme import ANSI, LIGHT, MONO, Pen, choose_palette
from pgtrace.tui.timeline import Timeline
from pgtrace.tui.totals import Totals
from pgtrace.tui.view import TICK_S, View

_NOT_SAVED = "this recording is not saved: press again to quit"


class PgTraceApp(App[None]):
    """pgtrace on a terminal."""

    CSS_PATH = "app.tcss"
    TITLE = "pgtrace"
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
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
        Binding("space", "pause", show=False),
        Binding("q,ctrl+q", "leave", show=False),
        Binding("ctrl+c", "leave", show=False, priority=True),
    ]

    def __init__(self, view: View) -> None:
        palette = view.pen.palette
        plain = palette in (ANSI, MONO)
        super().__init__(ansi_color=plain)
        if not plain:
            background = palette.grounds["background"].removeprefix("on ")
            self.register_theme(Theme("pgtrace", primary=background, background=background, dark=palette is not LIGHT))
        self.theme = "ansi-dark" if plain else "pgtrace"
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
        self.pane = "timeline"
        self.inspecting = False
        self.helping = False
        self._came_from = ""
        self._size_now: Size | None = None
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

    def on_mount(self) -> None:
        """Read what is there, then go on reading."""
        self.view.tick(time.monotonic())
        self.lay_out()
        self.set_interval(TICK_S, self.tick)

    def on_resize(self, event: events.Resize) -> None:
        """Share the lines out anew."""
        self._size_now = event.size
        self.lay_out()

    def tick(self) -> None:
        """Read on and redraw what changed."""
        now = time.monotonic()
        self.footer.forget()
        started = time.perf_counter()
        if self.view.tick(now):
            self.draw()
            self.call_after_refresh(lambda: self.view.redrawn(time.monotonic(), time.perf_counter() - started))

    def lay_out(self) -> None:
        """Decide what is displayed and how high it is."""
        width, height = self._size_now or self.size
        timeline = self.pane == "timeline" and not self.helping
        drivers, empty = self._content()
        state = (width, height, timeline, self.inspecting, self.helping, (drivers, empty))
        if state != self._laid_out:
            self._laid_out = state
            shares = bands(width, height, drivers, timeline=timeline, inspector=self.inspecting and not empty)
            self.screen.set_class(not shares.fits, "-too-small")
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
            self.call_after_refresh(self._focus_something)
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

    def on_key(self, event: events.Key) -> None:
        """A key without use here says so."""
        if event.is_printable and event.key not in self.active_bindings:
            self.footer.say(f"{event.character} has no use here; ? tells the keys")

    def on_descendant_focus(self) -> None:
        """The footer's keys are those of the focused area, and cursors show where the focus is."""
        for widget in (self.inspector.messages, self.inspector.fields):
            widget.redraw()
        self._draw_footer()

    def on_timeline_moved(self) -> None:
        """Another row: spell it, inspect it."""
        self._follow_cursor()
        self._draw_footer()

    def on_timeline_opened(self) -> None:
        """Open the inspector on the row under the cursor."""
        if self.timeline.item is None:
            return
        self.timeline.unfollow()
        self.inspecting = True
        self.inspector.forget()
        self.lay_out()
        self.inspector.messages.focus()

    def on_drivers_chosen(self, event: Drivers.Chosen) -> None:
        """Go to the timeline, filtered to that driver."""
        self._came_from = "drivers"
        self.pane = "timeline"
        self._select(Selection(driver=event.driver))

    def action_pane(self, key: str) -> None:
        """Show another pane."""
        self.pane = next(pane.name for pane in PANES if pane.key == key)
        self.helping = False
        self.lay_out()

    def action_help(self) -> None:
        self.helping = not self.helping
        self.lay_out()

    async def action_back(self) -> None:
        """One step back; never out of the program."""
        if self.helping:
            self.helping = False
        elif self.focused is self.inspector.fields:
            self.inspector.messages.focus()
        elif self.inspecting and self.pane == "timeline":
            self.inspecting = False
            self.inspector.forget()
        elif not self.view.listing.selection.everything:
            self.pane, self._came_from = self._came_from or self.pane, ""
            self._select(Selection())
            return
        self.lay_out()

    def action_problem(self, direction: int) -> None:
        """Go to the next or previous error or gap."""
        if self.pane != "timeline" or self.helping:
            self.footer.say("n N go through the timeline's problems")
        elif not self.timeline.go_to_problem(direction):
            self.footer.say("no further problem" if direction > 0 else "no problem before this")

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
        self.lay_out()

    def action_driver_rows(self) -> None:
        """Show or hide the drivers' lines of the totals."""
        self.totals.driver_rows = not self.totals.driver_rows
        self.lay_out()

    def action_pause(self) -> None:
        """Freeze the screen, or let it go on."""
        self.view.pause()
        self.draw()

    def action_leave(self) -> None:
        """Quit; ask first where that throws a recording away."""
        if self.view.source.unsaved and len(self.view.trace.rows) and self.footer.notice != _NOT_SAVED:
            self.footer.say(_NOT_SAVED)
        else:
            self.exit()

    def _select(self, selection: Selection) -> None:
        self.view.listing.select(selection)
        self.view.sync()
        self.lay_out()

    def _follow_cursor(self) -> None:
        item = self.timeline.item
        self.spelled.item = item
        self.spelled.redraw()
        if self.inspector.display and self.inspecting:
            self.inspector.show(item)

    def _draw_footer(self) -> None:
        listed = self.pane == "timeline" and not self.helping
        self.footer.hints = getattr(self.focused, "HINTS", ())
        self.footer.position = self.timeline.position if listed else ("", "dim")
        self.footer.redraw()

    def _content(self) -> tuple[int, bool]:
        """What of the content decides the layout: driver lines, and whether there is nothing at all."""
        view = self.view
        empty = not len(view.listing) and not view.listing.behind and view.listing.selection.everything
        return (len(view.snapshot.drivers) if self.totals.driver_rows else 0), empty

    def _focus_something(self) -> None:
        """Keep the focus on an area that is displayed."""
        if self.focused is not None and all(node.display for node in self.focused.ancestors_with_self if isinstance(node, Widget)):
            return
        if self.helping:
            self.help_screen.focus()
        elif self.pane == "drivers":
            self.drivers.focus()
        elif self.inspecting and self.inspector.display:
            self.inspector.messages.focus()
        else:
            self.timeline.focus()


def run_app(trace: Trace, *, source: Source, recorder: Any = None, ascii_only: bool | None = None, theme: str = "") -> None:
    """Show a trace until the user quits. `recorder`, where given, is asked whether it is alive; it stays the caller's to stop.

    `ascii_only` None means: as the locale says. Raises SystemExit where the screen could not be shown.
    """
    if ascii_only is None:
        ascii_only = "utf" not in (getattr(sys.__stderr__, "encoding", None) or locale.getpreferredencoding()).lower()
    pen = Pen(choose_palette(theme, os.environ), ascii_only=ascii_only)
    app = PgTraceApp(View(trace, source, pen, recorder))
    app.run()
    if app.return_code:
        sys.exit(app.return_code)
