"""A table pane: columns that fit the width, a sort order, and below it the selected item in full.

model/fields.py has the columns, model/gathering.py decides when items are gathered. The cursor
stays on its item; until it is moved it stays at the top.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Final, Generic

from textual import events
from textual.binding import BindingType
from textual.message import Message
from textual.strip import Strip

from pgtrace.tui.model import cells
from pgtrace.tui.model.columns import Column
from pgtrace.tui.model.copying import Offer
from pgtrace.tui.model.fields import Field, T, fit
from pgtrace.tui.model.gathering import BUDGET_S, FIRST_BUDGET_S, Gathering
from pgtrace.tui.model.view import View
from pgtrace.tui.widgets import lines
from pgtrace.tui.widgets.base import RIGHT_BUTTON, Chosen, ListWidget
from pgtrace.tui.widgets.bound import bindings
from pgtrace.tui.widgets.lines import Line, blank

SLICE: Final = 64
"""How many items are handled before the clock is checked again."""
_DETAILS_FROM: Final = 14
"""From this height on, the item under the cursor is shown in full below."""
_DETAILS_LEAST: Final = 8


class TablePane(ListWidget, Generic[T]):
    """A table. Subclasses provide its items, and the details of an item."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("table")
    HINTS = (("enter", "its round trips"), ("s", "sort"), ("S", "reverse"), ("y", "copy"), ("1", "timeline"), ("?", "help"))
    HEADS = 1
    FIELDS: ClassVar[tuple[Field[Any], ...]] = ()
    SORTS: ClassVar[tuple[str, ...]] = ()
    """Names of fields, in the order of `s`."""
    LEAST: ClassVar[int] = 20
    """The least width of the flexible column, in cells, before another column is shown."""
    NOTHING: ClassVar[str] = ""
    """The text that is shown if the table is empty."""

    def __init__(self, view: View, *, id: str | None = None) -> None:
        super().__init__(view, id=id)
        self.items: list[T] = []
        self.sorted_by = self.SORTS[0]
        self.reversed = False
        self._fields = {field.name: field for field in self.FIELDS}
        self._chosen: object = None
        """The item on which the cursor stays, once it was moved."""
        self._gathering = Gathering(self._gathered)
        self._turn = -1
        """The turn of the filter for which the items were gathered."""
        self._position = self.position

    class Moved(Message):
        """The cursor or the length has changed."""

    # To be provided by subclasses.

    @abstractmethod
    def gather(self) -> Iterator[list[T] | None]:
        """Gather the items, in any order: yields None after each slice of work, then the items."""

    @abstractmethod
    def identity(self, item: T) -> object:
        """The key that identifies an item from one gathering to the next."""

    @abstractmethod
    def title(self, item: T) -> str:
        """The title of an item's details."""

    @abstractmethod
    def details(self, item: T, width: int) -> Iterator[Strip]:
        """The lines of an item's details."""

    @abstractmethod
    def filter(self, item: T) -> str:
        """The filter for an item's rows in the timeline; empty if there is none."""

    @abstractmethod
    def offers(self) -> list[Offer]:
        """The parts that can be copied of the item under the cursor."""

    def first(self, item: T) -> bool:
        """Whether an item comes before all others, whatever the sort order."""
        return False

    def note(self) -> str:
        """A note about the whole table, below it."""
        return ""

    # Gathering.

    def advance(self, now_s: float, budget_s: float = BUDGET_S) -> bool:
        """Continue to gather for that long. Returns whether the table has changed."""
        view = self.view
        if view.is_filtered and view.selected is None:
            return False
        source = (view.snapshot, view.listing.filtering.turn, view.counted.sums) if view.is_filtered else (view.snapshot,)
        return self._gathering.advance(source, now_s, budget_s)

    def gather_again(self) -> None:
        """Gather again at once, for another filter or another moment."""
        self._gathering.restart()
        if self.display:
            self.advance(time.monotonic(), FIRST_BUDGET_S)
            self.redraw()

    def gather_anew(self) -> None:
        """Gather again, because the items have changed."""
        self._gathering.restart()
        self._chosen = None
        self.cursor = self.top = 0
        self.advance(time.monotonic(), FIRST_BUDGET_S)
        self.redraw()

    def _gathered(self) -> Iterator[bool]:
        found: list[T] = []
        turn = self.view.listing.filtering.turn
        for gathered in self.gather():
            found = gathered if gathered is not None else found
            yield False
        self._turn = turn
        yield from self._order(found)

    def _order(self, found: list[T]) -> Iterator[bool]:
        """Sort the items in slices; yields True at the end."""
        key = self._fields[self.sorted_by].key or (lambda _, item: 0)
        keyed: list[tuple[Any, int]] = []
        for number, item in enumerate(found):
            keyed.append(((self.first(item) != self.reversed, key(self, item)), number))
            if not number % SLICE:
                yield False
        keyed.sort(key=_first_of, reverse=not self.reversed)
        self.items = [found[number] for _, number in keyed]
        self._find()
        yield True

    def _find(self) -> None:
        """Move the cursor to its item."""
        if self._chosen is None:
            return
        on_screen = self.cursor - self.top
        found = next((number for number, item in enumerate(self.items) if self.identity(item) == self._chosen), None)
        if found is not None:
            self.cursor = found
            self.top = max(0, found - on_screen)

    # Drawing.

    @property
    def item(self) -> T | None:
        """The item under the cursor."""
        return self.items[self.cursor] if self.cursor < len(self.items) else None

    @property
    def column_looked_at(self) -> str:
        return self.sorted_by

    @property
    def position(self) -> tuple[str, str]:
        return (f"{self.cursor + 1}/{len(self.items)}", "dim") if self.items else ("", "dim")

    @property
    def details_lines(self) -> int:
        """The number of lines below the table, with its rule."""
        height = self.size.height
        return max(_DETAILS_LEAST, height * 2 // 5) if height >= _DETAILS_FROM else 0

    @property
    def page_lines(self) -> int:
        return max(1, self.size.height - self.HEADS - self.details_lines - bool(self.note()))

    def count(self) -> int:
        return len(self.items)

    def columns(self, width: int) -> tuple[Column, ...]:
        """The columns at that width."""
        return fit(tuple((field.name, field.gap, self._wide(field), field.rank) for field in self.FIELDS), self.LEAST, width)

    def _wide(self, field: Field[Any]) -> int:
        """The width of a column; the sort column has room for its sign."""
        return max(field.width, len(field.name) + 1) if field.width and field.name == self.sorted_by else field.width

    def build(self, width: int, height: int) -> list[Strip]:
        pen = self.view.pen
        drawn = super().build(width, height)
        if not self.items:
            drawn.append(Line(pen, width).add(f"  {self._nothing}", "dim").strip())
        note = "counting …" if self.view.is_filtered and not self._is_of_the_filter else self.note()
        drawn += [blank(pen, width)] * (height - len(drawn) - self.details_lines - bool(note))
        drawn += [Line(pen, width).add(f" {note}", "dim").strip()] if note else []
        if self.item is not None and self.details_lines:
            drawn.append(lines.rule(pen, width, self.title(self.item), "enter: its round trips" if self.filter(self.item) else ""))
            drawn += [strip for strip, _ in zip(self.details(self.item, width), range(self.details_lines - 1), strict=False)]
        return drawn

    @property
    def _is_of_the_filter(self) -> bool:
        """Whether the items are those of the filter in force."""
        return self.view.selected is not None and self._turn == self.view.listing.filtering.turn

    @property
    def _nothing(self) -> str:
        """Why the table is empty."""
        if self._gathering.under_way or (self.view.is_filtered and not self._is_of_the_filter):
            return "counting …"
        if self.view.is_filtered:
            return "nothing matches the filter; esc shows all"
        return f"{self.NOTHING} yet{self.view.how_to_begin}" if self.view.reading.growing else self.NOTHING

    def heads(self, width: int) -> list[Strip]:
        line = Line(self.view.pen, width, "head")
        for column in self.columns(width):
            field = self._fields[column.name]
            title, mark = field.name if field.title is None else field.title, ""
            if field.name == self.sorted_by:
                mark = "▴" if self.reversed != field.rising else "▾"
            line.to(column.start)
            line.add(cells.cut(title, column.width - len(mark)) + mark, "dim", column.width, right=field.right)
        return [line.strip()]

    def line(self, index: int, width: int, *, selected: bool) -> Strip:
        item = self.items[index]
        line = Line(self.view.pen, width, "selected" if selected else "background").add("▌" if selected else " ", "you")
        for column in self.columns(width):
            field = self._fields[column.name]
            line.to(column.start)
            runs = field.cell(self, item, column.width)
            if len(runs) == 1:
                line.add(runs[0][0], runs[0][1], column.width, right=field.right)
                continue
            end = column.end
            for text, role in runs:
                line.add(text, role, min(cells.width(text), max(0, end - line.used)))
        return line.strip()

    # Keys.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "open":
            return self.item is not None and bool(self.filter(self.item))
        return True

    def moved(self) -> None:
        self._gathering.touched()
        self._chosen = self.identity(self.item) if self.item is not None else None
        self.redraw()

    def open(self) -> None:
        if self.item is not None and self.filter(self.item):
            self.post_message(Chosen(self.filter(self.item)))

    def action_open(self) -> None:
        self.open()

    def action_sort(self) -> None:
        """Sort by the next column."""
        self._sort(self.SORTS[(self.SORTS.index(self.sorted_by) + 1) % len(self.SORTS)], reverse=False)

    def action_reverse(self) -> None:
        """Reverse the order."""
        self._sort(self.sorted_by, reverse=not self.reversed)

    async def on_click(self, event: events.Click) -> None:
        """Sort by a clicked heading; at a second click reverse the order."""
        await super().on_click(event)
        column = next((column for column in self.columns(self.size.width) if column.start <= event.x < column.end), None)
        if event.y < self.HEADS and event.button != RIGHT_BUTTON and column is not None and column.name in self.SORTS:
            self._sort(column.name, reverse=column.name == self.sorted_by and not self.reversed)

    def _sort(self, name: str, *, reverse: bool) -> None:
        self.sorted_by, self.reversed = name, reverse
        if self._chosen is None:
            self.cursor = self.top = 0
        self._gathering.sort(self._order(self.items))
        self.advance(time.monotonic(), FIRST_BUDGET_S)
        self.redraw()

    def redraw(self) -> None:
        """Redraw, and have the footer show the position if it has changed."""
        before = self._position
        super().redraw()
        self._position = self.position
        if self._position != before:
            self.post_message(self.Moved())


def _first_of(keyed: tuple[Any, int]) -> Any:
    return keyed[0]
