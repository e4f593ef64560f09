"""Filters, one after the other: typed, chosen by a key, or chosen in a pane; `esc` goes back
through them."""

from __future__ import annotations

from collections.abc import Callable

from textual.timer import Timer

from pgtrace.tui.areas import Areas
from pgtrace.tui.model.filtering import both, is_only, of_connection, of_driver
from pgtrace.tui.model.filterline import RESTS_S, FilterLine
from pgtrace.tui.model.remembered import Remembered
from pgtrace.tui.model.savedfilters import SavedFilters

_STEPS_KEPT = 100


class Narrowing:
    """Applies filters, and removes them again."""

    def __init__(self, areas: Areas) -> None:
        self.filters = SavedFilters(Remembered())
        self._areas = areas
        self._steps: list[tuple[str, str]] = []
        """The pane and the filter before each applied filter, to which esc goes back."""
        self._rests: Timer | None = None

    def ask(self) -> None:
        """Ask for a filter; the filter in force can be edited."""
        areas = self._areas
        areas.helping = False
        if areas.inspecting and not areas.body.display:
            areas.close_inspector()
        text = areas.view.listing.filtering.text
        line = FilterLine(areas.view.occurring, self.filters, text, self._typed, self._soon, areas.prompt.complain, areas.show_notice)
        areas.ask(line, text)

    def narrow(self, text: str) -> None:
        """Go to the timeline and show the rows that match this filter; esc goes back."""
        areas = self._areas
        self._step(areas.pane, areas.view.listing.filtering.text)
        areas.pane = "timeline"
        self.choose(text)

    def narrow_further(self, text: str) -> None:
        """Like narrow(), among the rows that the filter in force shows."""
        self.narrow(both(self._areas.view.listing.filtering.text, text))

    def widen(self) -> None:
        """Go back one filter."""
        self._areas.pane, text = self._steps.pop() if self._steps else (self._areas.pane, "")
        self.choose(text)

    def choose(self, text: str) -> None:
        """Put a filter in force."""
        listing = self._areas.view.listing
        listing.choose(text)
        if listing.filtering.everything:
            self._steps.clear()
        self._areas.view.reading.sync()
        self._areas.gather_again()
        self._areas.reset_layout()

    def only_connection(self) -> None:
        """Show only the connection of the row under the cursor; pressed again, go back."""
        self._only("conn:", lambda connection: of_connection(self._areas.view.connection_name(connection)))

    def only_driver(self) -> None:
        """Show only the driver of the row under the cursor; pressed again, go back."""
        self._only("driver:", lambda connection: of_driver(self._areas.view.driver(connection)))

    def apply_typed(self) -> None:
        """Narrow the list to the filter as it has been typed so far."""
        if isinstance(self._areas.prompt.asking, FilterLine):
            self._areas.prompt.asking.apply()

    def report_given_up(self) -> None:
        """Show that a filter took too long and is no longer in force."""
        given_up, self._areas.view.reading.given_up = self._areas.view.reading.given_up, None
        if given_up is not None:
            self._steps.clear()
            self._areas.notice_row(f"the filter is off: {given_up.reason}")

    def _only(self, word: str, filter_of: Callable[[int], str]) -> None:
        connection = self._areas.timeline.connection
        if is_only(self._areas.view.listing.filtering.text, word):
            self.widen()
        elif connection is not None:
            self.narrow(filter_of(connection))

    def _typed(self, text: str) -> None:
        """Apply a filter while it is typed. All of the typing is one step, and none if it ends with
        the first filter.
        """
        asking = self._areas.prompt.asking
        if isinstance(asking, FilterLine) and self._areas.view.listing.filtering.text == asking.before:
            self._step(self._areas.pane, asking.before)
        if self._steps and self._steps[-1] == (self._areas.pane, text.strip()):
            self._steps.pop()
        self.choose(text)

    def _soon(self) -> None:
        """Apply the typed filter when no key has come for a moment."""
        if self._rests is not None:
            self._rests.stop()
        self._rests = self._areas.screen.set_timer(RESTS_S, self.apply_typed)

    def _step(self, pane: str, text: str) -> None:
        self._steps = [*self._steps[1 - _STEPS_KEPT :], (pane, text)]
