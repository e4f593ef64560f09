"""A trace: one or several captures, read, counted and listed. Views use only this class.

    trace = Trace.open(["checkout.pgtrace"])
    trace.update()
    trace.totals().round_trips

update() reads what is available now and may be called again: a live view, a finished file and a
test use the same code. Records are taken in the order of their times; several files share one time
axis by wall clock, and each connection keeps its file. All times of a trace are wall-clock ns; rows
count from the first record.

The memory of a trace is bounded, whatever the captures contain: closed connections are names and
numbers, most of them on a shelf (connections.py), rows are in a mapped file (rows.py), statements
are groups (statements.py), and logs of names have a budget (ledger.py).

The work is done in files.py (the captures), intake.py (their records), connections.py, totals.py
and ledger.py.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Self

from pgtrace.capture.record import LABEL, Record
from pgtrace.capture.versions import Header
from pgtrace.session.effects import Effect
from pgtrace.trace.blocks import Blocks
from pgtrace.trace.connection import Connection
from pgtrace.trace.connections import Connections
from pgtrace.trace.counters import Counters
from pgtrace.trace.files import BATCH, FILE_SHIFT, Again, Batch, CaptureFiles
from pgtrace.trace.intake import Intake
from pgtrace.trace.introspections import Introspections
from pgtrace.trace.ledger import Ledger
from pgtrace.trace.marks import Interval, MarksOfFiles
from pgtrace.trace.observer import ConnectionObserver, ObserverType
from pgtrace.trace.row import Row
from pgtrace.trace.rows import RowIndex
from pgtrace.trace.totals import StatementView, TraceTotals, statements_within
from pgtrace.trace.unread import Unread

_VALUES = frozenset({"params", "literals"})


class Trace:
    """One or several captures, read as one."""

    filter: str | None = None
    """The text of the filter that limits its counters; None if they count everything."""

    def __init__(
        self,
        paths: Iterable[str | os.PathLike[str]],
        *,
        timeline: bool = True,
        statements: bool = True,
        names: Iterable[str | os.PathLike[str]] | None = None,
        still: Collection[str] = (),
        observer: ObserverType = ConnectionObserver,
        rows: RowIndex | None = None,
        apart: Collection[int] = (),
    ) -> None:
        """Open the captures without reading them. Without `timeline` there are no rows, and without
        `statements` no statements. `names` are shown instead of the paths. For the paths in
        `still`, only the present content is read; for the others also what is added later.

        Another `observer` of each connection counts in another way. With its own `rows` it numbers
        the rows as the first reading did, and keeps nothing that only views of rows need.

        The connections with the indexes `apart` count only for themselves: not in the totals, nor
        in those of drivers, statements, marks, labels and files. What they did is counted on the
        other side of a pooler.

        Raises CaptureError and UsageError.
        """
        self._files = CaptureFiles(paths, names, still)
        self.marks = MarksOfFiles(
            [partial(self._counted_in, number) for number in range(len(self._files))], self._open_effect, self._file_at
        )
        self._ledger = Ledger(
            self.marks, self._files.name_of, timeline=timeline, statements=statements, rows=rows, is_second=rows is not None
        )
        self._ledger.in_no_mark = frozenset(apart)
        self._ledger.apart |= self._ledger.in_no_mark
        self._totals = TraceTotals(self._ledger, len(self._files), self.is_counted)
        self.connections = Connections(self._ledger, self._files, self._totals, observer)
        self._intake = Intake(self._ledger, self._totals, self.connections)
        self.timeline = timeline
        self.rows = self._ledger.rows
        self.call_sites = self.marks.noted = self._ledger.call_sites
        self.reads = self._ledger.reads
        self._pending: Iterator[Batch] | None = None

    @classmethod
    def open(
        cls,
        paths: Iterable[str | os.PathLike[str]],
        *,
        timeline: bool = True,
        statements: bool = True,
        names: Iterable[str | os.PathLike[str]] | None = None,
        still: Collection[str] = (),
    ) -> Self:
        """The captures at these paths as one trace, not read yet. Raises CaptureError."""
        return cls(paths, timeline=timeline, statements=statements, names=names, still=still)

    def once_more(self, apart: Collection[int] = (), *, timeline: bool = False) -> Trace:
        """The same captures as another trace, not read yet, with the connections `apart` put apart.
        It has rows if this one has them or `timeline` asks for them. It ends where this one ends
        now."""
        again = Trace(
            self.paths,
            timeline=self.timeline or timeline,
            statements=self._ledger.statements,
            names=self.files,
            still=self.still,
            apart=apart,
        )
        again._files.end_with(self._files)
        return again

    # Reading.

    def update(self, budget_s: float | None = None, budget_bytes: int | None = None) -> bool:
        """Read what is available now, or about as much as the budget allows. Returns whether
        anything was new."""
        deadline = None if budget_s is None else time.monotonic() + budget_s
        most_bytes = None if budget_bytes is None else self.read_bytes + budget_bytes
        if self._pending is None:
            self._pending = self._files.batches()
        changed = False
        unlooked = 0
        for batch in self._pending:
            changed = True
            self._intake.take(batch)
            if self.reads.room.crowded:
                self.connections.put_aside_idle()
            unlooked += len(batch[2])
            if unlooked < BATCH:
                continue
            unlooked = 0
            if (deadline is not None and time.monotonic() > deadline) or (most_bytes is not None and self.read_bytes > most_bytes):
                break
        else:
            self._pending = None
        if changed and self.timeline:
            for connection in self._totals.open.values():
                if connection.has_open_row:
                    connection.draw_open()
        return changed

    def read_until(self, position: int) -> None:
        """Read the (single) capture up to the recorder's flush position, or to its present end."""
        while self.update() and self._files[0].reader.position < position:
            pass

    def unread(self) -> Unread:
        """What the captures have beyond this point, to be counted without being read."""
        waiting = {(connection.file, connection.number) for connection in self._totals.open.values() if not connection.is_quiet}
        return Unread(self._files, waiting)

    def recorded(self) -> Iterator[tuple[int, Connection | None, Record]]:
        """Everything that was read, again in the same order: each record with its time and its
        connection."""
        for time_ns, file, record in self._files.again():
            yield time_ns, self.connections.numbered(file, getattr(record, "connection", 0)), record

    def again(self) -> Again:
        """The records of everything that was read, again in batches, without looking up the
        connections. As more is read, it returns more; use it while is_read_up."""
        return Again(self._files)

    @property
    def is_read_up(self) -> bool:
        """Whether the latest update() processed everything that it had read."""
        return self._pending is None

    @property
    def read_bytes(self) -> int:
        return self._files.read_bytes

    @property
    def size_bytes(self) -> int:
        return self._files.size_bytes

    @property
    def files(self) -> list[str]:
        """The captures' names, in the order of Connection.file: their paths, or the names that the
        user gave them."""
        return [file.name for file in self._files]

    @property
    def paths(self) -> list[str]:
        """The captures' paths, in the same order."""
        return [file.path for file in self._files]

    @property
    def still(self) -> frozenset[str]:
        """The paths of which only the content at the beginning is read."""
        return self._files.still

    @property
    def headers(self) -> list[Header]:
        """The headers of the captures, in the same order."""
        return self._files.headers

    @property
    def ended(self) -> bool:
        """Whether every recording ended regularly."""
        return len(self._intake.ended) == len(self._files)

    @property
    def complete(self) -> bool:
        """Whether nothing is missing: read to the end of finished recordings without a gap, and
        every connection with its beginning."""
        return not (self.gaps or self.is_joined) and self._files.complete

    @property
    def is_joined(self) -> bool:
        """Whether the beginning of a connection is missing."""
        return self._intake.is_joined

    @property
    def has_legs(self) -> bool:
        """Whether a recorder had several legs."""
        return self._intake.has_legs

    @property
    def gaps(self) -> int:
        """The number of gaps in the recording."""
        return self._intake.gaps

    @property
    def dropped_bytes(self) -> int:
        """The number of bytes that were not recorded."""
        return self._intake.dropped_bytes

    @property
    def times_back(self) -> int:
        """The number of records with an earlier time than a previous one of their connection. Each
        gets that one's time."""
        return self._intake.times_back

    @property
    def settings(self) -> dict[tuple[int, str], str]:
        """(number of the file, name) -> the latest value of a setting of its recorder."""
        return self._intake.settings

    def label_of(self, connection: Connection) -> str:
        """The name of the variant that its capture recorded; empty if it has none."""
        return self.settings.get((connection.file, LABEL), "")

    @property
    def redacted(self) -> bool:
        """Whether contents were blanked while recording."""
        return any(value for (_, what), value in self.settings.items() if what == "redact")

    @property
    def values_blanked(self) -> bool:
        """Whether values that drivers sent were blanked: parameters, or literals in SQL."""
        blanked = {word for (_, what), value in self.settings.items() if what == "redact" for word in value.split(",")}
        return not blanked.isdisjoint(_VALUES)

    @property
    def put_aside(self) -> int:
        """How often a connection was put aside, because too many were open."""
        return self.connections.put_aside

    @property
    def torn_bytes(self) -> int:
        """The bytes at the ends of the files that are not a whole block."""
        return self._files.torn_bytes

    @property
    def quiet(self) -> bool:
        """Whether nothing is owed on any connection and no message is incomplete."""
        return all(connection.is_quiet for connection in self._totals.open.values())

    def under_way(self, since: int) -> set[tuple[int, int]]:
        """The connection and place of the rows from `since` on that are not complete yet."""
        places = ((connection.index, connection.under_way) for connection in self._totals.open.values())
        return {(index, place) for index, place in places if place is not None and place >= since}

    def close(self) -> None:
        """Close the files."""
        self._files.close()
        self._ledger.close()

    # Results.

    @property
    def start_ns(self) -> int:
        """The wall-clock time of the first record."""
        return self._ledger.start_ns

    @property
    def end_ns(self) -> int:
        """The wall-clock time of the latest record."""
        return self._ledger.end_ns

    @property
    def duration_ns(self) -> int:
        return self._ledger.duration_ns

    def totals(self) -> Counters:
        """The counters of everything."""
        return self._totals.all(self.duration_ns)

    def is_counted(self, connection: Connection) -> bool:
        """Whether a connection counts in the counters."""
        return True

    @property
    def apart(self) -> AbstractSet[int]:
        """The indexes of the connections that count only for themselves, at this moment."""
        return self._ledger.apart

    def put_apart(self, connections: Collection[int]) -> bool:
        """Let these connections count only for themselves, also in what they have already done.
        Marks count them as before, and so do statements of those that closed long ago. Returns
        whether one is new."""
        new = [index for index in connections if index not in self._ledger.apart]
        for index in new:
            self._totals.put_apart(self.connections[index])
        return bool(new)

    @property
    def counted(self) -> int:
        """How many connections the totals include."""
        return len(self.counted_connections()) - len(self.apart)

    def counted_connections(self) -> Sequence[Connection]:
        """The connections that the counters include."""
        return self.connections

    def connection_counters(self) -> Iterator[tuple[Connection, Counters]]:
        """The connections that the counters include, each with its own counters."""
        for connection in self.counted_connections():
            yield connection, connection.counters(self.duration_ns)

    def drivers(self) -> list[tuple[str, int, Counters]]:
        """(driver, connections, counters), the most round trips first."""
        return self._totals.drivers(self.duration_ns)

    def file_counters(self) -> list[tuple[str, int, Counters]]:
        """(name, connections, counters) of each capture, in their order."""
        return [(name, number, counters) for name, (number, counters) in zip(self.files, self._totals.files(self.duration_ns), strict=True)]

    def label_counters(self) -> list[tuple[str, int, Counters]]:
        """(label, connections, counters), in the order of the captures. Captures with the same
        label are summed, and those without one have an empty label."""
        return self.labelled(self.file_counters())

    def labelled(self, files: Iterable[tuple[str, int, Counters]]) -> list[tuple[str, int, Counters]]:
        """The sums by label of what file_counters() returns, for everything or for some rows."""
        found: dict[str, tuple[int, Counters]] = {}
        for file, (_, number, counters) in enumerate(files):
            label = self.settings.get((file, LABEL), "")
            before, sum_ = found.get(label, (0, Counters()))
            sum_.add(counters)
            found[label] = before + number, sum_
        return [(label, number, counters) for label, (number, counters) in found.items()]

    def mark_counters(self) -> dict[str, Counters]:
        """The counters by mark."""
        return self.marks.counters(self.duration_ns)

    def statements(self) -> list[StatementView]:
        """The statements, sorted by round trips, the most first."""
        return self._totals.statements()

    def statements_by_slices(self) -> Iterator[list[StatementView] | None]:
        """The statements in no particular order at the end, and None after each slice of the work
        (totals.py)."""
        return self._totals.statements_by_slices()

    def statements_within(self, marks: Iterable[Interval]) -> list[StatementView]:
        """The statements of marks whose statements are counted, sorted by round trips, the most
        first."""
        return statements_within(marks)

    @property
    def introspections(self) -> Introspections:
        """What is known about the types of its databases."""
        return self._ledger.introspections

    def name_of(self, connection: Connection) -> str:
        """The connection's name: `c2`, or `b:2` for the second of several files."""
        return connection.name

    def blocks_at(self, position: int) -> tuple[Blocks, int, int]:
        """The blocks of the file to which a position belongs, the position in that file, and the
        shift of the file's clock to wall time."""
        return self._files.blocks_at(position)

    def waited_for_disk(self, row: Row) -> bool:
        """Whether the traffic waited for the recorder's disk during this row: its duration then
        includes that wait."""
        end_ns = None if row.duration_ns is None else row.opened_ns + row.duration_ns
        return row.is_round_trip and self._files[self.connections[row.connection].file].disk_waits.during(row.opened_ns, end_ns)

    def full_buffers(self, connection: Connection) -> list[tuple[int, int]]:
        """The sides of a connection that are not read because the other side does not accept the
        bytes that wait for it, each with the time since when."""
        return self._files[connection.file].full_buffers.of(connection.number)

    @property
    def disk_waits_ns(self) -> int:
        """How long the traffic waited for the recorder's disk."""
        return sum(file.disk_waits.waited_ns for file in self._files)

    def _counted_in(self, file: int, time_ns: int) -> Counters:
        """The counters of one file at that moment."""
        return self._totals.at(time_ns, file)

    def _open_effect(self, index: int) -> Effect | None:
        """The effect of a connection's open round trip so far."""
        return self.connections[index].open_effect

    def _file_at(self, place: int) -> int:
        """The file of the row at this place."""
        return self.rows.entry(place).position >> FILE_SHIFT
