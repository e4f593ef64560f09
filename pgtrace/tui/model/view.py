"""What the screen shows at the moment, apart from any widget: the trace read so far, the listing,
the totals, whether it moves.

tick() is called ten times a second. It reads what is there within its budget, brings listing and
survey up to date, and takes one snapshot of the totals, which every widget draws from, so all of
them show the same moment. While paused the trace is not read: whatever a pane asks it, sorted or
filtered in whatever way, is of the moment of the pause. What waits to be read is only counted
(trace/unread.py), and when the screen goes on it is read as at the beginning.

After a redraw that took longer than SLOW_REDRAW_S the next ones come four times a second.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Final

from pgtrace.ask.filter.completion import Occurring
from pgtrace.errors import FilterError
from pgtrace.inspect import types
from pgtrace.judge.advice import Advice
from pgtrace.judge.finding import Finding
from pgtrace.legs.joins import Joins
from pgtrace.recorder import Recorder
from pgtrace.trace import waits
from pgtrace.trace.connection import Connection
from pgtrace.trace.feed import Feed
from pgtrace.trace.row import RowKind
from pgtrace.trace.trace import Trace
from pgtrace.trace.unread import Unread
from pgtrace.trace.waits import Wait
from pgtrace.tui.model.counted import Counted
from pgtrace.tui.model.items import Item
from pgtrace.tui.model.lanes import Lanes
from pgtrace.tui.model.listing import Listing
from pgtrace.tui.model.pace import Pace
from pgtrace.tui.model.rates import Rates
from pgtrace.tui.model.selected import Selected
from pgtrace.tui.model.snapshot import DriverTotals, Snapshot, Snapshots
from pgtrace.tui.model.source import Source
from pgtrace.tui.model.survey import Survey
from pgtrace.tui.model.theme import Pen

TICK_S: Final = 0.1
READ_AHEAD_S: Final = 0.035
"""How often what has come is read between ticks."""
SLOW_TICK_S: Final = 0.25
SLOW_REDRAW_S: Final = 0.05
GROWING_S: Final = 3.0
"""How long after it has grown a file without an end record counts as live."""
READ_BUDGET_S: Final = 0.03
CATCH_UP_BUDGET_S: Final = 0.07
"""Spent on reading in a tick while the trace lags far behind the file."""
GO_ON_BUDGET_S: Final = 0.2
"""Spent at once on what waited when the screen goes on."""
FEED_BUDGET_S: Final = 0.05
LIST_BUDGET_S: Final = 0.04
WAITS_NS: Final = 1_000_000_000
"""How long a round trip is open before the screen says what it waits for."""
DRIVERS_AGAIN_S: Final = 0.5
"""How long a driver is remembered: finding it out means a look at every open connection."""
BEAT_S: Final = 0.5
"""How often the screen is drawn while nothing happens, for its clock."""


@dataclass(slots=True)
class View:
    """The state that all widgets share."""

    trace: Trace
    source: Source
    pen: Pen
    recorder: Any = None
    """The handle of what writes the capture, a recorder or an import of standard input; it is only
    asked whether it is alive."""
    joins: Joins | None = None
    """The joins of a pooler's two sides, if they are known already."""
    marked: str = ""
    """The open mark that was begun here."""
    paused: bool = False
    times: str = "time"
    waterfall: bool = False
    """Whether bars take the room of rows and bytes, and are split."""
    raw: bool = False
    """Whether values are shown as bytes, not by their types."""
    snapshot: Snapshot = field(init=False)
    feed: Feed = field(init=False)
    listing: Listing = field(init=False)
    survey: Survey = field(init=False)
    counted: Counted = field(init=False)
    """The sums over what matches the filter."""
    occurring: Occurring = field(init=False)
    """The values that the filter line completes."""
    given_up: FilterError | None = None
    """A filter that took too long on a row: it is no longer in force, and the user should know."""
    advice: Advice = field(init=False)
    lanes: Lanes = field(init=False)
    rates: Rates = field(init=False)
    now_ns: int = 0
    """The present, since the start of the capture: where open round trips end for now."""
    waiting: int = 0
    """Round trips that began while paused."""
    catching_up: bool = False
    """Whether the latest reading stopped because its time was up."""
    loaded: bool = False
    """Whether everything that was there at first has been read."""
    growing: bool = False
    """Whether more may come: a recording that has not ended, or a file that has grown lately."""
    unfinished: bool = False
    """Whether a fold in sight has not been added up yet."""
    _grew_s: float = -GROWING_S
    _pace: Pace = field(default_factory=Pace)
    _ahead_until_s: float = 0.0
    """Until then a tick need not read."""
    _drawn_s: float = 0.0
    _next_draw_s: float = 0.0
    _stale: bool = False
    _drivers: dict[int, str] = field(default_factory=dict)
    _drivers_until_s: float = 0.0
    _snapshots: Snapshots = field(init=False)
    _fed: bool = True
    """Whether all rows have been passed on."""
    _unread: Unread | None = None
    """While paused: what waits."""
    _noted: int = 0
    """Round trips that the rates know of, those that wait among them."""
    _set_up: int = 0
    """Those of them that turned out to be none of the totals."""

    def __post_init__(self) -> None:
        self.feed = Feed(self.trace)
        self.survey = Survey(self.feed, self.driver)
        self.advice = Advice(self.trace, feed=self.feed)
        self.occurring = Occurring(self.trace)
        self.feed.subscribe(self.occurring)
        self.listing = Listing(self.feed, self.driver)
        self.counted = Counted(self.listing, lambda: Selected(self.trace, self.advice, self.driver))
        self.lanes = Lanes(self.trace, self.joins, joins_sides=self.source.joins_sides)
        self.rates = Rates()
        self._snapshots = Snapshots(self.trace, self.advice)
        self.snapshot = self._snapshots.take(0.0, growing=False)

    def tick(self, now_s: float) -> bool:
        """Read on. Returns whether anything has to be drawn now."""
        trace = self.trace
        if now_s >= self._drivers_until_s and not self.paused:
            self._drivers.clear()
            self._snapshots.drivers_due = True
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
        self._stale |= changed or self.unfinished or (growing and (bool(self.survey.open) or now_s >= self._drawn_s + BEAT_S))
        if not self._stale or now_s < self._next_draw_s:
            return False
        self._stale = self.unfinished = False
        self._drawn_s = now_s
        self._next_draw_s = now_s + (SLOW_TICK_S if self.catching_up else 0.0)
        if not self.paused:
            self.snapshot = self._snapshots.take(now_s, growing=growing)
        if growing:
            totals = self.snapshot.totals
            known = totals.round_trips + self.waiting + self._set_up
            if known < self._noted and not self.catching_up:  # what waited has been read
                self._set_up += self._noted - known
                known = self._noted
            if known >= self._noted:
                self._noted = known
                self.rates.note(now_s, known, totals.errors)
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

    def _look_at_the_clock(self) -> None:
        wall_ns = time.time_ns() - self.trace.start_ns if self.trace.start_ns else 0
        self.now_ns = max(self.trace.duration_ns, wall_ns) if self.growing else self.trace.duration_ns

    def _rests(self, now_s: float) -> bool:
        """Whether the traffic needs the processors more."""
        return self.growing and self.loaded and self._pace.rests(now_s)

    def _join(self, now_ns: int) -> bool:
        """Go on joining the two sides of a pooler: what the server's side did is not counted a
        second time. Returns whether more is known now."""
        if not self.lanes.advance(now_ns):
            return False
        joins = self.lanes.joins
        if joins is not None and self.trace.put_apart(joins.connections):
            self._snapshots.drivers_due = True
            self.listing.filtering.count_again()
            self.counted.begin_again()
        return True

    def redrawn(self, now_s: float, took_s: float) -> None:
        """Note how long a redraw took: it decides when the next one may come."""
        if took_s > SLOW_REDRAW_S:
            self._next_draw_s = now_s + SLOW_TICK_S

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
        self._snapshots.findings_due |= changed
        return changed

    def pause(self) -> None:
        """Freeze the screen, all of it at what has been read, or continue."""
        self.waiting = 0
        if self.paused:
            self.paused, self._unread = False, None
            self.listing.thaw()
            self._stale |= self._read_on(self._drawn_s, GO_ON_BUDGET_S)
            self._next_draw_s = 0.0
            return
        self.sync()
        self._drivers.clear()
        self._snapshots.drivers_due = True
        self._snapshots.ask_again()
        self.snapshot = self._snapshots.take(self._drawn_s, growing=self.growing)
        self._look_at_the_clock()
        self.paused, self._unread = True, self.trace.unread()
        self.catching_up = False  # a frozen screen is not behind
        self.listing.freeze(self.survey.open)
        self.counted.hurry(self._drawn_s)

    @property
    def behind_s(self) -> float:
        """How old the latest thing read is while reading cannot keep up; else 0."""
        if not self.catching_up or not self.growing:
            return 0.0
        return max(0.0, (time.time_ns() - self.trace.end_ns) / 1e9)

    @property
    def live_recorder(self) -> Recorder | None:
        """The recorder, as long as it records; an import of standard input takes no orders."""
        return self.recorder if isinstance(self.recorder, Recorder) and self.recorder.alive else None

    @property
    def rtt_ns(self) -> int:
        """The network delay that is added at the moment, in ns."""
        return self.recorder.rtt_ns if isinstance(self.recorder, Recorder) else 0

    @property
    def single_driver(self) -> bool:
        """Whether the whole capture has one driver: then rows do not name it."""
        return len(self.snapshot.drivers) < 2

    @property
    def upstream_refused(self) -> str:
        """What the latest connection attempt was answered if the server could not be reached; else
        nothing."""
        place = len(self.trace.rows) - 1
        while place >= 0 and self.trace.rows[place].shape.kind is RowKind.CLOSED:
            place -= 1
        label = self.trace.rows[place].label if place >= 0 else None
        return label.message if label is not None and label.sqlstate == "57P03" and label.message.startswith("pgtrace:") else ""

    @property
    def is_filtered(self) -> bool:
        """Whether a filter is in force."""
        return not self.listing.filtering.everything

    @property
    def selected(self) -> Selected | None:
        """What the panes need of the rows that the filter selects; None until it is known."""
        return self.counted.sums.rows if self.counted.sums is not None else None

    @property
    def compares(self) -> bool:
        """Whether two captures are shown that are not the sides of a pooler: then they are
        compared."""
        return len(self.trace.files) == 2 and self.lanes.are_known and self.lanes.joins is None

    @property
    def drivers(self) -> tuple[DriverTotals, ...]:
        """The drivers and their counters: those of what the filter selects, once it is added up."""
        if not self.is_filtered:
            return self.snapshot.drivers
        sums = self.counted.sums
        return tuple(DriverTotals(driver, *told) for driver, told in sums.drivers.items()) if sums is not None else ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings: those that a selected row belongs to, once that is known."""
        if not self.is_filtered:
            return self.snapshot.findings
        rows = self.selected
        return tuple(one for one in self.snapshot.findings if rows is not None and rows.has_finding(one.name, one.driver))

    def findings_of(self, item: Item) -> list[str]:
        """The names of the findings that are shown and that rows of a line belong to."""
        places = [(place, row.connection) for place, row in zip(item.places, item.rows, strict=True)]
        kinds = [self.advice.kind_at(place) for place, connection in places if self.is_found(place, connection)]
        return [kind.name for kind in kinds if kind is not None]

    def is_found(self, place: int, connection: int) -> bool:
        """Whether a row belongs to a finding that is shown."""
        kind = self.advice.kind_at(place)
        return kind is not None and self._snapshots.shows(kind.name, self.driver(connection))

    def remedies(self, place: int, connection: int) -> list[str]:
        """The remedies of the finding that a row belongs to; none if it belongs to none."""
        kind, driver = self.advice.kind_at(place), self.driver(connection)
        found = [one.remedies for one in self.snapshot.findings if kind is not None and (one.name, one.driver) == (kind.name, driver)]
        return list(found[0]) if found else []

    def wait_of(self, connection: Connection, since_ns: int) -> Wait | None:
        """What a connection waits for, if it has for a while; `since_ns` is when its open round
        trip began."""
        return waits.of(self.trace, connection) if self.now_ns - since_ns >= WAITS_NS and not self.paused else None

    def problems(self) -> list[int]:
        """Places of errors and gaps, and of the first row of each finding, rising."""
        return sorted({*self.survey.problems, *(finding.evidence[0].place for finding in self.snapshot.findings if finding.evidence)})

    def connection(self, number: int) -> Connection | None:
        """The connection of a row; None for rows without one, such as marks."""
        connections = self.trace.connections
        return connections[number] if 0 <= number < len(connections) else None

    def driver(self, number: int) -> str:
        """The driver of a connection, at most half a second old."""
        driver = self._drivers.get(number)
        if driver is None:
            connection = self.connection(number)
            driver = self._drivers[number] = connection.driver if connection else ""
        return driver

    def connection_name(self, number: int) -> str:
        """The name of a connection: `c2`, or with the file's letter if several files are shown."""
        connection = self.connection(number)
        return self.trace.name_of(connection) if connection else ""

    @property
    def connection_cells(self) -> int:
        """The width of the longest connection name, its lane included, so that columns seldom
        change."""
        return max(2, len(self.connection_name(len(self.trace.connections) - 1))) + self.lanes.deepest

    def item_end_ns(self, item: Item) -> int:
        """When the row ended; the present while it is open."""
        end = item.end_ns
        return max(self.now_ns, item.opened_ns) if end is None else end
