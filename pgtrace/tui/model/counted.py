"""The counters of the rows that match the filter, added up for a few milliseconds per tick.

They are those of `stats --filter`: exact sums over the selected round trips, from the index
(ask/filter/rowcounting.py) or, where the index does not have all of them, from a second reading
(ask/filter/counting.py). The listing already knows which rows are selected, so nothing is asked
twice. There are no sums until the first are complete. When more rows come, they are added up again:
at most once a second, and once in ten times what it took. Until then they are those of a moment
ago, as the tables are; if that is long ago and more rows match by now, they are lower bounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from pgtrace.ask.filter.counting import CountedTrace
from pgtrace.ask.filter.rowcounting import RowCounts
from pgtrace.ask.filter.selection import Listed
from pgtrace.errors import PgTraceError
from pgtrace.trace.counters import Counters
from pgtrace.tui.model.selected import Selected

if TYPE_CHECKING:
    from pgtrace.tui.model.listing import Listing

BUDGET_S: Final = 0.004
FIRST_BUDGET_S: Final = 0.04
"""The budget while there are no sums yet and the user waits for them."""
_AGAIN_S: Final = 1.0
LATE_S: Final = 2.0
"""How old sums may be before they are shown as lower bounds."""
_SLICE: Final = 4096
"""How many rows are collected before the clock is checked again."""


class Sums(NamedTuple):
    """The sums over the rows that the filter selects."""

    connections: int
    totals: Counters
    drivers: dict[str, tuple[int, Counters]]
    """Connections and counters by driver, most round trips first."""
    by_connection: dict[int, Counters]
    """Counters by the index of the connection."""
    rows: Selected | None = None
    """Further data for the panes, once it is known."""


class Counted:
    """The sums over what a listing selects, kept up to date."""

    def __init__(self, listing: Listing, selected: Callable[[], Selected]) -> None:
        """`selected` makes an empty collection of selected rows."""
        self._selected = selected
        self._taken = selected()
        self._sums: Sums | None = None
        self._listing = listing
        self._of: tuple[str, int] = ("", 0)  # the filter and its turn; another one starts again
        self._rows = -1  # rows there were when the latest sums were begun
        self._matching = 0  # rows that match, when the latest sums were begun
        self._begun_s = 0.0
        self._summed = 0, 0.0  # both of the latest sums that are complete
        self._now_s = 0.0
        self._work: RowCounts | CountedTrace | Iterator[None] | None = None
        self._took_s = 0.0
        self._next_s = 0.0

    @property
    def sums(self) -> Sums | None:
        """The sums for the filter in force; None until they are complete."""
        return self._sums if self._of == self._in_force else None

    @property
    def is_behind(self) -> bool:
        """Whether there have been rows for a while that the sums do not count."""
        matching, begun_s = self._summed
        return self.sums is not None and matching < self._listing.matching and self._now_s - begun_s > LATE_S

    @property
    def _in_force(self) -> tuple[str, int]:
        return self._listing.filtering.text, self._listing.filtering.turn

    def advance(self, now_s: float, budget_s: float | None = None) -> bool:
        """Continue to add up, by default for the usual time. Returns whether the sums have changed
        or are gone.
        """
        listing, self._now_s = self._listing, now_s
        known = self._in_force
        changed = False
        if known != self._of:
            self._of, self._rows, self._next_s = known, -1, 0.0
            self.close()
            changed, self._sums = self._sums is not None, None
        if listing.filtering.everything:
            return changed
        if self._work is None:
            if listing.behind or listing.rows == self._rows or now_s < self._next_s:
                return changed
            self._rows, self._took_s = listing.rows, 0.0
            places = listing.all_places()
            self._matching, self._begun_s = len(places), now_s
            self._work = RowCounts(Listed(listing.filtering.selection, places), places, listing.stretches)
        usual_s = FIRST_BUDGET_S if self._sums is None or self._sums.rows is None else BUDGET_S
        budget_s = usual_s if budget_s is None else budget_s
        if isinstance(self._work, (RowCounts, CountedTrace)):
            return self._continue(self._work, now_s, budget_s) or changed
        return self._collect(self._work, now_s, budget_s) or changed

    def begin_again(self) -> None:
        """Add up again as soon as there is time; until then the old sums stay."""
        self.close()
        self._rows, self._next_s = -1, 0.0

    def hurry(self, now_s: float, budget_s: float = FIRST_BUDGET_S) -> None:
        """Add up again at once, within the budget, because no more rows come for a while."""
        until = time.perf_counter() + budget_s
        self.begin_again()
        self.advance(now_s, budget_s)
        while self._work is not None and (left_s := until - time.perf_counter()) > 0:
            self.advance(now_s, left_s)

    def close(self) -> None:
        """Stop reading."""
        if isinstance(self._work, CountedTrace):
            self._work.close()
        self._work = None

    def _pass(self, places: Sequence[int]) -> Iterator[None]:
        """Collect what the panes need, a slice of rows at a time."""
        self._taken = self._selected()
        for start in range(0, len(places), _SLICE):
            self._taken.take(self._listing.trace.rows.at(places[start : start + _SLICE]))
            yield

    def _continue(self, work: RowCounts | CountedTrace, now_s: float, budget_s: float) -> bool:
        began = time.perf_counter()
        try:
            more = work.update(budget_s)
            self._took_s += time.perf_counter() - began
            if isinstance(work, RowCounts):
                if more:
                    return False
                if not work.is_exact:
                    places = self._listing.all_places()
                    self._work = CountedTrace(Listed(self._listing.filtering.selection, places))
                    return False
                by_connection = work.by_connection()
            else:
                # of a capture that grows, only as far as the rows that are known
                if more and len(work.rows) <= self._rows:
                    return False
                by_connection = {one.index: one.counters(work.duration_ns) for one in work.counted_connections()}
        except (PgTraceError, OSError):  # the beginning of the capture is no longer kept
            self.close()
            return False
        drivers = {driver: (number, counters) for driver, number, counters in work.drivers()}
        self._sums = Sums(len(by_connection), work.totals(), drivers, by_connection, self._sums.rows if self._sums is not None else None)
        self._summed = self._matching, self._begun_s
        self.close()
        self._work = self._pass(self._listing.all_places())
        return True

    def _collect(self, work: Iterator[None], now_s: float, budget_s: float) -> bool:
        """Continue to collect for the panes."""
        began = time.perf_counter()
        for _ in work:
            if time.perf_counter() - began > budget_s:
                self._took_s += time.perf_counter() - began
                return False
        self._took_s += time.perf_counter() - began
        self._work = None
        self._next_s = now_s + max(_AGAIN_S, 10 * self._took_s)
        if self._sums is not None:
            self._sums = self._sums._replace(rows=self._taken)
        return True
