"""Which rows of the trace the timeline shows, and in what order: folds and filters, without a terminal.

The trace's rows stand in the order in which they began and never move. A listing is a rising list of their places, one for each line: a row of
its own, or a fold, which stands where its first row stood. Rows are looked at once each, in slices of time, so a capture of a million rows
never blocks the screen; sync() goes on where the last one stopped.

Folding: at the level `set-up` all set-up round trips of one connection are one line. A single connection can be folded or unfolded against the
level. Filtering: one connection, one driver, one statement, one transaction. A driver may be identified after its first rows; then the listing starts
anew. Which statements a row is about may come out while it is open: until then it is looked at again.

Frozen, it goes on showing the moment at which it was frozen, whatever is folded or filtered meanwhile: later rows are left out, and rows that were open
stay open.
"""

from __future__ import annotations

import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pgtrace.analysis.rows import Kind, Row
from pgtrace.analysis.trace import Trace
from pgtrace.analysis.transactions import Transaction

FOLD_LEVELS: Final = ("none", "set-up")
_SLICE: Final = 256
"""Rows looked at between two looks at the clock."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows: all, or those of one connection, one driver, one statement under its driver, one transaction."""

    connection: int | None = None
    driver: str | None = None
    group: int | None = None
    """The number of a statement's group."""
    sql: str = ""
    """Its SQL."""
    transaction: Transaction | None = None
    """Of its connection."""

    @property
    def everything(self) -> bool:
        return self == _EVERYTHING


_EVERYTHING: Final = Selection()


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the timeline: a row, or a fold of several."""

    place: int
    rows: tuple[Row, ...]
    places: tuple[int, ...]
    folded: bool

    @property
    def row(self) -> Row:
        return self.rows[0]

    @property
    def opened_ns(self) -> int:
        return self.rows[0].opened_ns

    @property
    def end_ns(self) -> int | None:
        """Since the start of the capture; None while a member is open."""
        ends = [row.opened_ns + row.duration_ns for row in self.rows if row.duration_ns is not None]
        return max(ends) if len(ends) == len(self.rows) else None

    @property
    def is_problem(self) -> bool:
        return any(row.is_problem for row in self.rows)


class Listing:
    """The lines of the timeline, by index."""

    def __init__(self, trace: Trace, driver: Callable[[int], str], fold: str = "set-up") -> None:
        """`driver` tells the driver of a connection."""
        self.trace = trace
        self.fold = fold
        self.selection = Selection()
        self._against: set[int] = set()  # connections folded or unfolded against the level
        self._places = array("Q")
        self._members: dict[int, list[int]] = {}  # first place of a fold -> places
        self._fold_of: dict[int, int] = {}  # connection -> first place of its fold
        self._seen = 0
        self._undecided: list[int] = []  # open rows that may still be about the selected statement
        self.shown = 0
        """Rows that are listed, each member of a fold for itself."""
        self._end: int | None = None  # while frozen: rows there are
        self._then_open: dict[int, Row] = {}  # while frozen: rows as they were
        self._driver = driver
        self._drivers: dict[int, str] = {}  # drivers that decided, while a driver is selected

    def __len__(self) -> int:
        return len(self._places)

    @property
    def rows(self) -> int:
        """Rows there are, listed or not."""
        return len(self.trace.rows) if self._end is None else self._end

    @property
    def behind(self) -> int:
        """Rows not looked at yet."""
        return self.rows - self._seen

    def item(self, place: int) -> Item:
        """The row at a place, listed or not, as a line of its own."""
        return Item(place, (self._then_open.get(place) or self.trace.rows[place],), (place,), False)

    def __getitem__(self, index: int) -> Item:
        place = self._places[index]
        places = tuple(self._members.get(place, (place,)))
        rows = tuple(self._then_open.get(member) or self.trace.rows[member] for member in places)
        return Item(place, rows, places, place in self._members)

    def place(self, index: int) -> int:
        """The place of the first row of a line."""
        return self._places[index]

    def all_places(self) -> array[int]:
        """The places of all rows that are shown, each member of a fold for itself, rising."""
        return array("Q", sorted(member for place in self._places for member in self._members.get(place, (place,))))

    def index(self, place: int) -> int:
        """The line that shows a place, or the nearest one before it; 0 where there is none."""
        fold = self._fold_of.get(self.trace.rows[place].connection) if 0 <= place < len(self.trace.rows) else None
        if fold is not None and place in self._members[fold]:
            place = fold
        return max(0, bisect_right(self._places, place) - 1)

    def shows(self, place: int) -> bool:
        """Whether a place has a line, its own or a fold's."""
        found = bisect_left(self._places, place)
        if found < len(self._places) and self._places[found] == place:
            return True
        fold = self._fold_of.get(self.trace.rows[place].connection)
        return fold is not None and place in self._members[fold]

    def select(self, selection: Selection) -> None:
        """Show only these rows."""
        self.selection = selection
        self._restart()

    def next_level(self) -> None:
        """The next fold level, for all connections."""
        self.fold = FOLD_LEVELS[(FOLD_LEVELS.index(self.fold) + 1) % len(FOLD_LEVELS)]
        self._against.clear()
        self._restart()

    def toggle(self, place: int) -> bool:
        """Fold or unfold the set-up that this row belongs to; False where it belongs to none."""
        row = self.trace.rows[place]
        if row.shape.kind is not Kind.SETUP:
            return False
        self._against ^= {row.connection}
        self._restart()
        return True

    def freeze(self, open_places: list[int]) -> None:
        """Show this moment from now on; these rows are open."""
        self._end = self._seen
        self._then_open = {place: self.trace.rows[place] for place in open_places}

    def thaw(self) -> None:
        """Show the present again."""
        self._end = None
        self._then_open = {}

    def sync(self, budget_s: float | None = None) -> bool:
        """Look at rows that are new, for as long as the budget lasts; whether the listing changed."""
        restarted = bool(self._drivers) and any(self._driver(number) != driver for number, driver in self._drivers.items())
        if restarted:
            self._restart()
        rows = self.trace.rows
        shown, again = self.shown, self._undecided
        self._undecided = []
        for place in again:
            self._take(place, rows[place])
        first, end = self._seen, self.rows
        until = None if budget_s is None else time.perf_counter() + budget_s
        while self._seen < end:
            stop = min(end, self._seen + _SLICE)
            for place in range(self._seen, stop):
                self._take(place, rows[place])
            self._seen = stop
            if until is not None and time.perf_counter() > until:
                break
        return restarted or self._seen > first or self.shown > shown

    def _take(self, place: int, row: Row) -> None:
        selection, connection = self.selection, row.connection
        if not selection.everything and row.shape.kind is Kind.MARK:
            return
        if selection.connection is not None and connection != selection.connection:
            return
        if selection.driver is not None and self._decided(connection) != selection.driver:
            return
        if selection.group is not None and selection.group not in row.label.groups:
            if row.is_open:
                self._undecided.append(place)
            return
        within = selection.transaction
        if within is not None and (place < within.first or (place > within.last and not within.is_open)):
            return
        self.shown += 1
        if row.shape.kind is Kind.SETUP and (self.fold == "set-up") != (connection in self._against):
            fold = self._fold_of.get(connection)
            if fold is not None:
                self._members[fold].append(place)
                return
            self._fold_of[connection] = place
            self._members[place] = [place]
        if self._places and place < self._places[-1]:
            self._places.insert(bisect_left(self._places, place), place)
        else:
            self._places.append(place)

    def _restart(self) -> None:
        self._places = array("Q")
        self._members.clear()
        self._fold_of.clear()
        self._drivers.clear()
        self._undecided = []
        self._seen = self.shown = 0

    def _decided(self, connection: int) -> str:
        driver = self._drivers.get(connection)
        if driver is None:
            driver = self._drivers[connection] = self._driver(connection)
        return driver
