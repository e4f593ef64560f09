"""The rows of a trace, passed once to everything that reads all of them.

    feed = Feed(trace)
    feed.subscribe(Sightings(...))
    feed.advance()

Views sum very many rows in many ways. The feed knows which rows are new and which of those it has
passed were still open. It decodes the new ones, SLICE at a time and column by column, and passes
the same columns to each subscriber. It works up to the present end of the trace, or until a budget
is used up, and continues from there next time: a screen and a command use the same code.

A subscriber can rely on this:

- Every row is passed once, in the order of the timeline, whether it is open or not (take).
- A row that was open then is passed once more when it is complete (completed), before any row that
  began later and has not been passed yet.
- After each turn, settle() says whether all current rows have been passed.
- The result is the same however the turns were cut and however the trace grew, except for which
  rows were open when they were passed.

The feed knows nothing about the purpose of its subscribers.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from pgtrace.trace.rows import Columns

if TYPE_CHECKING:
    from pgtrace.trace.trace import Trace

SLICE: Final = 512
"""The number of rows passed between two checks of the clock. No slice extends beyond a multiple of
it."""


class Subscriber:
    """Reads all rows of a trace. Override the methods you need."""

    def take(self, rows: Columns) -> None:
        """Take the next rows; some may be open."""

    def completed(self, rows: Columns) -> None:
        """Take rows that were open in take() and are now complete."""

    def settle(self, *, is_all: bool) -> None:
        """A turn is over. `is_all`: there are no more rows for now."""


class CompleteRows(Subscriber):
    """Reads each row once, when it is complete."""

    def take(self, rows: Columns) -> None:
        self.completed(rows.complete)


class Completed(CompleteRows):
    """Collects the places of the rows that have become complete."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._places: list[int] = []
        feed.subscribe(self)

    def completed(self, rows: Columns) -> None:
        self._places += rows.places

    def places(self, *, with_open: bool = False) -> list[int]:
        """The places not returned before, in rising order. With `with_open`, also those of open
        rows, for a caller that will not wait for them."""
        self._feed.advance()
        found, self._places = self._places, []
        return sorted([*found, *self._feed.open]) if with_open else found


class Feed:
    """Passes the rows of a trace to its subscribers."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.seen = 0
        """The number of rows passed."""
        self.open: list[int] = []
        """The places of rows that were open when they were passed and still are, in rising
        order."""
        self._subscribers: list[Subscriber] = []

    def subscribe(self, subscriber: Subscriber) -> None:
        """Pass all rows to this subscriber as well. Call it before the first advance(); otherwise
        it raises ValueError."""
        if self.seen:
            raise ValueError("rows have already been passed")
        self._subscribers.append(subscriber)

    @property
    def behind(self) -> int:
        """The number of rows not passed yet."""
        return len(self.trace.rows) - self.seen

    def advance(self, budget_s: float | None = None) -> bool:
        """Pass new and newly completed rows, until about `budget_s` is used up. Returns whether all
        were passed."""
        until = None if budget_s is None else time.perf_counter() + budget_s
        rows = self.trace.rows
        self._complete()
        while self.seen < len(rows):
            columns = rows.columns(self.seen, self.seen // SLICE * SLICE + SLICE)
            self.seen += len(columns)
            self.open += columns.open
            for subscriber in self._subscribers:
                subscriber.take(columns)
            if until is not None and time.perf_counter() > until:
                break
        is_all = self.seen == len(rows)
        for subscriber in self._subscribers:
            subscriber.settle(is_all=is_all)
        return is_all

    def _complete(self) -> None:
        """Pass the rows that were open and are now complete."""
        if not self.open:
            return
        were_open = Columns(self.trace.rows, self.open)
        completed = were_open.complete
        if completed:
            self.open = were_open.open
            for subscriber in self._subscribers:
                subscriber.completed(completed)
