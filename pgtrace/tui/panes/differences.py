"""The Differences pane: the steps of two captures in two columns.

First the sentences of `diff`, then the steps of each pair of connections. Steps that are the same
are dim; `~` is another way to run the same statements, `<` and `>` a step of one capture only. `n`
and `N` go from difference to difference, `enter` shows the messages of both. With a filter, only
the round trips that it selects are compared, as if the captures held no others. That happens in a
thread; again when they have grown, or when another filter is in force.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import ClassVar, Final

from textual.binding import BindingType
from textual.message import Message
from textual.strip import Strip

from pgtrace.capture.record import LABEL
from pgtrace.compare.behaviour import Conversation
from pgtrace.compare.columns import Half
from pgtrace.compare.diff import Selected
from pgtrace.describe import notation
from pgtrace.report import diff
from pgtrace.tui.model import cells, rowtext
from pgtrace.tui.model.compared import Compared, Picked, place
from pgtrace.tui.model.copying import Offer, safe
from pgtrace.tui.model.filtering import of_connection
from pgtrace.tui.model.keys import Hints
from pgtrace.tui.model.view import View
from pgtrace.tui.widgets.base import Chosen, ListWidget
from pgtrace.tui.widgets.bound import bindings
from pgtrace.tui.widgets.lines import Line

_AGAIN_S: Final = 5.0
_BUDGET_S: Final = 0.02
"""Seconds per tick spent on finding the round trips that the filter selects."""
_FLIGHT_CELLS: Final = 22
_COMPARING: Final = "comparing …"
_NOTHING: Final = "no round trips on either side"
_NOTHING_SELECTED: Final = "the filter selects no round trip of either; esc shows all"
_SENTENCES: Final = diff.SENTENCES_SHOWN


class Differences(ListWidget):
    """Two captures in two columns."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("differences")
    HINTS: ClassVar[Hints] = (("enter", "messages"), ("n", "next difference"), ("y", "copy"), ("1", "timeline"), ("?", "help"))
    HEADS = 1

    class Paired(Message):
        """Show the messages of these rows side by side."""

        def __init__(self, places: tuple[int, int]) -> None:
            super().__init__()
            self.places = places

    class Requested(Message):
        """Asks for the captures to be compared, by this function."""

        def __init__(self, work: Callable[[], Compared]) -> None:
            super().__init__()
            self.work = work

    class Completed(Message):
        """The captures have been compared, or cannot be."""

    class Moved(Message):
        """The cursor has moved."""

    def __init__(self, view: View, *, id: str | None = None) -> None:
        super().__init__(view, id=id)
        self.compared: Compared | None = None
        self.refused = ""
        """Why the captures could not be compared."""
        self._sentences: list[str] = []
        self._times_cells = 0
        """The width of the numbers of repeats, in cells."""
        self._rows = -1
        """The number of rows when the captures were read."""
        self._turn = 0
        """The turn of the filter in the present or latest comparison."""
        self._shown_turn = 0
        """The turn of the filter in the comparison that is shown."""
        self._picked: Picked | None = None
        """The search for the selected round trips, while it is under way."""
        self._reads = False
        """Whether the captures must be read again for the next comparison."""
        self._began_s: float | None = None
        self._next_s = 0.0

    # Comparing.

    def advance(self, now_s: float) -> None:
        """Start a comparison, if the captures have grown or another filter is in force."""
        view, listing = self.view, self.view.listing
        if self._began_s is not None or not view.reading.loaded or listing.behind:
            return
        if self._turn != listing.filtering.turn:
            self._picked = None
        if self._picked is None:
            self._reads |= len(view.trace.rows) != self._rows and not view.reading.paused and now_s >= self._next_s
            if not self._reads and self._turn == listing.filtering.turn:
                return
            self._turn = listing.filtering.turn
            self._picked = Picked(view.trace, listing.all_places())
        if listing.filtering.everything or self._picked.advance(_BUDGET_S):
            self._begin(None if listing.filtering.everything else self._picked.found)

    def _begin(self, selected: tuple[Selected, Selected] | None) -> None:
        """Start a comparison; read the captures again if they have grown."""
        known, paths = self.compared, self.view.trace.paths
        if known is None or self._reads:
            self._rows = len(self.view.trace.rows)
            work = partial(Compared.read, (paths[0], paths[1]), selected)
        else:
            work = partial(known.narrowed, selected)
        self._picked, self._reads, self._began_s = None, False, time.monotonic()
        self.post_message(self.Requested(work))

    def take(self, compared: Compared) -> None:
        """Show the result of a comparison."""
        self._finished()
        self.compared, self.refused, self._shown_turn = compared, "", self._turn
        self._sentences = [diff.sentence(change) for change in compared.comparison.changes[:_SENTENCES]]
        times = max((half.times for line in compared.lines for half in (line.first, line.second) if isinstance(half, Half)), default=1)
        self._times_cells = len(f"×{times} ") if times > 1 else 0
        self.post_message(self.Completed())

    def refuse(self, reason: str) -> None:
        """Show why the captures cannot be compared."""
        self._finished()
        self.refused = reason
        self.post_message(self.Completed())

    def moved(self) -> None:
        super().moved()
        self.post_message(self.Moved())

    def _finished(self) -> None:
        now_s = time.monotonic()
        self._next_s = now_s + max(_AGAIN_S, 10 * (now_s - (self._began_s or now_s)))
        self._began_s = None

    @property
    def differences(self) -> int:
        """How many lines differ."""
        return len(self.compared.differences) if self.compared is not None else 0

    @property
    def position(self) -> tuple[str, str]:
        """The cursor's position for the footer, and its role; a note instead if another filter is
        in force than in the comparison.
        """
        if self.compared is not None and self._shown_turn != self.view.listing.filtering.turn:
            return _COMPARING, "attention"
        return (f"{self.cursor + 1}/{self.count()}", "dim") if self.count() else ("", "dim")

    def go_to_difference(self, direction: int) -> bool:
        """Move the cursor to the next or previous difference. Returns whether there is one."""
        before = len(self._sentences)
        found = self.compared.next(self.cursor - before, direction) if self.compared is not None else None
        if found is not None:
            self.go(found + before)
        return found is not None

    def offers(self) -> list[Offer]:
        """What can be copied."""
        compared = self.compared
        if compared is None:
            return []
        names = self._names()
        return [Offer("d", "the differences", lambda: safe("\n".join(text for _, text in diff.lines(compared.comparison, names))))]

    def _names(self) -> list[str]:
        """The labels of the captures if they differ, else the names of their files, else their
        paths."""
        trace = self.view.trace
        labels = [trace.settings.get((number, LABEL), "") for number in (0, 1)]
        named = [os.path.basename(name) for name in trace.files]
        return next((found for found in (labels, named) if all(found) and found[0] != found[1]), trace.files)

    # Drawing.

    def count(self) -> int:
        return len(self._sentences) + len(self.compared.lines) if self.compared is not None else 0

    def build(self, width: int, height: int) -> list[Strip]:
        drawn = super().build(width, height)
        if not self.count():
            notice = self.refused or (_COMPARING if self.compared is None else _NOTHING_SELECTED if self.view.is_filtered else _NOTHING)
            drawn.append(Line(self.view.pen, width).add(f"  {rowtext.plain(notice, width - 4)}", "dim").strip())
        return drawn

    def heads(self, width: int) -> list[Strip]:
        line = Line(self.view.pen, width, "head")
        for number, start in enumerate((1, _half(width) + 4)):
            sides = (self.compared.comparison.first, self.compared.comparison.second) if self.compared is not None else ()
            total = f"  {sides[number].number('round_trip')} rt" if sides else ""
            line.to(start).add(rowtext.plain(self._names()[number], _half(width) - len(total)), "strong").add(total, "dim")
        return [line.strip()]

    def line(self, index: int, width: int, *, selected: bool) -> Strip:
        drawn = Line(self.view.pen, width, "selected" if selected else "background").add("▌" if selected else " ", "you")
        if index < len(self._sentences) or self.compared is None:
            return drawn.add(rowtext.plain(self._sentences[index], width - 2, self.sideways), "attention").strip()
        line = self.compared.lines[index - len(self._sentences)]
        first, second = line.first, line.second
        half = _half(width)
        if isinstance(first, Conversation) or isinstance(second, Conversation):
            for one, start in ((first, 1), (second, half + 4)):
                drawn.to(start).add(self._connection(one, is_same=line.is_same, width=half), "dim" if line.is_same else "strong")
            return drawn.strip()
        sign = "" if line.is_same else "~" if first and second else "<" if first else ">"
        alike = first is not None and second is not None and first.step.flight == second.step.flight
        self._step(drawn, first, half, same=line.is_same, alike=alike)
        drawn.to(1 + half).add(f" {sign or '│'} ", "attention" if sign else "faint")
        self._step(drawn, second, width - 4 - half, same=line.is_same, alike=alike)
        return drawn.strip()

    def _connection(self, one: Half | Conversation | None, *, is_same: bool, width: int) -> str:
        if not isinstance(one, Conversation):
            return "no such connection"
        text = f"{one.name} {one.driver}" + (f"  the same on both sides, {len(one.steps)} steps" if is_same else "")
        return rowtext.plain(text, width)

    def _step(self, line: Line, half: Half | None, width: int, *, same: bool, alike: bool) -> None:
        """One half of a line: steps of both sides are dim, steps of only this side are bright."""
        if half is None or self.compared is None:
            return
        end, pen, step = line.used + width, self.view.pen, half.step
        if self._times_cells:
            line.add(f"×{half.times} " if half.times > 1 else "", "dim" if same else "strong", min(self._times_cells, width))
        room = max(0, min(_FLIGHT_CELLS, (end - line.used) * 2 // 5))
        begun = line.used
        flight = cells.cut(pen.text(notation.fit(step.flight, room)), room, pen.ellipsis)
        for text, role in [(flight, "dim")] if same or alike else rowtext.flight_runs(flight, pen):
            line.add(text, role)
        line.to(begun + room + 1)
        sql, about = diff.sql_of(step, self.compared.texts), diff.details(step)
        left = end - line.used - (cells.width(about) + 2 if about else 0)
        if left > 1:
            text = rowtext.plain(sql, left, self.sideways) if self.sideways else rowtext.sql(sql, left)
            line.add(text, "dim" if same else "text").add("  " if about and text else "")
        line.add(rowtext.plain(about, max(0, end - line.used)), "dim" if same else "strong")

    # Keys.

    def _places(self) -> list[int]:
        """The rows of the line under the cursor."""
        number = self.cursor - len(self._sentences)
        if self.compared is None or not 0 <= number < len(self.compared.lines):
            return []
        line = self.compared.lines[number]
        halves = [(file, half) for file, half in enumerate((line.first, line.second)) if isinstance(half, Half)]
        found = [place(self.view.trace, file, half) for file, half in halves]
        return [one for one in found if one is not None]

    def open(self) -> None:
        """Show the messages of both round trips; if there is only one, show it in the timeline."""
        found = self._places()
        if len(found) == 2:
            self.post_message(self.Paired((found[0], found[1])))
        elif found:
            connection = self.view.trace.rows.entry(found[0]).connection
            self.post_message(Chosen(of_connection(self.view.connection_name(connection)), (found[0],)))

    def action_open(self) -> None:
        self.open()


def _half(width: int) -> int:
    return (width - 5) // 2
