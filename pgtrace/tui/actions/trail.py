"""Follows related rows and messages: `r` goes from one to the next, `R` goes back the same way.

inspect/related.py finds related rows; behind a pooler, a round trip is related to its counterpart
on the other side. From a finding, the trail first goes through the rows of its evidence, in order.
To show a row that the filter hides, the filter is removed; on the way back it is applied again. The
trail is bounded: the oldest steps are forgotten.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pgtrace.inspect import related
from pgtrace.inspect.related import Related
from pgtrace.tui.areas import Areas

_STEPS_KEPT: Final = 100


@dataclass(frozen=True, slots=True)
class _Step:
    """A place on the trail."""

    pane: str
    place: int
    filter: str
    inspecting: bool
    message: tuple[int, int] | None


class Trail:
    """The steps taken so far."""

    def __init__(self, areas: Areas, choose: Callable[[str], None]) -> None:
        """`choose` applies another filter."""
        self._areas = areas
        self._choose = choose
        self._steps: deque[_Step] = deque(maxlen=_STEPS_KEPT)
        self._evidence: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self._steps)

    def began(self, pane: str, evidence: tuple[int, ...]) -> None:
        """Begin at the first of these rows, coming from a pane."""
        self._evidence = evidence
        if evidence:
            self._steps.append(_Step(pane, -1, "", False, None))

    def on(self) -> str:
        """Go to the row or message related to the cursor's. Returns in words what that is, or that
        there is none.
        """
        areas = self._areas
        found = self._found()
        if found is None:
            return "nothing is related to this"
        timeline = areas.timeline
        message = areas.inspector.messages.message if areas.inspecting else None
        at = (message.side, message.offset) if message is not None else None
        self._steps.append(_Step("timeline", timeline.place, areas.view.listing.filtering.text, areas.inspecting, at))
        hidden = not areas.view.listing.shows(found.place)
        if hidden:
            self._choose("")
        self._go_to(found.place, found.message, inspecting=areas.inspecting or found.message is not None)
        return found.words + (" (the filter hid it: all rows are shown)" if hidden else "")

    def back(self) -> None:
        """Go back one step."""
        areas, step = self._areas, self._steps.pop()
        if step.pane != areas.pane or step.filter != areas.view.listing.filtering.text:
            areas.pane = step.pane
            self._choose(step.filter)
        if step.pane == "timeline":
            self._go_to(step.place, step.message, inspecting=step.inspecting)

    def _found(self) -> Related | None:
        areas = self._areas
        trace, place = areas.view.trace, areas.timeline.place
        message = areas.inspector.messages.message if areas.inspecting else None
        if place in self._evidence[:-1] and not areas.inspecting:
            return Related(self._evidence[self._evidence.index(place) + 1], "the next row of the finding")
        found = None
        if message is not None:
            item = areas.timeline.item
            places = item.places if item is not None else (place,)
            found = related.of_message(trace, places[0], message, areas.inspector.messages.messages)
        found = found or self._other_side(place) or related.of_row(trace, place, areas.view.survey.transactions)
        here = (message.side, message.offset) if message is not None else None
        return None if found is not None and (found.place, found.message) == (place, here) else found

    def _other_side(self, place: int) -> Related | None:
        """The round trip's counterpart on the other side of a pooler."""
        lanes = self._areas.view.lanes
        across = lanes.across(place)
        if not across:
            return None
        if not lanes.together(place):
            return Related(across[0], "the round trip before which the pooler did this")
        behind = lanes.is_behind(self._areas.view.trace.rows.entry(place).connection)
        return Related(across[0], "the same on the drivers' side" if behind else "the same on the server's side")

    def _go_to(self, place: int, message: tuple[int, int] | None, *, inspecting: bool) -> None:
        areas = self._areas
        areas.inspecting = inspecting
        areas.timeline.go_to_place(place)
        areas.lay_out()
        if inspecting:
            areas.inspector.show(areas.timeline.item)
            if message is not None:
                areas.inspector.messages.go_to(*message)
            areas.screen.set_focus(areas.inspector.messages)
