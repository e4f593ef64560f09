"""The rows of the trace that the timeline shows, in order.

The trace's rows are in the order in which they began and never move. A listing is a rising list of
their places, one for each line: a row of its own, or a fold, which takes the place of its first
row. Each row is looked at once, in slices of time, so a capture of a million rows never blocks the
screen; sync() continues where it stopped.

groups.py says which rows belong together, folds.py which of them are one line, sums.py what the
rows of a line add up to; none of them knows the filter. filtering.py says which rows match; the
others are hidden, or listed too and drawn dim. A row that is open or undecided is asked again, and
so are the rows of a connection once more is known of it: then a row may come or go.

A frozen listing shows the moment at which it was frozen, whatever is folded or filtered meanwhile:
later rows are left out, and rows that were open stay open.
"""

from __future__ import annotations

import itertools
import time
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import compress
from math import isnan
from typing import Final

from pgtrace.errors import FilterError
from pgtrace.trace.feed import Feed, Subscriber
from pgtrace.trace.row import Row
from pgtrace.trace.rows import Columns
from pgtrace.trace.stretches import Stretches
from pgtrace.tui.model.filtering import Filtering
from pgtrace.tui.model.folds import Folds
from pgtrace.tui.model.groups import Groups, Together
from pgtrace.tui.model.items import FoldSums, Item
from pgtrace.tui.model.matches import Matches
from pgtrace.tui.model.sums import Sum

_LOOKED: Final = 32
"""The least number of rows that are decided before the clock is checked again."""
_MOST_DECIDED: Final = 4096
_SHORT_S: Final = 0.002
"""The number of rows decided together grows as long as they take no longer than this."""
_FOLDED: Final = 8192
"""How many rows get their lines before the clock is checked again."""


class Listing(Subscriber):
    """The lines of the timeline, by index."""

    def __init__(self, feed: Feed, driver: Callable[[int], str], fold: str = "set-up") -> None:
        """`driver` gives the driver of a connection."""
        self.trace = trace = feed.trace
        self._feed = feed
        self.filtering = Filtering(trace, driver)
        self.stretches = Stretches(feed)
        self.groups = Groups()
        self.folds = Folds(self.groups, self._lists, fold)
        self.dims = False
        """Whether rows that do not match are listed, too."""
        self._seen = 0
        self._matches = Matches()  # while something is filtered
        self._decided = _LOOKED  # rows that are decided together
        self._waiting: list[int] = []  # rows to ask again: open, or their messages are being read
        # rows to ask again because their connection is known better
        self._again: Iterator[int] = iter(())
        self._sums = FoldSums(self._row, self._lists)
        self._changes = 0
        self._end: int | None = None  # while frozen: rows there are
        self._then_open: dict[int, Row] = {}  # while frozen: rows as they were
        feed.subscribe(self)

    def __len__(self) -> int:
        return len(self.folds.lines)

    @property
    def fold(self) -> str:
        """The fold level."""
        return self.folds.level

    @property
    def rows(self) -> int:
        """How many rows there are, listed or not."""
        return len(self.trace.rows) if self._end is None else self._end

    @property
    def behind(self) -> int:
        """How many rows have not been looked at yet."""
        return self.rows - self._seen

    def item(self, place: int) -> Item:
        """The row at a place, listed or not, as a separate line."""
        row = self._row(place)
        alone = Sum()
        alone.take(place, row)
        return Item(place, row, alone)

    def __getitem__(self, index: int) -> Item:
        place = self.folds.lines[index]
        kind = self.folds.folded(place)
        if kind is Together.NOTHING:
            return self.item(place)
        added = self._sums.of(place, kind, lambda first: self.groups.members(first, kind), self._seen)
        if added.number == 1 and kind is not Together.SETUP:  # the others are not listed
            return self.item(place)
        row = self._row(place)
        if kind is Together.REPEAT:
            period = self.groups.periods.get(self.groups.runs[place], 1)
            return Item(place, row, added, period=period, is_whole=self.filtering.everything or self.dims)
        return Item(place, row, added, kind is Together.TRANSACTION and self.groups.is_open(place, row.connection))

    def place(self, index: int) -> int:
        """The place of the first row of a line."""
        return self.folds.lines[index]

    def all_places(self) -> array[int]:
        """The places of all rows that match, each row of a fold included, rising."""
        return array("Q", range(self._seen)) if self.filtering.everything else self._matches.places[:]

    def index(self, place: int) -> int:
        """The line that shows a place, or the nearest one before it; 0 if there is none."""
        return self.folds.index(self.folds.line_of(place) if 0 <= place < self._seen else place)

    def lines_behind(self, place: int) -> int:
        """How many lines begin after a place."""
        return len(self.folds.lines) - bisect_right(self.folds.lines, place)

    def shows(self, place: int) -> bool:
        """Whether a place has a line, its own or a fold's."""
        return place <= self.folds.upto and self._lists(place)

    @property
    def matching(self) -> int:
        """How many rows match, each row of a fold counted."""
        return self._seen if self.filtering.everything else len(self._matches)

    def matches(self, item: Item) -> bool:
        """Whether a line has a row that matches."""
        return self.filtering.everything or any(place in self._matches for place in item.places)

    def next_match(self, item: Item, direction: int) -> int | None:
        """The place of the nearest matching row after a line, or before it."""
        return self._matches.nearest(item.places, direction)

    def choose(self, text: str) -> None:
        """Put another filter in force. Raises FilterError if it is not a filter; then nothing
        changes."""
        self.filtering.choose(text)
        self._restart()

    def dim(self) -> None:
        """Hide rows that do not match, or list them dim."""
        self.dims = not self.dims
        self._restart()

    def next_level(self) -> None:
        """Go to the next fold level, for all groups."""
        self.folds.next_level()
        self._changed()

    def fold_to(self, level: str) -> None:
        """Go to that fold level."""
        while self.fold != level:
            self.next_level()

    def toggle(self, place: int) -> bool:
        """Fold or unfold the smallest group that the line of this row can be; False if there is
        none."""
        toggled = place < len(self.groups) and self.folds.toggle(place)
        if toggled:
            self._changed()
        return toggled

    def freeze(self, open_places: list[int]) -> None:
        """Show this moment from now on; these rows are open in it."""
        self._end = self._seen
        self._then_open = {place: self.trace.rows[place] for place in open_places}

    def thaw(self) -> None:
        """Show the present again."""
        self._end = None
        self._then_open = {}
        self._sums.clear()

    def sync(self, budget_s: float | None = None) -> bool:
        """Look at new rows for as long as the budget lasts. Returns whether the listing changed.
        Raises FilterError if the filter was given up: then everything is listed."""
        until = None if budget_s is None else time.perf_counter() + budget_s
        before, seen, upto = self._changes, self._seen, self.folds.upto
        if self._end is None:
            self._feed.advance(budget_s)
        try:
            self._decide_again(until)
            self._decide_next(until)
            self._fold_on(until)
        except FilterError:
            self._restart()
            raise
        return self._changes != before or self._seen > seen or self.folds.upto > upto

    def take(self, rows: Columns) -> None:
        self.groups.take(rows)
        self._regroup()

    def completed(self, rows: Columns) -> None:
        before = [self.folds.head(place) for place in rows.places]
        self.groups.completed(rows)
        self._regroup()
        for place, head in zip(rows.places, before, strict=True):
            if place <= self.folds.upto and self.folds.head(place) != head and self._lists(place):
                self.folds.remove(place, head)
                self.folds.add(place)
                self._changed()

    def _regroup(self) -> None:
        """Fold rows again that have joined a loop."""
        first = self.groups.regrouped()
        if first is not None:
            self.folds.back_to(first)
            self._changed()

    def _decide_again(self, until: float | None) -> None:
        """Ask rows again that were open or undecided, and those whose connection is known better
        now."""
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

    def _decide_next(self, until: float | None) -> None:
        """Ask the rows whose groups are known."""
        end = self._feed.seen if self._end is None else self._end
        if self.filtering.everything:
            self._seen = end
            return
        while self._seen < end:
            began = time.perf_counter()
            if not self._take_stretch(end):
                stop = min(end, self._seen + self._decided, self.stretches.span(self._seen).stop)
                self._take_rows(self.trace.rows.columns(self._seen, stop), until)
            now = time.perf_counter()
            self._decided = min(_MOST_DECIDED, 2 * self._decided) if now - began < _SHORT_S else max(_LOOKED, self._decided // 2)
            if until is not None and now > until:
                return

    def _take_stretch(self, end: int) -> bool:
        """Take a whole stretch at once. Returns False if its rows must be decided singly."""
        stretch = self.stretches.at(self._seen)
        if stretch is None or stretch.stop > end:
            return False
        matches = self.filtering.decide_alike(stretch)
        if matches:
            self._matches.extend(range(stretch.start, stretch.stop))
        if matches is not None:
            self._seen = stretch.stop
        return matches is not None

    def _take_rows(self, rows: Columns, until: float | None) -> None:
        """Take these rows, as far as the index decides; stop at the first row whose messages must
        still be read.
        """
        decided = self.filtering.decide(rows)
        if not any(decided.unread) and not rows.any_open:
            self._matches.extend(compress(rows.places, decided.selected))
            self._seen += len(rows)
            return
        for place, selected, unread, ms in zip(rows.places, *decided, rows.durations_ms, strict=True):
            if not unread and not isnan(ms):
                self._matches.extend((place,) * selected)
            elif not self._ask(place, known=False):
                return
            self._seen = place + 1
            if unread and until is not None and time.perf_counter() > until:
                return

    def _fold_on(self, until: float | None) -> None:
        """Give listed rows their lines."""
        folds = self.folds
        while folds.upto < self._seen - 1:
            if self.filtering.everything or self.dims:
                folds.extend(range(folds.upto + 1, min(self._seen, folds.upto + 1 + _FOLDED)))
            else:
                matching = self._matches.behind(folds.upto, _FOLDED)
                folds.extend(matching)
                if len(matching) < _FOLDED:
                    folds.upto = self._seen - 1
            if until is not None and time.perf_counter() > until:
                return

    def _ask(self, place: int, *, known: bool) -> bool:
        """Ask whether a row matches, and list it or not; False if that cannot be decided yet."""
        matches = self.filtering.holds_if_known(place)
        if matches is None:
            if known:
                self._waiting.append(place)
            return False
        if self.trace.rows.entry(place).is_open:
            self._waiting.append(place)
        if not self._matches.put(place, matches=matches):
            return True
        if not self.dims and place <= self.folds.upto:
            if matches:
                self.folds.add(place)
            else:
                self.folds.remove(place, self.folds.head(place))
            self._sums.clear()
        self._changes += 1
        return True

    def _lists(self, place: int) -> bool:
        """Whether a row is listed."""
        return place < self._seen if self.filtering.everything or self.dims else place in self._matches

    def _row(self, place: int) -> Row:
        return self._then_open.get(place) or self.trace.rows[place]

    def _changed(self) -> None:
        self._sums.clear()
        self._changes += 1

    def _restart(self) -> None:
        self._matches.clear()
        self._waiting, self._again = [], iter(())
        self._seen, self._decided = 0, _LOOKED
        self.folds.begin()
        self._changed()
        self.filtering.begin()
