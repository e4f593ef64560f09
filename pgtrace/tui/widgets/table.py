"""A pane that is a table: columns that fit the width, an order, a cursor that stays on its item, and the item spelled out below.

Which columns there are is a pure function of the width: those of rank 0 always, the others by rank as long as the flexible one keeps its minimum; what is
left is the flexible one's. Each line fills the width exactly.

What a table is about is gathered by and by, a few milliseconds a tick, so that fifty thousand statements never block the screen; until it is complete the
table before it stands. It is gathered again when the view has a new snapshot, at most once a second and once in ten times what it took, and never while
somebody is at the keys. The cursor stays on its item; until it is moved it stays on top.
"""

from __future__ import annotations

import functools
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Generic, TypeVar

from textual import events
from textual.binding import BindingType
from textual.message import Message
from textual.strip import Strip

from pgtrace import sanitise
from pgtrace.tui.model import cells, figures
from pgtrace.tui.model.columns import Column
from pgtrace.tui.model.copying import Offer
from pgtrace.tui.model.theme import Pen
from pgtrace.tui.model.view import View
from pgtrace.tui.widgets import lines
from pgtrace.tui.widgets.base import RIGHT_BUTTON, Chosen, ListWidget
from pgtrace.tui.widgets.bound import bindings
from pgtrace.tui.widgets.lines import Line, blank

AGAIN_S: Final = 1.0
"""How often a table is gathered anew at most."""
AT_KEYS_S: Final = 2.0
"""How long after a key nothing moves."""
BUDGET_S: Final = 0.006
"""Spent on gathering in a tick, as the processor counts it."""
FIRST_BUDGET_S: Final = 0.03
"""Spent at once when there is nothing to show yet."""
SLICE: Final = 64
"""Items between two looks at the clock."""
_DETAILS_FROM: Final = 14
"""Lines from which on the item under the cursor is spelled out below."""
_DETAILS_LEAST: Final = 8
_LABEL_CELLS: Final = 12
_LONGEST: Final = 8_000

T = TypeVar("T")
Runs = list[tuple[str, str]]
"""Pieces of text with their roles."""


@dataclass(frozen=True, slots=True)
class Field(Generic[T]):
    """One column of a table. A width of 0 is the flexible one, of which there is one."""

    name: str
    width: int
    cell: Callable[[Any, T, int], Runs]
    """Pieces for a pane, an item and the column's width."""
    rank: int = 0
    right: bool = True
    key: Callable[[Any, T], Any] | None = None
    """What it is sorted by, the greatest first."""
    rising: bool = False
    """What is read there rises where the key falls."""
    gap: int = 1
    title: str | None = None


@functools.lru_cache(maxsize=512)
def fit(fields: tuple[tuple[str, int, int, int], ...], least: int, width: int) -> tuple[Column, ...]:
    """The columns of a line of `width` cells. A field is its name, gap, width and rank; the one without width has at least `least` cells."""
    ranks = sorted({rank for _, _, _, rank in fields})
    taken = 0
    for rank in ranks:
        needed = 2 + sum(gap + (wide or least) for _, gap, wide, own in fields if own <= rank)
        if rank and needed > width:
            break
        taken = rank
    shown = [field for field in fields if field[3] <= taken]
    rest = max(1, width - 2 - sum(gap + wide for _, gap, wide, _ in shown))
    made, position = [], 1
    for name, gap, wide, _ in shown:
        wide = min(wide or rest, width - 1 - position - gap)
        if wide <= 0:
            break
        made.append(Column(name, position + gap, wide))
        position += gap + wide
    return tuple(made)


class TablePane(ListWidget, Generic[T]):
    """The table. What is in it, and what it says of one item, is its children's."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("table")
    HINTS = (("enter", "its round trips"), ("s", "sort"), ("S", "reverse"), ("y", "copy"), ("1", "timeline"), ("?", "help"))
    HEADS = 1
    FIELDS: ClassVar[tuple[Field[Any], ...]] = ()
    SORTS: ClassVar[tuple[str, ...]] = ()
    """Names of fields, in the order of `s`."""
    LEAST: ClassVar[int] = 20
    """Cells of the flexible column before another one comes."""
    NOTHING: ClassVar[str] = ""
    """Said where the table is empty."""

    def __init__(self, view: View, *, id: str | None = None) -> None:
        super().__init__(view, id=id)
        self.items: list[T] = []
        self.sorted_by = self.SORTS[0]
        self.reversed = False
        self._fields = {field.name: field for field in self.FIELDS}
        self._chosen: object = None
        """What the cursor stays on, once it was moved."""
        self._source: object = None
        self._work: Iterator[bool] | None = None
        self._work_s = 0.0
        self._next_s = 0.0
        self._touched_s = -AT_KEYS_S

        self._position = self.position

    class Stands(Message):
        """The cursor, or the length, is another one."""

    # What a table says.

    def gather(self) -> Iterator[list[T] | None]:
        """None again and again while it works, then the items in no order."""
        raise NotImplementedError

    def identity(self, item: T) -> object:
        """What it is known by from one gathering to the next."""
        raise NotImplementedError

    def title(self, item: T) -> str:
        """The head of what is told of it."""
        raise NotImplementedError

    def details(self, item: T, width: int) -> Iterator[Strip]:
        """What is told of it, as many lines as there may be."""
        raise NotImplementedError

    def filter(self, item: T) -> str:
        """The filter on its rows of the timeline; nothing where there is none."""
        raise NotImplementedError

    def offers(self) -> list[Offer]:
        """What of the item under the cursor can be copied."""
        raise NotImplementedError

    def first(self, item: T) -> bool:
        """Whether it stands before all others, in whatever order."""
        return False

    def note(self) -> str:
        """Something to know about the whole table, below it."""
        return ""

    # Gathering.

    def advance(self, now_s: float, budget_s: float = BUDGET_S) -> bool:
        """Go on gathering for that long; whether the table is new."""
        if self._work is None:
            waits = self._source is not None and (now_s < self._next_s or now_s < self._touched_s + AT_KEYS_S)
            if waits or self.view.snapshot is self._source:
                return False
            self._source, self._work, self._work_s = self.view.snapshot, self._gathering(), 0.0
        began = time.thread_time()
        while time.thread_time() - began < budget_s:
            if next(self._work):
                self._work = None
                self._next_s = now_s + max(AGAIN_S, 10 * (self._work_s + time.thread_time() - began))
                return True
        self._work_s += time.thread_time() - began
        return False

    def gather_anew(self) -> None:
        """What the table is about has become another one."""
        self._work = self._source = self._chosen = None
        self.cursor = self.top = 0
        self.advance(time.monotonic(), FIRST_BUDGET_S)
        self.redraw()

    def _gathering(self) -> Iterator[bool]:
        found: list[T] = []
        for gathered in self.gather():
            found = gathered if gathered is not None else found
            yield False
        yield from self._order(found)

    def _order(self, found: list[T]) -> Iterator[bool]:
        """Sort them; True when that is done."""
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
        """The cursor goes where its item is."""
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
        """Lines below the table, its rule included."""
        height = self.size.height
        return max(_DETAILS_LEAST, height * 2 // 5) if height >= _DETAILS_FROM else 0

    @property
    def page_lines(self) -> int:
        return max(1, self.size.height - self.HEADS - self.details_lines - bool(self.note()))

    def count(self) -> int:
        return len(self.items)

    def columns(self, width: int) -> tuple[Column, ...]:
        """The columns at that width."""
        return fit(tuple((field.name, field.gap, field.width, field.rank) for field in self.FIELDS), self.LEAST, width)

    def build(self, width: int, height: int) -> list[Strip]:
        pen = self.view.pen
        drawn = super().build(width, height)
        if not self.items:
            drawn.append(Line(pen, width).add(f"  {'counting …' if self._work is not None else self.NOTHING}", "dim").strip())
        note = self.note()
        drawn += [blank(pen, width)] * (height - len(drawn) - self.details_lines - bool(note))
        drawn += [Line(pen, width).add(f" {note}", "dim").strip()] if note else []
        if self.item is not None and self.details_lines:
            drawn.append(lines.rule(pen, width, self.title(self.item), "enter: its round trips" if self.filter(self.item) else ""))
            drawn += [strip for strip, _ in zip(self.details(self.item, width), range(self.details_lines - 1), strict=False)]
        return drawn

    def heads(self, width: int) -> list[Strip]:
        line = Line(self.view.pen, width, "head")
        for column in self.columns(width):
            field = self._fields[column.name]
            title, mark = field.name if field.title is None else field.title, ""
            if field.name == self.sorted_by:
                mark = "▴" if self.reversed != field.rising else "▾"
            wide = column.width + (field.right and len(title) + len(mark) > column.width)  # the gap before it has room for the mark
            line.to(column.end - wide if field.right else column.start)
            line.add(cells.cut(title, wide - len(mark)) + mark, "dim", wide, right=field.right)
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
        self._touched_s = time.monotonic()
        self._chosen = self.identity(self.item) if self.item is not None else None
        self.redraw()

    def open(self) -> None:
        if self.item is not None and self.filter(self.item):
            self.post_message(Chosen(self.filter(self.item)))

    def action_open(self) -> None:
        self.open()

    def action_sort(self) -> None:
        """The next order."""
        self._sort(self.SORTS[(self.SORTS.index(self.sorted_by) + 1) % len(self.SORTS)], reverse=False)

    def action_reverse(self) -> None:
        """The same order the other way round."""
        self._sort(self.sorted_by, reverse=not self.reversed)

    async def on_click(self, event: events.Click) -> None:
        """A click on a head sorts by it; on the same once more, the other way round."""
        await super().on_click(event)
        column = next((column for column in self.columns(self.size.width) if column.start <= event.x < column.end), None)
        if event.y < self.HEADS and event.button != RIGHT_BUTTON and column is not None and column.name in self.SORTS:
            self._sort(column.name, reverse=column.name == self.sorted_by and not self.reversed)

    def _sort(self, name: str, *, reverse: bool) -> None:
        self.sorted_by, self.reversed = name, reverse
        if self._chosen is None:
            self.cursor = self.top = 0
        if self._work is None:
            self._work = self._order(self.items)
        else:  # it was gathering: once more, in the new order
            self._work, self._source = None, None
        self.advance(time.monotonic(), FIRST_BUDGET_S)
        self.redraw()

    def redraw(self) -> None:
        """The footer has the position, which may be another one."""
        before = self._position
        super().redraw()
        self._position = self.position
        if self._position != before:
            self.post_message(self.Stands())


def _first_of(keyed: tuple[Any, int]) -> Any:
    return keyed[0]


# What cells and details are made of.


def number(value: int, width: int, role: str = "text") -> Runs:
    """A count, written out where it fits; a faint dot for none."""
    text = figures.whole(value)
    return [(text if len(text) <= width else figures.count(value), role if value else "faint")]


def labelled(pen: Pen, width: int, label: str, *runs: tuple[str, str]) -> Strip:
    """One line of details: what it is about, then pieces of text."""
    line = Line(pen, width).add(f" {label}", "dim", _LABEL_CELLS)
    for text, role in runs:
        line.add(text, role)
    return line.strip()


def wrapped(pen: Pen, width: int, text: str, role: str = "text", most: int = 100) -> Iterator[Strip]:
    """Text from the wire in full, its white space folded, as many lines as it takes."""
    whole = sanitise.text(" ".join(text[:_LONGEST].split()))
    room = width - 2 if cells.width(whole) == len(whole) else (width - 2) // 2  # no character takes more than two cells
    parts = textwrap.wrap(whole, max(20, room), max_lines=most, placeholder=f" {pen.ellipsis}") or [""]
    yield from (Line(pen, width).add(f" {part}", role).strip() for part in parts)
