"""Keeps the screen up to date with a growing trace, and stops while paused.

tick() is called ten times a second. It reads new data within its budget, brings listing and survey
up to date, and takes one snapshot of the totals. Every widget draws from it, so all of them show
the same moment. Between two ticks read_ahead() does some of that work.

While paused the trace is not read, so every pane shows the moment of the pause, however it is
sorted or filtered. Unread data is only counted (trace/unread.py), and is read when the screen
continues, as at the beginning.

After a redraw that took longer than SLOW_REDRAW_S the next ones come four times a second.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Final

from pgtrace.errors import FilterError
from pgtrace.inspect import types
from pgtrace.trace.feed import Feed
from pgtrace.trace.trace import Trace
from pgtrace.trace.unread import Unread
from pgtrace.tui.model.counted import Counted
from pgtrace.tui.model.lanes import Lanes
from pgtrace.tui.model.listing import Listing
from pgtrace.tui.model.pace import Pace
from pgtrace.tui.model.rates import Rates
from pgtrace.tui.model.snapshot import Snapshot, Snapshots
from pgtrace.tui.model.source import Source

TICK_S: Final = 0.1
READ_AHEAD_S: Final = 0.035
"""How often new data is read between ticks, in seconds."""
SLOW_TICK_S: Final = 0.25
SLOW_REDRAW_S: Final = 0.05
GROWING_S: Final = 3.0
"""How long after it has grown a file without an end record counts as live."""
READ_BUDGET_S: Final = 0.03
CATCH_UP_BUDGET_S: Final = 0.07
"""Spent on reading in a tick while the trace lags far behind the file."""
GO_ON_BUDGET_S: Final = 0.2
"""Seconds spent at once on unread data when the screen continues."""
FEED_BUDGET_S: Final = 0.05
LIST_BUDGET_S: Final = 0.04
DRIVERS_AGAIN_S: Final = 0.5
"""How long a driver is remembered: finding it out means a look at every open connection."""
BEAT_S: Final = 0.5
"""How often the screen is drawn while nothing happens, for its clock."""


@dataclass(slots=True)
class Reading:
    """Reads the trace, and updates everything that depends on it."""

    trace: Trace
    source: Source
    recorder: Any
    """The handle of what writes the capture; it is only asked whether it is alive."""
    feed: Feed
    listing: Listing
    counted: Counted
    lanes: Lanes
    snapshots: Snapshots
    snapshot: Snapshot = field(init=False)
    """The latest snapshot."""
    rates: Rates = field(default_factory=Rates)
    now_ns: int = 0
    """The present time since the start of the capture, at which open round trips end for now."""
    paused: bool = False
    waiting: int = 0
    """Round trips that began while paused."""
    catching_up: bool = False
    """Whether the latest reading stopped because its time was over."""
    loaded: bool = False
    """Whether everything that was there at first has been read."""
    growing: bool = False
    """Whether more may come: a recording that has not ended, or a file that has grown lately."""
    unfinished: bool = False
    """Whether something visible has not been added up yet and must be drawn again."""
    given_up: FilterError | None = None
    """A filter that took too long on a row: it is no longer in force, and the user should know."""
    _grew_s: float = -GROWING_S
    _pace: Pace = field(default_factory=Pace)
    _ahead_until_s: float = 0.0
    """Until then a tick need not read."""
    _drawn_s: float = 0.0
    _next_draw_s: float = 0.0
    _stale: bool = False
    _drivers_until_s: float = 0.0
    _fed: bool = True
    """Whether all rows have been passed on."""
    _unread: Unread | None = None
    """While paused: the unread data."""
    _noted: int = 0
    """Round trips that the rates know of, those that wait among them."""
    _set_up: int = 0
    """Those of them that the totals do not count."""

    def __post_init__(self) -> None:
        self.snapshot = self.snapshots.take(0.0, growing=False)

    def tick(self, now_s: float) -> bool:
        """Read new data. Returns whether anything must be drawn now."""
        trace = self.trace
        if now_s >= self._drivers_until_s and not self.paused:
            self.snapshots.forget_drivers()
            self._drivers_until_s = now_s + DRIVERS_AGAIN_S
        waits = now_s < self._ahead_until_s or self._rests(now_s)
        is_read = waits and not self.listing.behind  # or a filter is new
        changed = not is_read and self._read_on(now_s)
        written = bool(self.source.listener) or (self.recorder is not None and self.recorder.alive)
        recent = written or now_s - self._grew_s < GROWING_S
        growing = self.source.live and not trace.ended and recent
        changed |= growing != self.growing
        self.growing = growing
        changed |= not is_read and self.counted.advance(now_s)
        if self.loaded and not self.paused:
            changed |= self._join(time.time_ns() - trace.start_ns)
        moves = growing and (bool(self.feed.open) or now_s >= self._drawn_s + BEAT_S)
        self._stale |= changed or self.unfinished or moves
        if not self._stale or now_s < self._next_draw_s:
            return False
        self._stale = self.unfinished = False
        self._drawn_s = now_s
        self._next_draw_s = now_s + (SLOW_TICK_S if self.catching_up else 0.0)
        if not self.paused:
            self.snapshot = self.snapshots.take(now_s, growing=growing)
        if growing:
            self._note_rates(now_s)
        if not self.paused:
            self._look_at_the_clock()
        return True

    def read_ahead(self, now_s: float) -> None:
        """Read on and add up between two ticks, so that the next one only draws and keys wait less;
        not while the latest tick has left some of its work."""
        if self.growing and self._fed and not (self.paused or self.catching_up or self.listing.behind or self._rests(now_s)):
            self._stale |= self._read_on(now_s)
            self._stale |= self.counted.advance(now_s)
            self._ahead_until_s = now_s + READ_AHEAD_S

    def sync(self) -> bool:
        """Bring listing, survey and advice up to the trace, or to the moment of the pause. Returns
        whether there is something new to show."""
        changed = False
        if not self.paused:
            before, self._fed = self._fed, self.feed.advance(FEED_BUDGET_S)
            changed = not (before and self._fed)
        try:
            changed |= self.listing.sync(LIST_BUDGET_S)
        except FilterError as error:
            self.given_up, changed = error, True
        self.snapshots.findings_due |= changed
        return changed

    def pause(self) -> None:
        """Freeze the whole screen at the data read so far, or continue."""
        self.waiting = 0
        if self.paused:
            self.paused, self._unread = False, None
            self.listing.thaw()
            self._stale |= self._read_on(self._drawn_s, GO_ON_BUDGET_S)
            self._next_draw_s = 0.0
            return
        self.sync()
        self.snapshots.forget_drivers()
        self.snapshots.ask_again()
        self.snapshot = self.snapshots.take(self._drawn_s, growing=self.growing)
        self._look_at_the_clock()
        self.paused, self._unread = True, self.trace.unread()
        self.catching_up = False  # a frozen screen is not behind
        self.listing.freeze(self.feed.open)
        self.counted.hurry(self._drawn_s)

    def redrawn(self, now_s: float, took_s: float) -> None:
        """Note how long a redraw took: it decides when the next one may come."""
        if took_s > SLOW_REDRAW_S:
            self._next_draw_s = now_s + SLOW_TICK_S

    @property
    def behind_s(self) -> float:
        """How far reading is behind, in seconds, while it cannot keep up; else 0."""
        if not self.catching_up or not self.growing:
            return 0.0
        return max(0.0, (time.time_ns() - self.trace.end_ns) / 1e9)

    def _read_on(self, now_s: float, budget_s: float = 0.0) -> bool:
        """Read what is there, or as much as the usual budget allows, at least `budget_s`, and pass
        it on. Returns whether there is something new to show."""
        if self._unread is not None:
            return self._count_on(now_s, self._unread)
        with self._pace.reading(now_s):
            budget = max(budget_s, CATCH_UP_BUDGET_S if self.catching_up else READ_BUDGET_S)
            started = time.perf_counter()
            changed = self.trace.update(budget_s=budget)
            if changed:
                types.read_ahead(self.trace)
            caught_up = not changed or time.perf_counter() - started < budget
            if changed and self.loaded:
                self._grew_s = now_s
            changed |= caught_up == self.catching_up
            self.catching_up = not caught_up
            self.loaded |= caught_up
            return changed | self.sync()

    def _count_on(self, now_s: float, unread: Unread) -> bool:
        """Count what waits. Returns whether there is something new to show: more waits, or the
        filter or the folds have changed while the screen is paused."""
        changed = unread.advance(READ_BUDGET_S)
        if changed:
            self.waiting, self._grew_s = unread.round_trips, now_s
        return changed or bool(self.listing.behind and self.sync())

    def _rests(self, now_s: float) -> bool:
        """Whether the traffic needs the processors more."""
        return self.growing and self.loaded and self._pace.rests(now_s)

    def _join(self, now_ns: int) -> bool:
        """Continue to join the two sides of a pooler, so that the server's side is not counted a
        second time. Returns whether more is known now.
        """
        if not self.lanes.advance(now_ns):
            return False
        joins = self.lanes.joins
        if joins is not None and self.trace.put_apart(joins.connections):
            self.snapshots.drivers_due = True
            self.listing.filtering.count_again()
            self.counted.begin_again()
        return True

    def _look_at_the_clock(self) -> None:
        wall_ns = time.time_ns() - self.trace.start_ns if self.trace.start_ns else 0
        self.now_ns = max(self.trace.duration_ns, wall_ns) if self.growing else self.trace.duration_ns

    def _note_rates(self, now_s: float) -> None:
        totals = self.snapshot.totals
        known = totals.round_trips + self.waiting + self._set_up
        if known < self._noted and not self.catching_up:  # what waited has been read
            self._set_up += self._noted - known
            known = self._noted
        if known >= self._noted:
            self._noted = known
            self.rates.note(now_s, known, totals.errors)
