"""The only screen: it passes keys, clicks and its widgets' messages to the code that acts on them.

areas.py decides what is on display; actions/ has the actions. A key without a use at the moment
(check_action) does nothing, and the footer says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen

from pgtrace.tui.actions import pager
from pgtrace.tui.actions.background import Finished, begin
from pgtrace.tui.actions.clipboard import Clipboard
from pgtrace.tui.actions.commands import CommandLine, theme_command
from pgtrace.tui.actions.files import Files
from pgtrace.tui.actions.going import Going
from pgtrace.tui.actions.narrowing import Narrowing
from pgtrace.tui.actions.pairing import Pairing
from pgtrace.tui.actions.plans import Plans
from pgtrace.tui.actions.recording import Recording
from pgtrace.tui.actions.trail import Trail
from pgtrace.tui.areas import Areas
from pgtrace.tui.model.bands import TABLE_WIDTH
from pgtrace.tui.model.definitions import DEFINITIONS
from pgtrace.tui.model.view import View
from pgtrace.tui.panes.differences import Differences
from pgtrace.tui.panes.tabs import DIFFERENCES, PANES
from pgtrace.tui.widgets.base import RIGHT_BUTTON, Chosen, LineWidget
from pgtrace.tui.widgets.bound import bindings
from pgtrace.tui.widgets.footer import CopyMenu

_TIMELINE_ONLY = frozenset({"problem", "slow", "time", "only_connection", "only_driver", "fold_level", "page", "compare", "explain"})

_WRITES = frozenset({"save", "mark", "page", "explain"})
"""Actions that a read-only screen does not offer."""


class MainScreen(Screen[None]):
    """The screen with everything that pgtrace shows."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("screen")

    def __init__(self, view: View) -> None:
        super().__init__()
        self.view = view
        self.areas = Areas(view, self)
        self.narrowing = Narrowing(self.areas)
        self.trail = Trail(self.areas, self.narrowing.choose)
        self.going = Going(self.areas, self.trail)
        self.clipboard = Clipboard(self.areas)
        self.files = Files(self.areas)
        self.recording = Recording(self.areas)
        self.plans = Plans(self.areas)
        self.pairing = Pairing(self.areas)
        does = () if view.source.read_only else (*self.recording.commands, *self.files.commands)
        self.commands = (*does, *self.going.commands, theme_command(self))
        self._commands_typed: list[str] = []

    def compose(self) -> ComposeResult:
        yield from self.areas.compose()

    # What happens.

    def on_mount(self) -> None:
        """Show the initial contents."""
        self.areas.begin()

    def on_unmount(self) -> None:
        self.clipboard.close()

    def on_resize(self, event: events.Resize) -> None:
        """Lay out the lines again. At the start this is called several times with the same size."""
        if event.size != self.areas.size:
            self.areas.resize(event.size)

    async def before_bindings(self, event: events.Key) -> None:
        """Take every key before its binding: pass it to a question or an open menu, and show in the
        footer if it has no use here.
        """
        areas = self.areas
        areas.touched = True
        if areas.prompt.asking is not None:
            event.prevent_default()
            areas.footer.forget()
            await areas.prompt.key(event)
            if areas.prompt.asking is None:
                areas.lay_out()
        elif areas.copy_menu.display:
            event.prevent_default()
            self.clipboard.chosen(areas.copy_menu.offered(event.character))
        elif event.is_printable and event.key not in self.active_bindings:
            areas.show_notice(f"{event.character} does nothing here; ? shows the keys")
        elif areas.footer.notice and event.key in self.active_bindings:
            # afterwards, because the key may answer the notice's question
            self.app.call_next(areas.footer.forget_older, areas.footer.notices)

    def pasted(self, text: str) -> None:
        """Pass text from the terminal's clipboard to the open question, if any."""
        if self.areas.prompt.asking is not None:
            self.areas.prompt.paste(text)

    def on_mouse_down(self) -> None:
        """Remove a notice before the mouse acts, as a key does."""
        self.areas.footer.forget()

    def on_mouse_scroll_down(self) -> None:
        """Remove a notice after the wheel has moved a list."""
        self.areas.footer.forget()

    on_mouse_scroll_up = on_mouse_scroll_down

    async def on_click(self, event: events.Click) -> None:
        """Go one step back on a click with the right button."""
        if event.button == RIGHT_BUTTON:
            await self.action_back()

    def draw(self) -> None:
        """Draw the present state."""
        self.areas.draw()
        self.narrowing.report_given_up()

    def line_widgets(self) -> Iterator[LineWidget]:
        """The widgets that draw themselves line by line."""
        return (widget for widget in self.walk_children() if isinstance(widget, LineWidget))

    def paint(self) -> None:
        """Paint everything again, because the terminal may have lost it."""
        for widget in self.line_widgets():
            widget.refresh()

    def on_finished(self, event: Finished) -> None:
        event.take()

    def on_timeline_moved(self) -> None:
        self.areas.cursor_moved()

    def on_timeline_opened(self) -> None:
        self.areas.inspect()

    def on_table_pane_moved(self) -> None:
        self.areas.draw_footer()

    def on_help_written(self) -> None:
        self.areas.draw_footer()

    def on_descendant_focus(self) -> None:
        self.areas.focus_moved()

    def on_copy_menu_chosen(self, event: CopyMenu.Chosen) -> None:
        self.clipboard.chosen(event.offer)

    def on_differences_requested(self, event: Differences.Requested) -> None:
        """Compare the two captures, in a thread."""
        begin(self, event.work, self.areas.differences.take, self.areas.differences.refuse)

    def on_differences_completed(self) -> None:
        self.areas.draw()

    def on_differences_moved(self) -> None:
        self.areas.draw_footer()

    def on_differences_paired(self, event: Differences.Paired) -> None:
        """Show the messages of two round trips side by side."""
        self.pairing.show(*event.places)

    def on_chosen(self, event: Chosen) -> None:
        """Go to the timeline and show these rows only."""
        timeline = self.areas.timeline
        self.trail.began(self.areas.pane, event.places)
        if event.places:
            self.narrowing.narrow(event.filter)
        else:
            self.narrowing.narrow_further(event.filter)
        if event.places:
            timeline.go_to_place(event.places[0])
        elif timeline.item is not None and not self.view.listing.matches(timeline.item):
            timeline.go_to_match(1) or timeline.go_to_match(-1)
        if not event.places:
            timeline.go_to_execution()

    # What keys do.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether an action has a use at the moment."""
        areas = self.areas
        timeline = areas.pane == "timeline" and not areas.helping
        listed = timeline and areas.timeline.is_on_line
        if action in ("only_connection", "only_driver") and timeline and not self.view.listing.filtering.everything:
            return True
        if action in _WRITES and self.view.source.read_only:
            return False
        if action == "problem" and areas.pane == DIFFERENCES:
            return areas.differences.differences > 0 and not areas.helping
        if action in _TIMELINE_ONLY:
            return listed
        match action:
            case "filter":
                return not areas.empty.display
            case "pane":
                return parameters != ("7",) or self.view.compares
            case "dim":
                return timeline and not self.view.listing.filtering.everything
            case "copy":
                return bool(self.clipboard.offers())
            case "same":
                item = areas.timeline.item
                return listed and item is not None and any(row.label.groups for row in item.rows)
            case "related":
                return listed or (areas.pane == "findings" and not areas.helping and areas.panes["findings"].count() > 0)
            case "related_back":
                return bool(self.trail) and not areas.helping
            case "raw":
                return listed and areas.inspecting
            case "values" | "whole_sql":
                return listed and areas.inspecting and bool(areas.inspector.statements.ran)
            case "driver_rows":
                return timeline and self.size.width >= TABLE_WIDTH and not self.view.single_driver
            case "pause":
                return self.view.reading.growing or self.view.reading.paused
        return True

    async def action_back(self) -> None:
        """Go one step back; never leave the program."""
        areas = self.areas
        if areas.prompt.asking is not None:
            areas.prompt.dismiss()
        elif areas.helping:
            areas.helping = False
        elif areas.sheet.display:
            areas.show_page(None)
        elif self.focused is areas.inspector.fields:
            self.set_focus(areas.inspector.messages)
        elif areas.inspecting and areas.pane == "timeline":
            areas.close_inspector()
        elif not self.view.listing.filtering.everything:
            self.narrowing.widen()
            return
        areas.reset_layout()

    def action_pane(self, key: str) -> None:
        self.areas.show_pane(next(pane.name for pane in PANES if pane.key == key))

    def action_help(self) -> None:
        """Show or hide the help, with the column that the user looks at and the row under the
        cursor.
        """
        areas = self.areas
        areas.helping = not areas.helping
        column = areas.panes[areas.pane].column_looked_at
        areas.help_screen.defined = column, DEFINITIONS.get(areas.pane, {}).get(column, "")
        areas.help_screen.real = areas.timeline.example
        areas.reset_layout()

    def action_problem(self, direction: int) -> None:
        self.going.problem(direction)

    def action_slow(self, direction: int) -> None:
        self.going.slow(direction)

    def action_same(self, direction: int) -> None:
        self.going.same(direction)

    def action_time(self) -> None:
        self.going.ask_time()

    def action_related(self) -> None:
        self.going.related()

    def action_related_back(self) -> None:
        self.trail.back()

    def action_filter(self) -> None:
        self.narrowing.ask()

    def action_only_connection(self) -> None:
        self.narrowing.only_connection()

    def action_only_driver(self) -> None:
        self.narrowing.only_driver()

    def action_dim(self) -> None:
        """Hide rows that do not match, or show them dim among the others."""
        self.view.listing.dim()
        self.view.reading.sync()
        self.areas.reset_layout()

    def action_fold_level(self) -> None:
        """Go to the next fold level."""
        self.view.listing.next_level()
        self.view.reading.sync()
        self.areas.reset_layout()

    def action_driver_rows(self) -> None:
        """Show or hide the drivers' lines of the totals."""
        self.areas.totals.driver_rows = not self.areas.totals.driver_rows
        self.areas.reset_layout()

    def action_raw(self) -> None:
        """Toggle between values by their types and values as bytes."""
        self.view.raw = not self.view.raw
        self.areas.inspector.fields.redraw()
        self.areas.show_notice("values as bytes" if self.view.raw else "values by their types")

    def action_values(self) -> None:
        """Toggle between parameters and their values."""
        self.areas.inspector.put_values()
        self.areas.sheet.redraw()
        self.areas.show_notice("values in the SQL" if self.areas.inspector.statements.in_place else "parameters in the SQL")

    def action_whole_sql(self) -> None:
        """Show the statements as they were written, or the messages again."""
        self.areas.show_page(None if self.areas.sheet.display else self.areas.inspector.whole_sql())

    def action_pause(self) -> None:
        """Freeze the screen, or continue."""
        self.view.reading.pause()
        if self.view.reading.paused:
            self.areas.gather_again()
        self.areas.reset_layout()

    def action_copy(self) -> None:
        self.clipboard.ask()

    def action_save(self) -> None:
        self.files.ask()

    def action_mark(self) -> None:
        self.recording.toggle_mark()

    def action_page(self) -> None:
        pager.show_row(self.areas)

    def action_explain(self) -> None:
        self.plans.explain()

    def action_compare(self) -> None:
        self.pairing.pick()

    def action_command(self) -> None:
        self.areas.ask(CommandLine(self.commands, self, self._commands_typed))
