"""Keys that move the timeline's cursor: to problems, slow round trips, the same statement, a
moment, or what is related."""

from __future__ import annotations

from pgtrace.tui.actions.commands import Command
from pgtrace.tui.actions.trail import Trail
from pgtrace.tui.areas import Areas
from pgtrace.tui.model import figures
from pgtrace.tui.model.moving import AskedMoment, slow_ns
from pgtrace.tui.panes.tabs import DIFFERENCES


class Going:
    """Moves the cursor, or shows that there is nothing to go to."""

    def __init__(self, areas: Areas, trail: Trail) -> None:
        self._areas = areas
        self._trail = trail
        self.commands = (Command("goto", "TIME", "12.5 since the start, +1.5 from here, 10:21:07", self.moment),)

    def problem(self, direction: int) -> None:
        """Go to the next or previous error or gap, or to the first row of a finding; while rows
        that do not match are dim, to one that matches; in a comparison, to a difference."""
        timeline = self._areas.timeline
        if self._areas.pane == DIFFERENCES:
            if not self._areas.differences.go_to_difference(direction):
                self._areas.show_notice("no further difference" if direction > 0 else "no difference before this")
        elif not timeline.go_to_problem(direction):
            so_far = "" if self._areas.view.reading.loaded else " so far"
            what = "match" if timeline.walks_matches else "problem"
            self._areas.show_notice(f"no further {what}{so_far}" if direction > 0 else f"no {what} before this")

    def slow(self, direction: int) -> None:
        """Go to the next or previous slow round trip."""
        least_ns = slow_ns(self._areas.view.survey.durations)
        slow = f"{figures.milliseconds(least_ns)} ms or more"
        if self._areas.timeline.go_to_slow(direction, least_ns):
            self._areas.notice_row(f"slow: {slow}")
        else:
            self._areas.show_notice(f"no {'further' if direction > 0 else 'earlier'} round trip of {slow}")

    def same(self, direction: int) -> None:
        """Go to the next or previous row of the same statement."""
        if not self._areas.timeline.go_to_same(direction):
            self._areas.show_notice(f"no {'further' if direction > 0 else 'earlier'} round trip of this statement")

    def ask_time(self) -> None:
        """Ask for a time, and go there."""
        asking = self._moment_asked_for()
        if asking is not None:
            self._areas.ask(asking)

    def moment(self, text: str) -> str:
        """Go to the row that began at that time. Returns an error message, or an empty string."""
        asking = self._moment_asked_for()
        if asking is None:
            return "there is no row"
        fault = asking.accepted(text)
        if fault is None:
            self._areas.pane = "timeline"
        return fault.reason if fault is not None else ""

    def related(self) -> None:
        """Go to the row or message that is related to this one; from a finding, to its evidence."""
        areas = self._areas
        if areas.pane == "findings":
            areas.panes[areas.pane].open()
        else:
            areas.notice_row(self._trail.on())

    def _moment_asked_for(self) -> AskedMoment | None:
        item = self._areas.timeline.item
        return None if item is None else AskedMoment(item.opened_ns, self._areas.view.trace.start_ns, self._areas.timeline.go_to_time)
