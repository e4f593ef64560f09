"""The rows of a trace, each handed once to everything that looks at all of them.

    feed = Feed(trace)
    feed.subscribe(Sightings(...))
    feed.advance()

A view adds up a great many rows in many ways. The feed knows which rows nobody has looked at yet and which of those it has handed out were still open; it
decodes the new ones, SLICE at a time and column by column, and hands the same columns to each subscriber. It works to the present end of the trace, or for as
long as a budget lasts and goes on from there the next time: a screen and a command go through the same code.

What a subscriber can rely on:

- Every row comes once, in the order of the timeline, whether it is open or not (take).
- A row that was open when it came is handed out once more when it is complete (completed), before any row that began later and has not come yet.
- After each turn, settle() says whether everything there is has been handed out.
- What it gets is the same however the turns were cut and however the trace grew, but for which rows were open when they came.

Nothing here knows what the rows are looked at for.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from pgtrace.trace.rows import Columns

if TYPE_CHECKING:
    from pgtrace.trace.trace import Trace

SLICE: Final = 512
"""Rows handed out between two looks at the clock."""


class Subscriber:
    """Looks at all rows of a trace."""

    def take(self, rows: Columns) -> None:
        """The next rows; some may be open."""

    def completed(self, rows: Columns) -> None:
        """Rows that were open when they were taken and are complete now."""

    def settle(self, *, is_all: bool) -> None:
        """A turn is over; `is_all` where there are no more rows for now."""


class CompleteRows(Subscriber):
    """Looks at each row when it is complete, and at none before that."""

    def take(self, rows: Columns) -> None:
        self.completed(rows.complete)


class Completed(CompleteRows):
    """The places of the rows that have become complete, for whoever wants to go through them."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._places: list[int] = []
        feed.subscribe(self)

    def completed(self, rows: Columns) -> None:
        self._places += rows.places

    def places(self, *, with_open: bool = False) -> list[int]:
        """Those that were not asked for before, rising; with those that are still open, where nobody waits for these any longer."""
        self._feed.advance()
        found, self._places = self._places, []
        return sorted([*found, *self._feed.open]) if with_open else found


class Feed:
    """Hands out the rows of a trace."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.seen = 0
        """How many rows have been handed out."""
        self.open: list[int] = []
        """Places of those that were open then and still are, rising."""
        self._subscribers: list[Subscriber] = []

    def subscribe(self, subscriber: Subscriber) -> None:
        """Hand all rows to this one as well; call it before the first advance()."""
        if self.seen:
            raise ValueError("rows have been handed out already")
        self._subscribers.append(subscriber)

    @property
    def behind(self) -> int:
        """How many rows have not been handed out."""
        return len(self.trace.rows) - self.seen

    def advance(self, budget_s: float | None = None) -> bool:
        """Hand out what is new or newly complete, for about as long as the budget lasts; whether that was everything."""
        until = None if budget_s is None else time.perf_counter() + budget_s
        rows = self.trace.rows
        self._complete()
        while self.seen < len(rows):
            columns = rows.columns(self.seen, self.seen + SLICE)
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
        """Hand out what was open and is complete now."""
        if not self.open:
            return
        were_open = Columns(self.trace.rows, self.open)
        completed = were_open.complete
        if completed:
            self.open = were_open.open
            for subscriber in self._subscribers:
                subscriber.completed(completed)
