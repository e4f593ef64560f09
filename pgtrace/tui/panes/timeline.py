"""The timeline: one line for each row in sight, newest at the bottom.

The cursor belongs to a round trip, not to a line: folding, filtering and new rows leave it on the same row or its nearest visible neighbour, and
on the same line of the screen. Following, it is on the last row. Any move up ends following, `G` starts it again; what came since is counted.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.message import Message
from textual.strip import Strip

from pgtrace.trace.rows import Kind, Row
from pgtrace.tui.model import moving, rowtext
from pgtrace.tui.model.axis import Axis
from pgtrace.tui.model.columns import Column, columns
from pgtrace.tui.model.groups import Together
from pgtrace.tui.model.keys import Hints
from pgtrace.tui.model.listing import Item
from pgtrace.tui.model.view import View
from pgtrace.tui.panes import rowline
from pgtrace.tui.panes.rowline import Surroundings
from pgtrace.tui.widgets.base import RIGHT_BUTTON, ListWidget
from pgtrace.tui.widgets.bound import bindings
from pgtrace.tui.widgets.lines import Line

MOST_ZOOM_NS = 1000
"""What the axis spans at the least."""
LOOK_BACK = 50
"""Lines above the window that are searched for a connection's row before."""


class Timeline(ListWidget):
    """The rows of the trace."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("timeline")
    HEADS = 1

    class Moved(Message):
        """Another row is under the cursor."""

    class Opened(Message):
        """The row under the cursor is to be inspected."""

    def __init__(self, view: View, *, id: str | None = None) -> None:
        super().__init__(view, id=id)
        self.following = view.source.live
        self.seen = 0
        """Lines that have been in sight, or were there when following ended."""
        self._fresh = True
        self._place = -1
        self._axis = Axis((), 12)
        self._window: tuple[int, int] | None = None
        self._dragged: int | None = None
        self._near: dict[int, Surroundings] = {}

    @property
    def place(self) -> int:
        """The place of the row under the cursor, -1 where there is none."""
        return self.view.listing.place(self.cursor) if len(self.view.listing) else -1

    @property
    def item(self) -> Item | None:
        """The line under the cursor."""
        return self.view.listing[self.cursor] if self.cursor < len(self.view.listing) else None

    @property
    def new(self) -> int:
        """Lines that came since following ended and have not been in sight."""
        return max(0, self.count() - self.seen) if self.view.growing and not self.following else 0

    @property
    def position(self) -> tuple[str, str]:
        """Where the cursor stands, for the footer, and its role."""
        if not self.count():
            return "", "dim"
        if self.following:
            return "follow", "backend"
        new = f"  ▼ {self.new} new  G" if self.new else ""
        return f"{self.cursor + 1}/{self.count()}{new}", "attention" if new else "dim"

    def hints(self) -> Hints:
        view, item = self.view, self.item
        found = [("enter", "inspect")]
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
                *([("Z", "all rows"), ("h l", "scroll")] if self._window else []),
                ("w", "columns"),
            ]
        found += [("y", "copy"), ("t", "time")]
        found += [("space", "go on" if view.paused else "pause")] if view.growing or view.paused else []
        found += [("x", "unfold" if item is not None and item.folded else "fold")] if self._may_fold else []
        return (*found, ("?", "help"))

    def count(self) -> int:
        return len(self.view.listing)

    def refresh_list(self) -> None:
        """The listing changed: find the cursor's row again and draw. A capture that has ended is read from its beginning."""
        if self._fresh and self.view.loaded:
            self._fresh = False
            if self.following and self.view.trace.ended:
                self.following = False
                self.cursor, self._place = 0, -1
        self._settle()
        self.redraw()

    def build(self, width: int, height: int) -> list[Strip]:
        """Heads and rows; the axis spans the rows in sight."""
        self._settle()
        end = min(self.count(), self.top + self.page_lines)
        self.seen = self.count() if self.following else max(self.seen, end)
        items = [self.view.listing[index] for index in range(self.top, end)]
        layout = self._columns(width)
        bar = next((column.width for column in layout if column.name == "bar"), 12)
        trips = [item for item in items if item.row.is_round_trip]
        self._axis = Axis(
            [(item.opened_ns, self.view.item_end_ns(item)) for item in trips], bar, self._window if self.view.waterfall else None
        )
        near = self._surroundings(items)
        self.view.unfinished |= any(item.sum.partial for item in items)
        drawn = [rowline.head(self.view, layout, width, self._axis)]
        for number, item in enumerate(items):
            selected = self.top + number == self.cursor
            drawn.append(rowline.row(self.view, item, layout, width, self._axis, near[number], selected=selected))
        if not items and not self.view.listing.filtering.everything:
            drawn.append(Line(self.view.pen, width).add(f"  {self._nothing}", "dim").strip())
        return drawn

    def under_cursor(self, width: int) -> list[Strip]:
        """The heads and the row under the cursor, at any width."""
        item, layout = self.item, self._columns(width)
        if item is None:
            return []
        return [
            rowline.head(self.view, layout, width, self._axis),
            rowline.row(self.view, item, layout, width, self._axis, Surroundings(), selected=False),
        ]

    @property
    def _nothing(self) -> str:
        """Why the list is empty."""
        return "looking for it …" if self.view.listing.behind else "no round trip matches; esc shows all"

    def moved(self) -> None:
        self._place = self.place
        self.redraw()
        self.post_message(self.Moved())

    def go(self, index: int) -> None:
        if index < self.cursor:
            self.unfollow()
        super().go(index)

    def go_to_place(self, place: int) -> None:
        """Put the cursor on the line that shows a row."""
        self.unfollow()
        super().go(self.view.listing.index(place))

    def go_to_time(self, time_ns: int) -> None:
        """Put the cursor on the first line that began then or later."""
        self.unfollow()
        super().go(moving.index_at(self.view.listing, time_ns))

    def go_to_slow(self, direction: int, least_ns: int) -> bool:
        """Put the cursor on the next or previous round trip that took at least so long; whether there is one."""
        return self._go_found(moving.next_slow(self.view.listing, self.item, direction, least_ns) if self.item is not None else None)

    def go_to_same(self, direction: int) -> bool:
        """Put the cursor on the next or previous row of the same statement; whether there is one."""
        return self._go_found(moving.next_same(self.view.listing, self.item, direction) if self.item is not None else None)

    def go_to_problem(self, direction: int) -> bool:
        """Put the cursor on the next error, gap or first row of a finding, or the previous one; while others are dim, on the next row that matches;
        whether there is one."""
        if self.walks_matches:
            return self.go_to_match(direction)
        item = self.item
        if item is None:
            return False
        problems = self.view.problems()
        places = problems[bisect_right(problems, item.place) :] if direction > 0 else problems[: bisect_left(problems, item.place)][::-1]
        return self._go_found(next((place for place in places if place not in item.places and self.view.listing.shows(place)), None))

    def _go_found(self, place: int | None) -> bool:
        if place is not None:
            self.go_to_place(place)
        return place is not None

    def go_to_match(self, direction: int) -> bool:
        """Put the cursor on the next row that matches the filter, or the previous one; whether there is one."""
        place = self.view.listing.next_match(self.item, direction) if self.item is not None else None
        if place is not None:
            self.go_to_place(place)
        return place is not None

    @property
    def connection(self) -> int | None:
        """The connection of the row under the cursor; a mark has none."""
        item = self.item
        return item.row.connection if item is not None and item.row.shape.kind is not Kind.MARK else None

    @property
    def walks_matches(self) -> bool:
        """Whether `n` goes to what matches: problems do not stand out while they are dim."""
        return self.view.listing.dims and not self.view.listing.filtering.everything

    def unfollow(self) -> None:
        """Stay where the cursor is."""
        if self.following:
            self.following = False
            self.seen = self.count()

    def open(self) -> None:
        self.post_message(self.Opened())

    def action_open(self) -> None:
        self.open()

    async def on_click(self, event: events.Click) -> None:
        """A click on a connection shows it alone, one on a fold's sign unfolds it."""
        await super().on_click(event)
        column = next((column for column in self._columns(self.size.width) if column.start <= event.x < column.end), None)
        if event.button == RIGHT_BUTTON or event.chain > 1 or event.y < self.HEADS or column is None or self.item is None:
            return
        if column.name == "cn" and self.item.row.shape.kind is not Kind.MARK:
            await self.run_action("screen.only_connection")
        elif column.name == "flight" and event.x == column.start and self.item.folded:
            self.action_fold()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether there is something to fold, and an end that moves."""
        if action == "fold":
            return self._may_fold
        if action == "unzoom":
            return self.view.waterfall and self._window is not None
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
            self.view.sync()
            self.refresh_list()
            self.post_message(self.Moved())

    def action_times(self) -> None:
        """What the time column says next."""
        self.view.times = rowtext.TIMES[(rowtext.TIMES.index(self.view.times) + 1) % len(rowtext.TIMES)]
        self.redraw()

    def action_waterfall(self) -> None:
        """Wide bars, or rows and bytes."""
        self.view.waterfall = not self.view.waterfall
        self.redraw()
        self.post_message(self.Moved())

    def action_zoom_to_row(self) -> None:
        """The axis is the row under the cursor."""
        if self.item is not None:
            self._zoom_to(self.item.opened_ns, self.view.item_end_ns(self.item))

    def action_unzoom(self) -> None:
        """The axis spans the rows in sight again."""
        self._window = None
        self.redraw()
        self.post_message(self.Moved())

    def action_zoom(self, closer: int) -> None:
        """Half as much time around the row under the cursor, or twice as much."""
        if self.item is None:
            return
        axis, start = self._axis, self.item.opened_ns
        half = max(MOST_ZOOM_NS, axis.span_ns // 4 if closer > 0 else axis.span_ns)
        middle = (start + min(self.view.item_end_ns(self.item), start + half)) // 2
        self._zoom_to(middle - half, middle + half)

    def action_sideways(self, steps: int) -> None:
        """SQL, or the axis while it is zoomed."""
        if not self.view.waterfall or self._window is None:
            super().action_sideways(steps)
            return
        start, end = self._window
        step = (end - start) // 4 * steps
        self._zoom_to(start + step, end + step)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """A drag on the axis begins."""
        self._dragged = self._moment(event.x) if event.y < self.HEADS else None

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """The axis is what was dragged over."""
        begun, ended, self._dragged = self._dragged, self._moment(event.x), None
        if begun is not None and ended is not None and begun != ended:
            self._zoom_to(min(begun, ended), max(begun, ended))

    def _moment(self, x: int) -> int | None:
        """What moment stands at a cell of the axis; None beside it or without a waterfall."""
        bar = next((column for column in self._columns(self.size.width) if column.name == "bar"), None)
        return self._axis.time_at(x - bar.start) if self.view.waterfall and bar is not None and bar.start <= x < bar.end else None

    def _zoom_to(self, start_ns: int, end_ns: int) -> None:
        start_ns = max(0, start_ns)
        self._window = (start_ns, max(end_ns, start_ns + MOST_ZOOM_NS))
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
        return columns(width, driver=not self.view.single_driver, connection=self.view.connection_cells, waterfall=self.view.waterfall)

    def _settle(self) -> None:
        """Bring the cursor back to its row, on the same line of the screen."""
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

    def _surroundings(self, items: list[Item]) -> list[Surroundings]:
        """For each line in sight: the row above it, and its connection's row before. A mark is no connection's."""
        above: Row | None = None
        latest: dict[int, Item] = {}
        found = []
        for index, item in enumerate([*(self.view.listing[place] for place in range(max(0, self.top - LOOK_BACK), self.top)), *items]):
            row = item.row
            same = latest.get(row.connection)
            if index >= min(self.top, LOOK_BACK):
                found.append(
                    Surroundings(
                        above_ns=above.opened_ns if above else None,
                        same_ns=same.opened_ns if same else None,
                        same_end_ns=same.end_ns if same else None,
                        same_sql=same.row.label.sql if same else "",
                        sideways=self.sideways,
                    )
                )
            above = row
            if row.shape.kind is not Kind.MARK:
                latest[row.connection] = item
        return found
