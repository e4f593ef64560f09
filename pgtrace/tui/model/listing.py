"""Which rows of the trace the timeline shows, and in what order: filters and folds, without a terminal.

The trace's rows stand in the order in which they began and never move. A listing is a rising list of their places, one for each line: a row of
its own, or a fold, which stands where its first row stood. Rows are looked at once each, in slices of time, so a capture of a million rows
never blocks the screen; sync() goes on where the last one stopped.

Which rows belong together is groups.py's to say, which of them are one line folds.py's, what a line's rows are
together sums.py's; none of them knows the filter.
Which rows match is filtering.py's to say; the others are hidden, or listed too and drawn dim. A row that is open, or not decided yet, is
asked again, and so are those of a connection of which more has become known: a row comes or goes then.

Frozen, it goes on showing the moment at which it was frozen, whatever is folded or filtered meanwhile: later rows are left out, and rows that were open
stay open.
"""

from __future__ import annotations

import itertools
import time
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from pgtrace.errors import FilterError
from pgtrace.trace.feed import Feed, Subscriber
from pgtrace.trace.rows import Columns, Row
from pgtrace.tui.model.filtering import Filtering
from pgtrace.tui.model.folds import Folds
from pgtrace.tui.model.groups import Groups, Together
from pgtrace.tui.model.sums import MOST, Sum

_LOOKED: Final = 32
"""Rows asked whether they match between two looks at the clock."""
_FOLDED: Final = 8192
"""Rows given their lines between two looks at the clock."""
_SUMS_KEPT: Final = 256


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the timeline: a row, or a fold of several."""

    place: int
    row: Row
    """The first one."""
    sum: Sum
    is_open: bool = False
    """Whether it is a transaction that stands."""

    @property
    def folded(self) -> bool:
        return self.sum.kind is not Together.NOTHING

    @property
    def rows(self) -> tuple[Row, ...]:
        """The first rows."""
        return tuple(self.sum.members)

    @property
    def places(self) -> tuple[int, ...]:
        """Their places."""
        return tuple(self.sum.places)

    @property
    def opened_ns(self) -> int:
        return self.row.opened_ns

    @property
    def end_ns(self) -> int | None:
        """Since the start of the capture; None while a member is open."""
        return self.sum.end_ns

    @property
    def is_problem(self) -> bool:
        return bool(self.sum.errors) or self.row.is_problem


class Listing(Subscriber):
    """The lines of the timeline, by index."""

    def __init__(self, feed: Feed, driver: Callable[[int], str], fold: str = "set-up") -> None:
        """`driver` tells the driver of a connection."""
        self.trace = trace = feed.trace
        self._feed = feed
        self.filtering = Filtering(trace, driver)
        self.groups = Groups()
        self.folds = Folds(self.groups, self._lists, fold)
        self.dims = False
        """Rows that do not match are listed too."""
        self._seen = 0
        self._matching = array("Q")  # rows that match, while something is filtered
        self._waiting: list[int] = []  # rows to ask again: open, or their messages are being read
        self._again: Iterator[int] = iter(())  # rows to ask again because their connection is known better
        self._sums: OrderedDict[tuple[int, Together], Sum] = OrderedDict()  # of folds looked at lately
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
        """Rows there are, listed or not."""
        return len(self.trace.rows) if self._end is None else self._end

    @property
    def behind(self) -> int:
        """Rows not looked at yet."""
        return self.rows - self._seen

    def item(self, place: int) -> Item:
        """The row at a place, listed or not, as a line of its own."""
        row = self._row(place)
        alone = Sum()
        alone.take(place, row)
        return Item(place, row, alone)

    def __getitem__(self, index: int) -> Item:
        place = self.folds.lines[index]
        kind = self.folds.folded(place)
        if kind is Together.NOTHING:
            return self.item(place)
        added = self._added(place, kind)
        if added.number == 1 and kind is not Together.SETUP:  # the others are not listed
            return self.item(place)
        row = self._row(place)
        return Item(place, row, added, kind is Together.TRANSACTION and self.groups.is_open(place, row.connection))

    def place(self, index: int) -> int:
        """The place of the first row of a line."""
        return self.folds.lines[index]

    def all_places(self) -> array[int]:
        """The places of all rows that match, each member of a fold for itself, rising."""
        return array("Q", range(self._seen)) if self.filtering.everything else self._matching[:]

    def index(self, place: int) -> int:
        """The line that shows a place, or the nearest one before it; 0 where there is none."""
        return self.folds.index(self.folds.line_of(place) if 0 <= place < self._seen else place)

    def shows(self, place: int) -> bool:
        """Whether a place has a line, its own or a fold's."""
        return place <= self.folds.upto and self._lists(place)

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
        """The next fold level, for all groups."""
        self.folds.next_level()
        self._changed()

    def fold_to(self, level: str) -> None:
        """That fold level."""
        while self.fold != level:
            self.next_level()

    def toggle(self, place: int) -> bool:
        """Fold or unfold the smallest group that the line of this row can be; False where there is none."""
        toggled = place < len(self.groups) and self.folds.toggle(place)
        if toggled:
            self._changed()
        return toggled

    def freeze(self, open_places: list[int]) -> None:
        """Show this moment from now on; these rows are open."""
        self._end = self._seen
        self._then_open = {place: self.trace.rows[place] for place in open_places}

    def thaw(self) -> None:
        """Show the present again."""
        self._end = None
        self._then_open = {}
        self._sums.clear()

    def sync(self, budget_s: float | None = None) -> bool:
        """Look at rows that are new, for as long as the budget lasts; whether the listing changed. Raises FilterError: then everything is listed."""
        until = None if budget_s is None else time.perf_counter() + budget_s
        before, seen, upto = self._changes, self._seen, self.folds.upto
        if self._end is None:
            self._feed.advance(budget_s)
        try:
            self._look_again(until)
            self._look_on(until)
            self._fold_on(until)
        except FilterError:
            self._restart()
            raise
        return self._changes != before or self._seen > seen or self.folds.upto > upto

    def take(self, rows: Columns) -> None:
        self.groups.take(rows)

    def completed(self, rows: Columns) -> None:
        before = [self.folds.head(place) for place in rows.places]
        self.groups.completed(rows)
        for place, head in zip(rows.places, before, strict=True):
            if place <= self.folds.upto and self.folds.head(place) != head and self._lists(place):
                self.folds.remove(place, head)
                self.folds.add(place)
                self._changed()

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
        """At rows whose groups are known by now."""
        end = self._feed.seen if self._end is None else self._end
        if self.filtering.everything:
            self._seen = end
            return
        while self._seen < end:
            for place in range(self._seen, min(end, self._seen + _LOOKED)):
                if not self._ask(place, known=False):
                    break
                self._seen = place + 1
            if until is not None and time.perf_counter() > until:
                return

    def _fold_on(self, until: float | None) -> None:
        """Give rows that are listed their lines."""
        folds = self.folds
        while folds.upto < self._seen - 1:
            if self.filtering.everything or self.dims:
                folds.go_on(range(folds.upto + 1, min(self._seen, folds.upto + 1 + _FOLDED)))
            else:
                at = bisect_right(self._matching, folds.upto) if folds.upto >= 0 else 0
                slice = self._matching[at : at + _FOLDED]
                folds.go_on(slice)
                if len(slice) < _FOLDED:
                    folds.upto = self._seen - 1
            if until is not None and time.perf_counter() > until:
                return

    def _ask(self, place: int, *, known: bool) -> bool:
        """Whether a row matches is asked, and what follows from it done; False where it cannot be told yet."""
        matches = self.filtering.asked(place)
        if matches is None:
            if known:
                self._waiting.append(place)
            return False
        if self.trace.rows.entry(place).is_open:
            self._waiting.append(place)
        at = bisect_left(self._matching, place)
        has = at < len(self._matching) and self._matching[at] == place
        if matches == has:
            return True
        shown = not self.dims and place <= self.folds.upto
        if matches:
            self._matching.insert(at, place)
            if shown:
                self.folds.add(place)
        else:
            self._matching.pop(at)
            if shown:
                self.folds.remove(place, self.folds.head(place))
        if shown:
            self._sums.clear()
        self._changes += 1
        return True

    def _lists(self, place: int) -> bool:
        """Whether a row is listed."""
        if self.filtering.everything or self.dims:
            return place < self._seen
        at = bisect_left(self._matching, place)
        return at < len(self._matching) and self._matching[at] == place

    def _row(self, place: int) -> Row:
        return self._then_open.get(place) or self.trace.rows[place]

    def _added(self, place: int, kind: Together) -> Sum:
        """What the rows of a fold are together, as far as they were added up."""
        key = (place, kind)
        known = self._sums.get(key)
        if known is None:
            known = self._sums[key] = Sum(kind)
            if len(self._sums) > _SUMS_KEPT:
                self._sums.popitem(last=False)
        self._sums.move_to_end(key)
        members = self.groups.members(known.upto if known.number else place, kind)
        if known.number:
            next(members)
        looked, known.partial = 0, False
        for one in members:
            if one >= self._seen:
                break
            looked += 1
            if looked > MOST:
                known.partial = True
                break
            if not self._lists(one):
                continue
            row = self._row(one)
            if row.is_open:
                with_open = known.copied()
                with_open.take(one, row)
                return with_open
            known.take(one, row)
        return known

    def _changed(self) -> None:
        self._sums.clear()
        self._changes += 1

    def _restart(self) -> None:
        self._matching = array("Q")
        self._waiting, self._again = [], iter(())
        self._seen = 0
        self.folds.begin()
        self._changed()
        self.filtering.begin()
