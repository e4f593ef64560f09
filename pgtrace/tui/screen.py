"""The one screen: what its keys and clicks do, and what its widgets' messages lead to.

A key has a use or it has not: check_action() says so for the moment. One without does nothing and is told in the footer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.timer import Timer

from pgtrace.errors import PgTraceError
from pgtrace.inspect.details import NOT_KEPT, NotKept
from pgtrace.tui.actions.acting import Acting
from pgtrace.tui.actions.commands import CommandLine
from pgtrace.tui.actions.trail import Trail
from pgtrace.tui.model import copying, figures
from pgtrace.tui.model.bands import TABLE_WIDTH
from pgtrace.tui.model.definitions import DEFINITIONS
from pgtrace.tui.model.filtering import is_only, of_connection, of_driver
from pgtrace.tui.model.filterline import RESTS_S, FilterLine
from pgtrace.tui.model.moving import AskedMoment, slow_ns
from pgtrace.tui.model.remembered import Remembered
from pgtrace.tui.model.savedfilters import SavedFilters
from pgtrace.tui.model.view import View
from pgtrace.tui.panes.findings import Findings
from pgtrace.tui.panes.tabs import PANES
from pgtrace.tui.widgets.base import RIGHT_BUTTON, Chosen
from pgtrace.tui.widgets.bound import bindings
from pgtrace.tui.widgets.empty import instructions
from pgtrace.tui.widgets.footer import CopyMenu
from pgtrace.tui.widgets.table import TablePane

_TIMELINE_ONLY = frozenset({"problem", "slow", "time", "only_connection", "only_driver", "fold_level", "page", "compare", "explain"})
_STEPS_KEPT = 100


class MainScreen(Acting):
    """Everything pgtrace shows."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("screen")

    def __init__(self, view: View) -> None:
        super().__init__(view)
        self.copied = copying.CopyFile()
        self.trail = Trail(self, self._choose)
        self._steps: list[tuple[str, str]] = []
        """Pane and filter before each filter that is in force: what esc goes back to."""
        self.filters = SavedFilters(Remembered())
        self._rests: Timer | None = None
        self._commands: list[str] = []
        self._arrived = -1
        """The place where the trail led, of which the footer tells why."""

    def on_unmount(self) -> None:
        self.copied.close()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether an action has a use at the moment."""
        timeline = self.pane == "timeline" and not self.helping
        listed = timeline and self.timeline.item is not None
        if action in ("only_connection", "only_driver") and timeline and not self.view.listing.filtering.everything:
            return True
        if action in _TIMELINE_ONLY:
            return listed
        match action:
            case "filter":
                return not self.empty.display
            case "dim":
                return timeline and not self.view.listing.filtering.everything
            case "copy":
                return bool(self._offers())
            case "same":
                item = self.timeline.item
                return listed and item is not None and any(row.label.groups for row in item.rows)
            case "related":
                return listed or (self.pane == "findings" and not self.helping and self.panes["findings"].count() > 0)
            case "related_back":
                return bool(self.trail) and not self.helping
            case "raw":
                return listed and self.inspecting
            case "driver_rows":
                return timeline and self.size.width >= TABLE_WIDTH and not self.view.single_driver
            case "pause":
                return self.view.growing or self.view.paused
        return True

    async def before_bindings(self, event: events.Key) -> None:
        """Every key, before it does something: a question or an open menu takes it, and one without use here says so."""
        if self.prompt.asking is not None:
            event.prevent_default()
            self.footer.forget()
            await self.prompt.key(event)
            if self.prompt.asking is None:
                self.lay_out()
        elif self.copy_menu.display:
            event.prevent_default()
            self._close_menu(self.copy_menu.offered(event.character))
        elif event.is_printable and event.key not in self.active_bindings:
            self.footer.say(f"{event.character} has no use here; ? tells the keys")

    def pasted(self, text: str) -> None:
        """Text from the terminal's clipboard: for a question, if there is one."""
        if self.prompt.asking is not None:
            self.prompt.paste(text)

    async def on_click(self, event: events.Click) -> None:
        """The right button is one step back."""
        if event.button == RIGHT_BUTTON:
            await self.action_back()

    def draw(self) -> None:
        super().draw()
        given_up, self.view.given_up = self.view.given_up, None
        if given_up is not None:
            self._steps.clear()
            self.footer.say(f"the filter is off: {given_up.reason}")

    def on_timeline_moved(self) -> None:
        """Another row: spell it, inspect it."""
        if self.timeline.place != self._arrived:
            self.footer.forget()
        self.follow_cursor()
        self.draw_footer()

    def on_timeline_opened(self) -> None:
        """Open the inspector on the row under the cursor."""
        if self.timeline.item is None:
            return
        self.timeline.unfollow()
        self.inspecting = True
        self.inspector.forget()
        self._turn()
        self.set_focus(self.inspector.messages)

    def on_chosen(self, event: Chosen) -> None:
        """Go to the timeline, which shows these rows only."""
        self.trail.began(self.pane, event.places)
        self._narrow(event.filter)
        if event.places:
            self.timeline.go_to_place(event.places[0])
        elif self.timeline.item is not None and not self.view.listing.matches(self.timeline.item):
            self.timeline.go_to_match(1) or self.timeline.go_to_match(-1)

    def on_copy_menu_chosen(self, event: CopyMenu.Chosen) -> None:
        self._close_menu(event.offer)

    def action_pane(self, key: str) -> None:
        """Show another pane."""
        self.pane = next(pane.name for pane in PANES if pane.key == key)
        self.helping = False
        self._turn()

    def action_help(self) -> None:
        self.helping = not self.helping
        column = self.panes[self.pane].column_looked_at
        self.help_screen.defined = column, DEFINITIONS.get(self.pane, {}).get(column, "")
        self.help_screen.real = self.timeline.under_cursor
        self._turn()

    async def action_back(self) -> None:
        """One step back; never out of the program."""
        if self.prompt.asking is not None:
            self.prompt.dismiss()
        elif self.helping:
            self.helping = False
        elif self.sheet.display:
            self.close_page()
        elif self.focused is self.inspector.fields:
            self.set_focus(self.inspector.messages)
        elif self.inspecting and self.pane == "timeline":
            self.inspecting = False
            self.inspector.forget()
        elif not self.view.listing.filtering.everything:
            self._widen()
            return
        self._turn()

    def action_problem(self, direction: int) -> None:
        """Go to the next or previous error or gap, or to the first row of a finding; while what does not match is dim, to what does."""
        if not self.timeline.go_to_problem(direction):
            so_far = "" if self.view.loaded else " so far"
            what = "match" if self.timeline.walks_matches else "problem"
            self.footer.say(f"no further {what}{so_far}" if direction > 0 else f"no {what} before this")

    def action_filter(self) -> None:
        """Ask for a filter; the one that is in force can be edited."""
        self.pane, self.helping = "timeline", False
        if self.inspecting and not self.query_one("#body").display:
            self.inspecting = False
            self.inspector.forget()
        text = self.view.listing.filtering.text
        line = FilterLine(self.view.occurring, self.filters, text, self._narrow_typed, self._soon, self.prompt.complain, self.footer.say)
        self.ask(line, text)

    def action_dim(self) -> None:
        """What does not match is hidden, or dim among the others."""
        self.view.listing.dim()
        self.view.sync()
        self._turn()

    def action_related(self) -> None:
        """Go to what the row or message has to do with; from a finding, to its evidence."""
        if self.pane == "findings":
            self.panes[self.pane].open()
        else:
            self.footer.say(self.trail.on())
            self._arrived = self.timeline.place

    def action_related_back(self) -> None:
        """Go back to where that was asked."""
        self.trail.back()

    def action_slow(self, direction: int) -> None:
        """Go to the next or previous slow round trip."""
        least_ns = slow_ns(self.view.survey.durations)
        slow = f"{figures.milliseconds(least_ns)} ms or more"
        if self.timeline.go_to_slow(direction, least_ns):
            self._arrived = self.timeline.place
            self.footer.say(f"slow: {slow}")
        else:
            self.footer.say(f"no {'further' if direction > 0 else 'earlier'} round trip of {slow}")

    def action_same(self, direction: int) -> None:
        """Go to the next or previous row of the same statement."""
        if not self.timeline.go_to_same(direction):
            self.footer.say(f"no {'further' if direction > 0 else 'earlier'} round trip of this statement")

    def action_time(self) -> None:
        """Ask for a moment, and go there."""
        item = self.timeline.item
        if item is not None:
            self.ask(AskedMoment(item.opened_ns, self.view.trace.start_ns, self.timeline.go_to_time))

    def action_only_connection(self) -> None:
        """Only this connection; again: off."""
        self._only("conn:", self.view.connection_name)

    def action_only_driver(self) -> None:
        """Only this driver; again: off."""
        self._only("driver:", self.view.driver)

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
        offers = self._offers()
        if self.empty.display:
            self._copy(offers[0])
            return
        self.copy_menu.offer(offers, self.size.width)
        self.footer.display = False

    def action_command(self) -> None:
        """Any command by name."""
        self.ask(CommandLine(self, self._commands))

    def action_pause(self) -> None:
        """Freeze the screen, or let it go on."""
        self.view.pause()
        self._turn()

    def _offers(self) -> list[copying.Offer]:
        """What can be copied at the moment."""
        pane = self.panes[self.pane]
        if isinstance(pane, (TablePane, Findings)) and not self.helping:
            return pane.offers()
        if pane is not self.timeline or self.helping:
            return []
        if self.sheet.display:
            return self.sheet.offers()
        item = self.timeline.item
        if item is None:
            commands = instructions(self.view.source)
            return [copying.Offer("", "how to connect", lambda: "\n".join(commands))] if commands and self.empty.display else []
        if not self.inspecting:
            return copying.of_row(self.view, item)
        message = self.inspector.messages.message
        offers = copying.of_row(self.view, item, message.execution if message is not None else 0)
        return offers + self.inspector.fields.offers()

    def _turn(self) -> None:
        """The user wants to see something else: what was said last is history."""
        self.footer.forget()
        self.lay_out()

    def _close_menu(self, offer: copying.Offer | None) -> None:
        """Copy what was chosen."""
        self.copy_menu.display = False
        self.footer.display = True
        if offer is not None:
            self._copy(offer)

    def _copy(self, offer: copying.Offer) -> None:
        try:
            text = offer.text()
        except PgTraceError as error:
            self.footer.say(str(error))
            return
        except NotKept:
            self.footer.say(NOT_KEPT)
            return
        self.app.copy_to_clipboard(text)
        try:
            self.footer.say(f"{offer.name} copied, also in {self.copied.write(text)}")
        except OSError as error:
            self.footer.say(f"{offer.name} copied; it could not be written to a file: {error.strerror}")

    def _only(self, word: str, name: Callable[[int], str]) -> None:
        """Narrow the list to what the row's connection is called; where it is narrowed to such a thing and nothing else, take that back."""
        connection = self.timeline.connection
        if is_only(self.view.listing.filtering.text, word):
            self._widen()
        elif connection is not None:
            self._narrow(of_connection(name(connection)) if word == "conn:" else of_driver(name(connection)))

    def _narrow(self, text: str) -> None:
        """Go to the timeline, which shows what matches this; esc comes back."""
        self._steps = [*self._steps[1 - _STEPS_KEPT :], (self.pane, self.view.listing.filtering.text)]
        self.pane = "timeline"
        self._choose(text)

    def _narrow_typed(self, text: str) -> None:
        """The same for what is typed: one step from what it began with, however many keys it took; none where it ends there."""
        asking = self.prompt.asking
        if isinstance(asking, FilterLine) and self.view.listing.filtering.text == asking.before:
            self._steps = [*self._steps[1 - _STEPS_KEPT :], ("timeline", asking.before)]
        if self._steps and text.strip() == self._steps[-1][1] and self._steps[-1][0] == "timeline":
            self._steps.pop()
        self._choose(text)

    def _widen(self) -> None:
        """One step back from a filter."""
        self.pane, text = self._steps.pop() if self._steps else (self.pane, "")
        self._choose(text)

    def _choose(self, text: str) -> None:
        """Put a filter in force."""
        self.view.listing.choose(text)
        if self.view.listing.filtering.everything:
            self._steps.clear()
        self.view.sync()
        self._turn()

    def _soon(self) -> None:
        """Look at what is typed when the keys have rested."""
        if self._rests is not None:
            self._rests.stop()
        self._rests = self.set_timer(RESTS_S, self.look)

    def look(self) -> None:
        """Narrow the list to the filter as it has been typed so far."""
        if isinstance(self.prompt.asking, FilterLine):
            self.prompt.asking.look()
