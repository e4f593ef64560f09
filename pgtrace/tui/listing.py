"""Which rows of the trace the timeline shows, and in what order: folds and filters, without a terminal.

The trace's rows stand in the order in which they began and never move. A listing is a rising list of their places, one for each line: a row of
its own, or a fold, which stands where its first row stood. Rows are looked at once each, in slices of time, so a capture of a million rows
never blocks the screen; sync() goes on where the last one stopped.

Folding: at the level `set-up` all set-up round trips of one connection are one line. A single connection can be folded or unfolded against the
level. Filtering: which rows match is filtering.py's to say; the others are hidden, or listed too and drawn dim. A row that is open, or not decided yet, is
asked again, and so are those of a connection of which more has become known: a row comes or goes then.

Frozen, it goes on showing the moment at which it was frozen, whatever is folded or filtered meanwhile: later rows are left out, and rows that were open
stay open.
"""

from __future__ import annotations

import itertools
import time
from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from pgtrace.analysis.rows import Kind, Row
from pgtrace.analysis.trace import Trace
from pgtrace.errors import FilterError
from pgtrace.tui.filtering import Filtering

FOLD_LEVELS: Final = ("none", "set-up")
_SLICE: Final = 256
"""Rows listed between two looks at the clock."""
_LOOKED: Final = 32
"""Rows asked whether they match between two looks at the clock."""


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
        self.filtering = Filtering(trace, driver)
        self.dims = False
        """Rows that do not match are listed too."""
        self._against: set[int] = set()  # connections folded or unfolded against the level
        self._places = array("Q")
        self._members: dict[int, list[int]] = {}  # first place of a fold -> places
        self._fold_of: dict[int, int] = {}  # connection -> first place of its fold
        self._seen = 0
        self._matching = array("Q")  # rows that match, while something is filtered
        self._waiting: list[int] = []  # rows to ask again: open, or their messages are being read
        self._again: Iterator[int] = iter(())  # rows to ask again because their connection is known better
        self._changes = 0
        self._end: int | None = None  # while frozen: rows there are
        self._then_open: dict[int, Row] = {}  # while frozen: rows as they were

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
        """The places of all rows that match, each member of a fold for itself, rising."""
        if not self.filtering.everything:
            return self._matching[:]
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

    @property
    def matching(self) -> int:
        """Rows that match, each member of a fold for itself."""
        return self._seen if self.filtering.everything else len(self._matching)

    def matches(self, item: Item) -> bool:
        """Whether a line has a row that matches."""
        return self.filtering.everything or any(
            (at := bisect_left(self._matching, place)) < len(self._matching) and self._matching[at] == place for place in item.places
        )

    def next_match(self, item: Item, direction: int) -> int | None:
        """The place of the nearest row behind a line that matches, or before it."""
        at = bisect_right(self._matching, item.places[-1]) if direction > 0 else bisect_left(self._matching, item.place) - 1
        while 0 <= at < len(self._matching) and self._matching[at] in item.places:
            at += direction
        return self._matching[at] if 0 <= at < len(self._matching) else None

    def choose(self, text: str) -> None:
        """Another filter. Raises FilterError where it means nothing; then nothing changes."""
        self.filtering.choose(text)
        self._restart()

    def dim(self) -> None:
        """Hide what does not match, or list it dim."""
        self.dims = not self.dims
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
        """Look at rows that are new, for as long as the budget lasts; whether the listing changed. Raises FilterError: then everything is listed."""
        until = None if budget_s is None else time.perf_counter() + budget_s
        before, seen = self._changes, self._seen
        try:
            self._look_again(until)
            self._look_on(until)
        except FilterError:
            self._restart()
            raise
        return self._changes != before or self._seen > seen

    def _look_again(self, until: float | None) -> None:
        """At rows that were open or undecided, and at those whose connection is known better now."""
        if self.filtering.everything:
            return
        waiting, self._waiting = self._waiting, []
        for number, place in enumerate(waiting):
            if until is not None and not (number + 1) % _LOOKED and time.perf_counter() > until:
                self._waiting += waiting[number:]
                return
            self._ask(place, known=True)
        self._again = itertools.chain(self._again, self.filtering.news())
        for number, place in enumerate(self._again):
            if place < self._seen:
                self._ask(place, known=True)
            if until is not None and not (number + 1) % _LOOKED and time.perf_counter() > until:
                return

    def _look_on(self, until: float | None) -> None:
        """At new rows."""
        rows, everything = self.trace.rows, self.filtering.everything
        while self._seen < self.rows:
            stop = min(self.rows, self._seen + (_SLICE if everything else _LOOKED))
            for place in range(self._seen, stop):
                if everything:
                    self._add(place, rows[place])
                elif not self._ask(place, known=False):
                    break
                self._seen = place + 1
            if until is not None and time.perf_counter() > until:
                return

    def _ask(self, place: int, *, known: bool) -> bool:
        """Whether a row matches is asked, and what follows from it done; False where it cannot be told yet."""
        matches = self.filtering.asked(place)
        if matches is None:
            if known:
                self._waiting.append(place)
            return False
        row = self.trace.rows[place]
        if row.is_open:
            self._waiting.append(place)
        if self.dims and not known:
            self._add(place, row)
        at = bisect_left(self._matching, place)
        has = at < len(self._matching) and self._matching[at] == place
        if matches and not has:
            self._matching.insert(at, place)
            self._changes += 1
            if not self.dims:
                self._add(place, row)
        elif has and not matches:
            self._matching.pop(at)
            self._changes += 1
            if not self.dims:
                self._remove(place, row)
        return True

    def _add(self, place: int, row: Row) -> None:
        """Give a row its line, or its place in a fold."""
        connection = row.connection
        if row.shape.kind is Kind.SETUP and (self.fold == "set-up") != (connection in self._against):
            fold = self._fold_of.get(connection)
            if fold is not None and fold < place:
                insort(self._members[fold], place)
                return
            self._members[place] = [place] if fold is None else [place, *self._members.pop(fold)]
            self._fold_of[connection] = place
            if fold is not None:
                self._places.pop(bisect_left(self._places, fold))
        if self._places and place < self._places[-1]:
            self._places.insert(bisect_left(self._places, place), place)
        else:
            self._places.append(place)

    def _remove(self, place: int, row: Row) -> None:
        """Take a row's line away, or its place in a fold."""
        fold = self._fold_of.get(row.connection)
        if fold is not None and place in self._members[fold]:
            members = self._members.pop(fold)
            members.remove(place)
            if members:
                self._members[members[0]] = members
                self._fold_of[row.connection] = members[0]
                self._places[bisect_left(self._places, fold)] = members[0]
                return
            del self._fold_of[row.connection]
            place = fold
        self._places.pop(bisect_left(self._places, place))

    def _restart(self) -> None:
        self._places = array("Q")
        self._members.clear()
        self._fold_of.clear()
        self._matching = array("Q")
        self._waiting, self._again = [], iter(())
        self._seen = 0
        self._changes += 1
        self.filtering.begin()
