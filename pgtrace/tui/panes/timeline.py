"""The timeline: one line for each row in sight, newest at the bottom.

The cursor belongs to a round trip, not to a line: folding, filtering and new rows leave it on the
same row or its nearest visible neighbour, and on the same line of the screen. While following, it
is on the last row. Any move up ends following, `G` starts it again; rows that come meanwhile are
counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.message import Message
from textual.strip import Strip

from pgtrace.trace.row import RowKind
from pgtrace.tui.model import moving, rowtext
from pgtrace.tui.model.axis import Axis
from pgtrace.tui.model.columns import Column, columns
from pgtrace.tui.model.groups import Together
from pgtrace.tui.model.items import Item
from pgtrace.tui.model.keys import Hints
from pgtrace.tui.model.surroundings import Surroundings, surroundings
from pgtrace.tui.model.view import View
from pgtrace.tui.panes import rowline
from pgtrace.tui.panes.zoom import Zoom
from pgtrace.tui.widgets.base import RIGHT_BUTTON, ListWidget
from pgtrace.tui.widgets.bound import bindings
from pgtrace.tui.widgets.lines import Line

EXAMPLE_LOOKS = 100
"""Lines around the cursor that are searched for an example."""


def _is_whole(item: Item) -> bool:
    """Whether a line is a complete round trip of one statement without an error."""
    row, shape = item.row, item.row.shape
    return row.is_round_trip and not (row.is_open or item.folded or shape.errors or shape.depth > 1) and bool(row.label.sql)


def _letters(item: Item) -> int:
    """The number of different messages in a line."""
    return len({*item.row.shape.sent}) + len({*item.row.shape.received})


class Timeline(ListWidget):
    """The rows of the trace."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("timeline")
    HEADS = 1

    class Moved(Message):
        """Another row is under the cursor."""

    class Opened(Message):
        """The row under the cursor should be inspected."""

    def __init__(self, view: View, *, id: str | None = None) -> None:
        super().__init__(view, id=id)
        self.following = view.source.live
        self._seen_place = -1
        """The last row that has been in sight, or was there when following ended; a filter or a
        fold may take its line away."""
        self._fresh = True
        self._place = -1
        self._in_sight: tuple[Column, ...] = ()
        self._axis = Axis((), 12)
        self._zoom = Zoom()
        self._items: list[Item] = []
        """The visible lines; below, what each needs to know of the lines above it."""
        self._near: list[Surroundings] = []
        self._same: set[int] = set()
        """Rows that are the same round trip as the one under the cursor, on both sides of a
        pooler."""

    @property
    def place(self) -> int:
        """The place of the row under the cursor; -1 if there is none."""
        return self.view.listing.place(self.cursor) if len(self.view.listing) else -1

    @property
    def is_on_line(self) -> bool:
        """Whether there is a line under the cursor. (Every action asks this at every key: what the
        line holds would be looked up each time.)"""
        return self.cursor < len(self.view.listing)

    @property
    def item(self) -> Item | None:
        """The line under the cursor."""
        return self.view.listing[self.cursor] if self.is_on_line else None

    @property
    def new(self) -> int:
        """How many lines have come since following ended and have not been visible."""
        return self.view.listing.lines_behind(self._seen_place) if self.view.reading.growing and not self.following else 0

    @property
    def position(self) -> tuple[str, str]:
        """The cursor's position for the footer, and its role."""
        if not self.count():
            return "", "dim"
        if self.following:
            return "follow", "backend"
        new = f"  ▼ {self.new} new  G" if self.new else ""
        return f"{self.cursor + 1}/{self.count()}{new}", "attention" if new else "dim"

    def hints(self) -> Hints:
        view, item = self.view, self.item
        found = [("enter", "inspect"), *([("r", "other side")] if view.lanes.across(self.place) else [])]
        if self.walks_matches:
            found += [("n", "next match")]
        elif view.survey.problems or view.snapshot.findings:
            found += [("n", "next problem")]
        filtered = not view.listing.filtering.everything
        found += (
            [("esc", "back"), ("/", "filter"), ("\\", "hide" if view.listing.dims else "dim")]
            if filtered
            else [("/", "filter"), ("c", "connection")]
        )
        if view.waterfall:
            found += [
                ("z", "this row"),
                ("+ -", "zoom"),
                *([("Z", "all rows"), ("h l", "scroll")] if self._zoom.window else []),
                ("w", "columns"),
            ]
        found += [("y", "copy"), ("t", "time")]
        found += [("space", "go on" if view.reading.paused else "pause")] if view.reading.growing or view.reading.paused else []
        found += [("x", "unfold" if item is not None and item.folded else "fold")] if self._may_fold else []
        return (*found, ("?", "help"))

    def count(self) -> int:
        return len(self.view.listing)

    def refresh_list(self) -> None:
        """Find the cursor's row again after the listing changed, and draw. In a finished capture
        the cursor begins at the first row.
        """
        if self._fresh and self.view.reading.loaded:
            self._fresh = False
            if self.following and self.view.trace.ended:
                self.following = False
                self.cursor, self._place = 0, -1
        self._settle()
        self.redraw()

    def build(self, width: int, height: int) -> list[Strip]:
        """Heads and rows; the axis spans the rows in sight."""
        self._settle()
        view, end = self.view, min(self.count(), self.top + self.page_lines)
        self._seen_place = view.listing.rows - 1 if self.following else max(self._seen_place, self.place_at(end - 1))
        self._items = [view.listing[index] for index in range(self.top, end)]
        self._in_sight = self._columns(width)
        self._axis = self._axis_on(self._in_sight)
        self._near = surroundings(view.listing, self.top, self._items, self.sideways)
        self._same = view.lanes.together(self.place) if self.item is not None else set()
        view.reading.unfinished |= any(item.sum.partial for item in self._items)
        drawn = super().build(width, height)
        if not self._items and not view.listing.filtering.everything:
            drawn.append(Line(view.pen, width).add(f"  {self._nothing}", "dim").strip())
        return drawn

    def heads(self, width: int) -> list[Strip]:
        return [rowline.head(self.view, self._columns(width), width, self._axis)]

    def line(self, index: int, width: int, *, selected: bool) -> Strip:
        item, near = self._items[index - self.top], self._near[index - self.top]
        same = not self._same.isdisjoint(item.places)
        return rowline.row(self.view, item, self._in_sight, width, self._axis, near, selected=selected, same=same)

    def example(self, width: int) -> list[Strip]:
        """The heads, a round trip and its words, at any width: near the cursor, the one with the
        most different messages; nothing if there is none."""
        near = range(max(0, self.cursor - EXAMPLE_LOOKS), min(self.count(), self.cursor + EXAMPLE_LOOKS))
        wholes = [(one, abs(index - self.cursor)) for index in near if _is_whole(one := self.view.listing[index])]
        if not wholes:
            return []
        item, _ = max(wholes, key=lambda one: (_letters(one[0]), -one[1]))
        shown = self._columns(width)
        axis = self._axis_on(shown)
        head = rowline.head(self.view, shown, width, axis)
        row = rowline.row(self.view, item, shown, width, axis, Surroundings(), selected=False)
        words = Line(self.view.pen, width).add(" ")
        for text, role in rowtext.spelled(item, self.view.pen, width - 2):
            words.add(text, role)
        return [head, row, words.strip()]

    def _axis_on(self, shown: tuple[Column, ...]) -> Axis:
        """The axis of the rows in sight, as wide as its column."""
        bar = next((column.width for column in shown if column.name == "bar"), 12)
        spans = [(item.opened_ns, self.view.item_end_ns(item)) for item in self._items if item.row.is_round_trip]
        return Axis(spans, bar, self._zoom.window if self.view.waterfall else None)

    @property
    def _nothing(self) -> str:
        """Why the list is empty."""
        return "searching …" if self.view.listing.behind else "no round trip matches; esc shows all"

    def moved(self) -> None:
        self._place = self.place
        self.redraw()
        self.post_message(self.Moved())

    def go(self, index: int) -> None:
        if index < self.cursor:
            self.unfollow()
        super().go(index)

    def go_to_place(self, place: int) -> None:
        """Move the cursor to the line that shows a row."""
        self.unfollow()
        super().go(self.view.listing.index(place))

    def go_to_time(self, time_ns: int) -> None:
        """Move the cursor to the first line that began then or later."""
        self.unfollow()
        super().go(moving.index_at(self.view.listing, time_ns))

    def go_to_slow(self, direction: int, least_ns: int) -> bool:
        """Move the cursor to the next or previous round trip that took at least that long. Returns
        whether there is one.
        """
        return self._go(lambda item: moving.next_slow(self.view.listing, item, direction, least_ns))

    def go_to_same(self, direction: int) -> bool:
        """Move the cursor to the next or previous row of the same statement. Returns whether there
        is one.
        """
        return self._go(lambda item: moving.next_same(self.view.listing, item, direction))

    def go_to_problem(self, direction: int) -> bool:
        """Move the cursor to the next or previous error, gap or first row of a finding; while rows
        that do not match are dim, to a row that matches. Returns whether there is one.
        """
        if self.walks_matches:
            return self.go_to_match(direction)
        return self._go(lambda item: moving.next_problem(self.view.listing, item, direction, self.view.problems()))

    def go_to_match(self, direction: int) -> bool:
        """Move the cursor to the next or previous row that matches the filter. Returns whether
        there is one.
        """
        return self._go(lambda item: self.view.listing.next_match(item, direction))

    def go_to_execution(self) -> None:
        """If the row under the cursor runs nothing, put it on the first match below that does: a
        Bind has the values, a Parse has none."""
        listing = self.view.listing
        for index in range(self.cursor, min(self.count(), self.cursor + EXAMPLE_LOOKS)):
            if listing[index].row.shape.executions and listing.matches(listing[index]):
                if index != self.cursor:
                    self.go(index)
                return

    def _go(self, found: Callable[[Item], int | None]) -> bool:
        place = found(self.item) if self.item is not None else None
        if place is not None:
            self.go_to_place(place)
        return place is not None

    @property
    def connection(self) -> int | None:
        """The connection of the row under the cursor; a mark has none."""
        item = self.item
        return item.row.connection if item is not None and item.row.shape.kind is not RowKind.MARK else None

    @property
    def walks_matches(self) -> bool:
        """Whether `n` goes to rows that match, because problems do not stand out while they are
        dim.
        """
        return self.view.listing.dims and not self.view.listing.filtering.everything

    def unfollow(self) -> None:
        """Stay where the cursor is."""
        if self.following:
            self.following = False
            self._seen_place = self.view.listing.rows - 1

    def open(self) -> None:
        self.post_message(self.Opened())

    def action_open(self) -> None:
        self.open()

    async def on_click(self, event: events.Click) -> None:
        """Show a clicked connection alone; unfold at a click on a fold's sign."""
        await super().on_click(event)
        column = next((column for column in self._columns(self.size.width) if column.start <= event.x < column.end), None)
        if event.button == RIGHT_BUTTON or event.chain > 1 or event.y < self.HEADS or column is None or self.item is None:
            return
        if column.name == "cn" and self.item.row.shape.kind is not RowKind.MARK:
            await self.run_action("screen.only_connection")
        elif column.name == "flight" and event.x == column.start and self.item.folded:
            self.action_fold()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether the action has a use: there is a row, something can be folded, the axis is
        zoomed, or the capture grows.
        """
        if action == "open":
            return self.is_on_line
        if action == "fold":
            return self._may_fold
        if action == "unzoom":
            return self.view.waterfall and self._zoom.window is not None
        if action in ("zoom", "zoom_to_row"):
            return self.view.waterfall and self.item is not None and self.item.row.is_round_trip
        return self._may_follow if action == "follow" else True

    def action_last(self) -> None:
        self.following = self._may_follow
        super().action_last()

    def action_follow(self) -> None:
        """Start or end following."""
        if self.following:
            self.unfollow()
            self.moved()
        else:
            self.action_last()

    def action_fold(self) -> None:
        """Fold or unfold the group at the cursor."""
        if self._place >= 0 and self.view.listing.toggle(self._place):
            self.view.reading.sync()
            self.refresh_list()
            self.post_message(self.Moved())

    def action_times(self) -> None:
        """Show the next kind of time in the time column."""
        self.view.times = rowtext.TIMES[(rowtext.TIMES.index(self.view.times) + 1) % len(rowtext.TIMES)]
        self.redraw()

    def action_waterfall(self) -> None:
        """Show wide bars, or rows and bytes."""
        self.view.waterfall = not self.view.waterfall
        self.redraw()
        self.post_message(self.Moved())

    def action_zoom_to_row(self) -> None:
        """Span the row under the cursor."""
        if self.item is not None:
            self._zoom.show(self.item.opened_ns, self.view.item_end_ns(self.item))
            self._zoomed()

    def action_unzoom(self) -> None:
        """Span the rows in sight again."""
        self._zoom.show_all()
        self._zoomed()

    def action_zoom(self, closer: int) -> None:
        """Halve or double the time that is spanned around the row under the cursor."""
        if self.item is not None:
            self._zoom.closer(self.item.opened_ns, self.view.item_end_ns(self.item), self._axis.span_ns, closer)
            self._zoomed()

    def action_sideways(self, steps: int) -> None:
        """Scroll SQL, or the axis while it is zoomed."""
        if self.view.waterfall and self._zoom.window is not None:
            self._zoom.move(steps)
            self._zoomed()
        else:
            super().action_sideways(steps)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Begin a drag on the axis."""
        self._zoom.drag(self._moment(event.x) if event.y < self.HEADS else None)

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """Span what was dragged over."""
        if self._zoom.drop(self._moment(event.x)):
            self._zoomed()

    def _moment(self, x: int) -> int | None:
        """The time at a cell of the axis; None outside it or without a waterfall."""
        bar = next((column for column in self._columns(self.size.width) if column.name == "bar"), None)
        return self._axis.time_at(x - bar.start) if self.view.waterfall and bar is not None and bar.start <= x < bar.end else None

    def _zoomed(self) -> None:
        self.redraw()
        self.post_message(self.Moved())

    @property
    def _may_fold(self) -> bool:
        """Whether the row under the cursor belongs to a group."""
        listing = self.view.listing
        return bool(len(listing)) and listing.folds.foldable(listing.place(self.cursor)) is not Together.NOTHING

    @property
    def _may_follow(self) -> bool:
        return self.view.source.live and not self.view.trace.ended

    def _columns(self, width: int) -> tuple[Column, ...]:
        view = self.view
        return columns(
            width,
            driver=not view.single_driver,
            connection=view.connection_cells,
            waterfall=view.waterfall,
            joined=view.lanes.joins is not None,
            sites=not view.trace.call_sites.is_empty,
        )

    def _settle(self) -> None:
        """Move the cursor back to its row, on the same line of the screen."""
        count, page = self.count(), self.page_lines
        if self.following:
            self.cursor, self.top = max(0, count - 1), max(0, count - page)
            self._place = self.place
            return
        if self._place >= 0 and count and self.place_at(self.cursor) != self._place:
            on_screen = self.cursor - self.top
            self.cursor = self.view.listing.index(self._place)
            self.top = self.cursor - on_screen
        self.keep_in_sight()
        if self._place < 0:
            self._place = self.place

    def place_at(self, index: int) -> int:
        """The place of a line, -1 beyond the end."""
        return self.view.listing.place(index) if 0 <= index < self.count() else -1
