"""The state that panes share, without any widget: one trace, the facts about its rows, the settings
of the display, and questions that more than one pane asks.

`reading` brings all of it up to the trace, but not while the screen is paused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from pgtrace.ask.filter.completion import Occurring
from pgtrace.judge.advice import Advice
from pgtrace.judge.finding import Finding
from pgtrace.legs.joins import Joins
from pgtrace.recorder import Recorder
from pgtrace.trace import waits
from pgtrace.trace.connection import Connection
from pgtrace.trace.feed import Feed
from pgtrace.trace.row import RowKind
from pgtrace.trace.trace import Trace
from pgtrace.trace.waits import Wait
from pgtrace.tui.model.counted import Counted
from pgtrace.tui.model.items import Item
from pgtrace.tui.model.lanes import Lanes
from pgtrace.tui.model.listing import Listing
from pgtrace.tui.model.reading import Reading
from pgtrace.tui.model.selected import Selected
from pgtrace.tui.model.snapshot import DriverTotals, Snapshot, Snapshots
from pgtrace.tui.model.source import Source
from pgtrace.tui.model.survey import Survey
from pgtrace.tui.model.theme import Pen
from pgtrace.tui.model.variants import Variant, Variants

WAITS_NS: Final = 1_000_000_000
"""How long a round trip must be open before the screen says what it waits for."""


@dataclass(slots=True)
class View:
    """The state that all widgets share."""

    trace: Trace
    source: Source
    pen: Pen
    recorder: Any = None
    """The handle of the recorder, or the import of standard input, that writes the capture. It is
    only asked whether it is alive.
    """
    joins: Joins | None = None
    """The joins of a pooler's two sides, if they are known already."""
    marked: str = ""
    """The open mark that was begun here."""
    times: str = "time"
    waterfall: bool = False
    """Whether bars take the room of rows and bytes, and are split."""
    raw: bool = False
    """Whether values are shown as bytes, not by their types."""
    feed: Feed = field(init=False)
    listing: Listing = field(init=False)
    survey: Survey = field(init=False)
    _variants: Variants = field(init=False)
    counted: Counted = field(init=False)
    """The sums over what matches the filter."""
    occurring: Occurring = field(init=False)
    """The values that the filter line completes."""
    advice: Advice = field(init=False)
    lanes: Lanes = field(init=False)
    snapshots: Snapshots = field(init=False)
    reading: Reading = field(init=False)

    def __post_init__(self) -> None:
        self.feed = Feed(self.trace)
        self.advice = Advice(self.trace, feed=self.feed)
        self.snapshots = Snapshots(self.trace, self.advice)
        self.survey = Survey(self.feed, self.driver)
        self._variants = Variants(self.feed)
        self.occurring = Occurring(self.trace)
        self.feed.subscribe(self.occurring)
        self.listing = Listing(self.feed, self.driver)
        self.counted = Counted(self.listing, lambda: Selected(self.trace, self.advice, self.driver))
        self.lanes = Lanes(self.trace, self.joins, joins_sides=self.source.joins_sides)
        self.reading = Reading(
            self.trace,
            self.source,
            self.recorder,
            feed=self.feed,
            listing=self.listing,
            counted=self.counted,
            lanes=self.lanes,
            snapshots=self.snapshots,
        )

    @property
    def snapshot(self) -> Snapshot:
        """The numbers of the moment that is shown."""
        return self.reading.snapshot

    @property
    def live_recorder(self) -> Recorder | None:
        """The recorder, while it records; None for an import of standard input, which takes no
        orders.
        """
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
    def how_to_begin(self) -> str:
        """While nothing has come: where it is said how something comes."""
        return "; 1 shows where to point a driver" if self.source.addresses and not len(self.trace.rows) else ""

    @property
    def upstream_refused(self) -> str:
        """The answer to the latest connection attempt if the server could not be reached; else
        empty.
        """
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
        """The panes' data about the rows that the filter selects; None until it is known."""
        return self.counted.sums.rows if self.counted.sums is not None else None

    @property
    def compares(self) -> bool:
        """Whether two captures are shown that are not the sides of a pooler: then they are
        compared."""
        return len(self.trace.files) == 2 and self.lanes.are_known and self.lanes.joins is None

    @property
    def drivers(self) -> tuple[DriverTotals, ...]:
        """The drivers and their counters; under a filter, of the selected round trips, once they
        are added up.
        """
        if not self.is_filtered:
            return self.snapshot.drivers
        sums = self.counted.sums
        return tuple(DriverTotals(driver, *summed) for driver, summed in sums.drivers.items()) if sums is not None else ()

    @property
    def variants(self) -> list[Variant]:
        """The drivers and their counters, by variants if they are known."""
        sums = self.counted.sums if self.is_filtered else None
        return self._variants.told_apart(self.drivers, sums.by_connection if sums is not None else None)

    def is_of(self, connection: int, variant: Variant) -> bool:
        """Whether a connection belongs to a variant, or to a driver that is not split."""
        own = self.driver(connection) == variant.driver
        return own and (not variant.is_one_of_several or self._variants.name_of(connection) == variant.name)

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
        return kind is not None and self.snapshots.shows(kind.name, self.driver(connection))

    def remedies(self, place: int, connection: int) -> list[str]:
        """The remedies of the finding that a row belongs to; none if it belongs to none."""
        kind, driver = self.advice.kind_at(place), self.driver(connection)
        found = [one.remedies for one in self.snapshot.findings if kind is not None and (one.name, one.driver) == (kind.name, driver)]
        return list(found[0]) if found else []

    def wait_of(self, connection: Connection, since_ns: int) -> Wait | None:
        """What a connection has been waiting for, after a while; else None; `since_ns` is when its
        open round trip began.
        """
        return waits.of(self.trace, connection) if self.reading.now_ns - since_ns >= WAITS_NS and not self.reading.paused else None

    def problems(self) -> list[int]:
        """Places of errors and gaps, and of the first row of each finding, rising."""
        return sorted({*self.survey.problems, *(finding.evidence[0].place for finding in self.snapshot.findings if finding.evidence)})

    def connection(self, number: int) -> Connection | None:
        """The connection of a row; None for rows without one, such as marks."""
        connections = self.trace.connections
        return connections[number] if 0 <= number < len(connections) else None

    def driver(self, number: int) -> str:
        """The driver of a connection, at most half a second old."""
        return self.snapshots.driver(number)

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
        """When the item ended; the present time while it is open."""
        end = item.end_ns
        return max(self.reading.now_ns, item.opened_ns) if end is None else end
