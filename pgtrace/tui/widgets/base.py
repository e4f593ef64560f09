"""The two base widgets: one of lines, and a list of lines with a cursor.

Both use Textual's line API: build() makes the lines of the visible area, and only those that differ
from what is on the screen are painted again. A list builds only the lines in sight, so its length
costs nothing. Every widget draws all of its cells itself, including the ground.

The mouse does what keys do: a click moves the cursor, a double click opens, the wheel moves, with
shift sideways. The right button is left to the screen.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Final

from textual import events
from textual.binding import BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from pgtrace.tui.model.keys import Hints
from pgtrace.tui.model.view import View
from pgtrace.tui.widgets.bound import bindings
from pgtrace.tui.widgets.lines import blank

SIDEWAYS: Final = 16
"""Characters scrolled by one step sideways."""
WHEEL: Final = 3
"""Lines moved by one turn of the wheel."""
RIGHT_BUTTON: Final = 3


class Chosen(Message):
    """Show the rows that match a filter in the timeline, beginning with these places, one after the
    other.
    """

    def __init__(self, filter: str, places: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.filter = filter
        self.places = places


class LineWidget(Widget):
    """A widget that draws itself line by line."""

    DEFAULT_CSS = "LineWidget { width: 100%; }"
    HINTS: ClassVar[Hints] = ()

    def __init__(self, view: View, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.view = view
        self._lines: list[Strip] = []

    def hints(self) -> Hints:
        """The footer's hints while the widget has the focus; the last one is always shown."""
        return self.HINTS

    @abstractmethod
    def build(self, width: int, height: int) -> list[Strip]:
        """Build the current lines. Missing lines are drawn empty, lines beyond `height` are
        ignored.
        """

    def redraw(self) -> None:
        """Build the lines and paint those that changed."""
        width, height = self.size
        if not width or not height or not self.display:
            return
        built = self.build(width, height)[:height]
        built += [blank(self.view.pen, width)] * (height - len(built))
        old, self._lines = self._lines, built
        if len(old) != height:
            self.refresh()
            return
        changed = [y for y in range(height) if old[y] != built[y]]
        if changed:
            self.refresh(*(Region(0, y, width, 1) for y in changed))

    def on_resize(self) -> None:
        """Draw everything again."""
        self._lines = []
        self.redraw()

    def on_hide(self) -> None:
        """Forget what was drawn, because it is not kept up to date while hidden."""
        self._lines = []

    def on_show(self) -> None:
        """Draw the widget, unless it was drawn when it was laid out."""
        if not self._lines:
            self.redraw()

    def render_line(self, y: int) -> Strip:
        """The line as it was built."""
        return self._lines[y] if y < len(self._lines) else blank(self.view.pen, self.size.width)


class ListWidget(LineWidget, can_focus=True):
    """A list that builds only the lines in sight. The cursor is an index; heads are above the
    list."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("list")
    HEADS: ClassVar[int] = 0
    """Lines above the list."""

    def __init__(self, view: View, *, id: str | None = None) -> None:
        super().__init__(view, id=id)
        self.cursor = 0
        self.top = 0
        self.sideways = 0
        """How many characters of long texts are scrolled out on the left."""

    @abstractmethod
    def count(self) -> int:
        """How many lines the list has."""

    def heads(self, width: int) -> list[Strip]:
        """The lines above the list: exactly HEADS."""
        return []

    @abstractmethod
    def line(self, index: int, width: int, *, selected: bool) -> Strip:
        """One line of the list."""

    @property
    def column_looked_at(self) -> str:
        """The column or counter that the help should define; empty if there is none."""
        return ""

    @property
    def page_lines(self) -> int:
        """How many lines of the list are visible."""
        return max(1, self.size.height - self.HEADS)

    def build(self, width: int, height: int) -> list[Strip]:
        """Heads and the lines in sight."""
        self.keep_in_sight()
        end = min(self.count(), self.top + self.page_lines)
        body = [self.line(index, width, selected=index == self.cursor) for index in range(self.top, end)]
        return self.heads(width) + body

    def keep_in_sight(self) -> None:
        """Move the cursor and the window back into the list, and the window to the cursor."""
        count, page = self.count(), self.page_lines
        self.cursor = max(0, min(self.cursor, count - 1))
        self.top = max(0, min(self.top, count - page, self.cursor), self.cursor - page + 1)

    def go(self, index: int) -> None:
        """Put the cursor on a line."""
        self.cursor = max(0, min(index, self.count() - 1))
        self.moved()

    def moved(self) -> None:
        """The user has moved the cursor."""
        self.redraw()

    def open(self) -> None:
        """Open the line under the cursor: enter, or a double click."""

    def action_move(self, lines: int) -> None:
        self.go(self.cursor + lines)

    def action_page(self, pages: int, share: int = 1) -> None:
        self.go(self.cursor + pages * max(1, self.page_lines // share))

    def action_first(self) -> None:
        self.go(0)

    def action_last(self) -> None:
        self.go(self.count() - 1)

    def action_sideways(self, steps: int) -> None:
        self.sideways = max(0, self.sideways + SIDEWAYS * steps)
        self.redraw()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._wheel(1, sideways=event.shift)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._wheel(-1, sideways=event.shift)

    async def on_click(self, event: events.Click) -> None:
        index = self.top + event.y - self.HEADS
        if event.button != RIGHT_BUTTON and event.y >= self.HEADS and index < self.count():
            self.go(index)
            if event.chain == 2:
                self.open()

    def _wheel(self, turns: int, *, sideways: bool) -> None:
        if sideways:
            self.action_sideways(turns)
        else:
            self.go(self.cursor + WHEEL * turns)
