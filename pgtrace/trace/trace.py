"""A trace: one or several captures, read, counted and listed; everything a view can ask.

    trace = Trace.open(["checkout.pgtrace"])
    trace.update()
    trace.totals().round_trips

update() reads what is there now and may be called again: a live view, a finished file and a test go through the same code. Records are taken in the order
of their times; several files share one time axis by wall clock, and each connection keeps its file. All times of a trace are wall-clock ns; rows count
from the first record.

What a trace keeps in memory is bounded, whatever the captures hold: closed connections as names and numbers, most of them on a shelf (connections.py), rows in
a mapped file (rows.py), statements by groups (statements.py), meanings of names up to MEANINGS_KEPT. Of more than OPEN_KEPT open connections those that were
silent for longest are put aside: what they counted is kept, and when one goes on, it is read on as after a gap. `put_aside` says how often that was.
"""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, Self

from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.record import (
    FAULT,
    Close,
    Data,
    Elided,
    End,
    Ended,
    Fact,
    Gap,
    Made,
    Mark,
    Opaque,
    Open,
    Pause,
    Record,
    Resume,
    Rewrite,
    Setting,
)
from pgtrace.capture.versions import Header
from pgtrace.errors import UsageError
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.session.cache import Reads
from pgtrace.session.effects import Effect
from pgtrace.shelf import Shelf, Shelved
from pgtrace.trace.blocks import Blocks
from pgtrace.trace.connection import FACTS_KEPT, LONGEST_FACT, Connection
from pgtrace.trace.connections import Connections
from pgtrace.trace.counters import Counters
from pgtrace.trace.disk_waits import DiskWaits
from pgtrace.trace.marks import Interval, MarksOfFiles
from pgtrace.trace.rows import Entry, Kind, Label, Row, RowIndex, Shape
from pgtrace.trace.statements import SLICE, Group, Room, StatementTable

if TYPE_CHECKING:
    from pgtrace.inspect.details import Details
    from pgtrace.inspect.types import DatabaseTypes

MEANINGS_KEPT: Final = 200_000
"""Changes of what a statement's or portal's name means that are remembered for the details of rows."""
MEANINGS_WEIGHT: Final = 100_000
"""What of them is in memory at once, in units of a short statement: those of connections on the shelf are there."""
OPEN_KEPT: Final = 8192
"""Open connections that are read at once."""
DRIVERS_KEPT: Final = 1000
OTHER_DRIVERS: Final = "(other drivers)"
"""What those beyond are summed up as: only a golden names a driver that pgtrace does not know."""
KEYS_KEPT: Final = 20_000
"""Cancel keys in memory."""
FACTS_BYTES_KEPT: Final = 16 * 1024 * 1024
SETTINGS_KEPT: Final = 1000
LONGEST_SETTING: Final = 4096
_ATTEMPTS: Final = 3
"""How often statements are gathered anew because a connection has ended meanwhile; the last time in one go."""
SHARED_KEPT: Final = 10_000
"""Values that are kept once for all connections that have them."""
FILE_SHIFT: Final = 56
"""A position in a trace is the file's number above this, and the reader's position below."""
MOST_FILES: Final = 1 << (64 - FILE_SHIFT)
_READ_BYTES: Final = 1024 * 1024
_BATCH: Final = 256
"""Records between two looks at the clock."""
_POSITION: Final = (1 << FILE_SHIFT) - 1


@dataclass(frozen=True, slots=True)
class StatementView:
    """One statement under one driver."""

    driver: str
    group: Group


class _File:
    """One capture of the trace."""

    __slots__ = ("blocks", "connections", "disk_waits", "name", "number", "path", "reader", "shift_ns")

    def __init__(self, path: str, number: int, name: str, *, follow: bool) -> None:
        self.path = path
        self.name = name
        self.number = number
        self.reader = CaptureReader(path, follow=follow)
        header = self.reader.header
        self.shift_ns = header.wall_ns - header.monotonic_ns
        self.blocks = Blocks(self.reader)
        self.disk_waits = DiskWaits()
        self.connections: dict[int, Connection] = {}
        """By number, those that are not on the shelf."""

    def batches(self, reader: CaptureReader, end: int | None = None) -> Iterator[Batch]:
        """Everything that a reader of it finds now, or finds before the position `end`, some records at a time."""
        number = self.number << FILE_SHIFT
        while blocks := reader.read(_READ_BYTES):
            for block in blocks:
                if end is not None and block.position >= end:
                    return
                records = block.records
                for start in range(0, len(records), _BATCH):
                    yield self, number | block.position, records[start : start + _BATCH]

    def records(self, reader: CaptureReader, end: int | None = None) -> Iterator[tuple[int, Batch]]:
        """The same, each with its time."""
        for file, position, records in self.batches(reader, end):
            for record in records:
                yield record[0] + self.shift_ns, (file, position, [record])


Batch = tuple[_File, int, list[Record]]
"""Records of one block of a file, and the block's position."""


class Trace:
    """One or several captures as one."""

    connection_type: type[Connection] = Connection
    filter: str | None = None
    """The text of the filter its counters are limited to; None where they count everything."""

    def __init__(
        self,
        paths: Iterable[str | os.PathLike[str]],
        *,
        timeline: bool = True,
        names: Iterable[str | os.PathLike[str]] | None = None,
        still: Collection[str] = (),
    ) -> None:
        """Open the captures; nothing is read yet. Without `timeline` the rows are left out. `names` are shown in place of the paths. Of the paths in `still`
        what is there now is read, of the others also what comes later.

        Raises CaptureError, UsageError.
        """
        self.timeline = timeline
        files = [os.fspath(path) for path in paths]
        shown = files if names is None else [os.fspath(name) for name in names]
        if len(files) > MOST_FILES:
            raise UsageError(f"{len(files)} captures at once: at most {MOST_FILES} are read as one")
        self.still = frozenset(still)
        self._files = [
            _File(path, number, name, follow=path not in self.still) for number, (path, name) in enumerate(zip(files, shown, strict=True))
        ]
        self.reads = Reads()
        self.rows = RowIndex()
        self.shelf = Shelf()
        self.connections = Connections(self, self.shelf)
        self.marks = MarksOfFiles([partial(self._sums, file=number) for number in range(len(self._files))], self._standing, self._file_at)
        self.retired = [Counters() for _ in self._files]
        """Sum over connections that have closed or were put aside."""
        self._drivers: dict[str, tuple[int, Counters]] = {}
        """The same by driver, with their number."""
        self.put_aside = 0
        self.times_back = 0
        """Records that say an earlier time than one of their connection before them; each is taken for as late as that one."""
        self.facts_bytes = 0
        """What the facts of open connections take."""
        self.keys: Shelved[bytes, int] = Shelved(self.shelf, KEYS_KEPT)
        """BackendKeyData as recorded -> index of its connection."""
        self.slots: dict[tuple[str, str], str] = {}
        """(upstream, replication slot) -> its output plugin, where its creation was seen."""
        self.settings: dict[tuple[int, str], str] = {}
        """(number of the file, what) -> the latest value of a setting of its recorder."""
        self.start_ns = 0
        self.end_ns = 0
        self._joined = False  # a connection whose beginning is not here
        self.gaps = 0
        self.dropped_bytes = 0
        self._live: dict[int, Connection] = {}
        self.statements_room = Room()
        self._kept_statements: dict[str, StatementTable] = {}
        self._retirements = 0
        """Connections whose statements were taken over."""
        self._meanings = 0
        self.meanings_weight = 0
        """Of those in memory, in units of a short statement."""
        self._shared: dict[Any, Any] = {}
        self._types: dict[tuple[int, str], DatabaseTypes] = {}
        self._ended_files: set[int] = set()
        self._pending: Iterator[Batch] | None = None

    @classmethod
    def open(
        cls,
        paths: Iterable[str | os.PathLike[str]],
        *,
        timeline: bool = True,
        names: Iterable[str | os.PathLike[str]] | None = None,
        still: Collection[str] = (),
    ) -> Self:
        """The captures at these paths as one trace, nothing read yet. Raises CaptureError."""
        return cls(paths, timeline=timeline, names=names, still=still)

    # Reading.

    def update(self, budget_s: float | None = None, budget_bytes: int | None = None) -> bool:
        """Read what is there now, or as much of it as fits the budget, about. Whether anything was new."""
        deadline = None if budget_s is None else time.monotonic() + budget_s
        most_bytes = None if budget_bytes is None else self.read_bytes + budget_bytes
        if self._pending is None:
            self._pending = self._merged()
        changed = False
        unlooked = 0
        for file, position, records in self._pending:
            changed = True
            self._take(file, position, records)
            if self.reads.room.crowded:
                self._put_aside(None)
            unlooked += len(records)
            if unlooked < _BATCH:
                continue
            unlooked = 0
            if (deadline is not None and time.monotonic() > deadline) or (most_bytes is not None and self.read_bytes > most_bytes):
                break
        else:
            self._pending = None
        if changed and self.timeline:
            for connection in self._live.values():
                if connection.has_open_row:
                    connection.draw_open()
            for types in self._types.values():
                types.read_one()
        return changed

    def read_until(self, position: int) -> None:
        """Read the (single) capture on until the recorder's flush position is reached or nothing more is there."""
        while self.update() and self._files[0].reader.position < position:
            pass

    def recorded(self) -> Iterator[tuple[int, Connection | None, Record]]:
        """Everything that was read, once more and in the same order: its time, and the connection it is about."""
        with ExitStack() as opened:
            again = [(file, opened.enter_context(CaptureReader(file.path))) for file in self._files]
            streams = [file.records(reader, file.reader.position) for file, reader in again]
            for time_ns, (file, _, (record,)) in heapq.merge(*streams, key=itemgetter(0)):
                yield time_ns, self._numbered(file, getattr(record, "connection", 0)), record

    @property
    def read_bytes(self) -> int:
        return sum(file.reader.read_bytes for file in self._files)

    @property
    def size_bytes(self) -> int:
        return sum(file.reader.size_bytes for file in self._files)

    @property
    def files(self) -> list[str]:
        """The captures' names, in the order of Connection.file: their paths, or what the user calls them."""
        return [file.name for file in self._files]

    @property
    def paths(self) -> list[str]:
        """Where the captures are, in the same order."""
        return [file.path for file in self._files]

    @property
    def headers(self) -> list[Header]:
        """How the captures begin, in the same order."""
        return [file.reader.header for file in self._files]

    @property
    def ended(self) -> bool:
        """Whether every recording said that it ended."""
        return len(self._ended_files) == len(self._files)

    @property
    def complete(self) -> bool:
        """Whether nothing is missing: read to the end of finished recordings without a gap, no connection without its beginning."""
        return not (self.gaps or self._joined) and all(file.reader.complete for file in self._files)

    @property
    def is_joined(self) -> bool:
        """Whether the beginning of a connection is not here."""
        return self._joined

    @property
    def redacted(self) -> bool:
        """Whether values were blanked while recording."""
        return any(value for (_, what), value in self.settings.items() if what == "redact")

    @property
    def torn_bytes(self) -> int:
        """Bytes at the ends of the files that are no whole block."""
        return sum(file.reader.torn_bytes for file in self._files)

    @property
    def quiet(self) -> bool:
        """Whether nothing is owed on any connection and no message is cut."""
        return all(connection.is_quiet for connection in self._live.values())

    def under_way(self, since: int) -> set[tuple[int, int]]:
        """Connection and place of the rows from `since` on that are still to be completed."""
        places = ((connection.index, connection.under_way) for connection in self._live.values())
        return {(index, place) for index, place in places if place is not None and place >= since}

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.reader.close()
        self.rows.close()
        self.shelf.close()

    # Asking.

    @property
    def duration_ns(self) -> int:
        return self.end_ns - self.start_ns

    def totals(self) -> Counters:
        """The counters of everything."""
        totals = self._sums(self.duration_ns)
        totals.statements_live = sum(retired.statements_live for retired in self.retired) + self._statements_live()
        return totals

    def counted_connections(self) -> Sequence[Connection]:
        """The connections that the counters are about."""
        return self.connections

    def drivers(self) -> list[tuple[str, int, Counters]]:
        """(driver, connections, counters), most round trips first."""
        found: dict[str, tuple[int, Counters]] = {}
        for driver, (number, counters) in self._drivers.items():
            copied = Counters()
            copied.add(counters)
            found[driver] = number, copied
        for connection in self._live.values():
            if connection.is_counted:
                number, counters = _driver_in(found, connection.driver)
                counters.add(connection.counters(self.duration_ns))
                found[_bounded(found, connection.driver)] = (number + (not connection.was_put_aside), counters)
        ordered = sorted(found.items(), key=lambda item: (-item[1][1].round_trips, item[0]))
        return [(driver, count, counters) for driver, (count, counters) in ordered]

    def mark_counters(self) -> dict[str, Counters]:
        """Counters by mark."""
        return self.marks.counters(self.duration_ns)

    def statements(self) -> list[StatementView]:
        """Statements by round trips, most first."""
        views: list[StatementView] = []
        for gathered in self.statements_by_slices():
            views = gathered if gathered is not None else views
        return _sorted(views)

    def statements_by_slices(self) -> Iterator[list[StatementView] | None]:
        """Statements in no order at the end, and None after each slice of the work: whoever has little time at once may read on in between.

        Where a connection ends meanwhile, its statements have moved, and the work begins anew; where that happens again and again, it is done in one go.
        """
        for attempt in range(_ATTEMPTS):
            retired = self._retirements
            tables: dict[str, StatementTable] = {}
            room = Room()
            for driver, add in self._statement_sources():
                for _ in add(tables.setdefault(driver, StatementTable(room))):
                    if attempt < _ATTEMPTS - 1:
                        yield None
                        if self._retirements != retired:
                            break
                if self._retirements != retired:
                    break
            else:
                break
        room.trim()
        views: list[StatementView] = []
        for driver, table in tables.items():
            for group in table.groups.values():
                views.append(StatementView(driver, group))
                if not len(views) % SLICE:
                    yield None
        yield views

    def _statement_sources(self) -> list[tuple[str, Callable[[StatementTable], Iterable[None]]]]:
        """Drivers, and what adds statements of theirs to a table, a slice at a time."""
        kept = [(driver, partial(StatementTable.merge_by_slices, other=table)) for driver, table in self._kept_statements.items()]
        live = [(connection.driver, connection.add_statements) for connection in self._live.values()]
        return [*kept, *live]

    def statements_within(self, marks: Iterable[Interval]) -> list[StatementView]:
        """Statements of marks whose statements are counted, by round trips, most first."""
        tables: dict[str, StatementTable] = {}
        room = Room()
        for mark in marks:
            for connection, table in mark.tables.items():
                tables.setdefault(connection.driver, StatementTable(room)).merge(table)
        room.trim()
        return _sorted([StatementView(driver, group) for driver, table in tables.items() for group in table.groups.values()])

    def details(self, place: int) -> Details:
        """The messages of the row at that place, read from the capture again."""
        from pgtrace.inspect import details

        return details.read(self, place)

    def types_of(self, connection: Connection) -> DatabaseTypes:
        """The types of a connection's database."""
        from pgtrace.inspect.types import DatabaseTypes

        return self._types.setdefault((connection.file, connection.database), DatabaseTypes(self))

    def name_of(self, connection: Connection) -> str:
        """`c2`, or `b:2` for the second of several files."""
        return f"c{connection.number}" if len(self._files) == 1 else f"{letters(connection.file)}:{connection.number}"

    def blocks_at(self, position: int) -> tuple[Blocks, int, int]:
        """The blocks of the file a position is in, the position there, and the shift of its clock to wall time."""
        file = self._files[position >> FILE_SHIFT]
        return file.blocks, position & _POSITION, file.shift_ns

    # For connections.

    def may_log(self, already: bool, weight: int = 1) -> bool:
        """Whether one more meaning of a name may be remembered: the first of a name may as long as there is room for it in memory, others earlier not."""
        self._meanings += 1
        if not self.timeline or (already and self._meanings > MEANINGS_KEPT) or self.meanings_weight + weight > MEANINGS_WEIGHT:
            return False
        self.meanings_weight += weight
        return True

    def may_keep_fact(self, connection: Connection, key: str, value: str) -> bool:
        """Whether a fact about it may be kept: so many of each connection, and so many bytes of all that are open."""
        if connection.session is None or key in connection.facts:
            return key in connection.facts
        size = len(key) + min(len(value), LONGEST_FACT) + 200
        if len(connection.facts) >= FACTS_KEPT or self.facts_bytes + size > FACTS_BYTES_KEPT or len(key) > LONGEST_SETTING:
            return False
        self.facts_bytes += size
        return True

    def share(self, value: Any, instead: Any = None) -> Any:
        """The first of all equal values, so that it is kept once; or what came with it, for what cannot be a key. Nobody may change it."""
        kept = value if instead is None else instead
        return self._shared.setdefault(value, kept) if len(self._shared) < SHARED_KEPT else self._shared.get(value, kept)

    def retire(self, connection: Connection, driver: str, counters: Counters, before: Counters | None) -> None:
        """Take over what a connection has counted that has closed or is put aside; `before` is what was taken over of it earlier."""
        self._retirements += 1
        sums = [self.retired[connection.file]]
        if connection.is_counted:
            number, of_driver = _driver_in(self._drivers, driver)
            self._drivers[_bounded(self._drivers, driver)] = (number + (before is None), of_driver)
            sums.append(of_driver)
        for one in sums:
            one.add(counters)
            if before is not None:
                one.subtract(before)
                one.statements_live -= before.statements_live
        self._live.pop(connection.index, None)
        for old in self.connections.closed(connection):
            self.meanings_weight -= old.meanings_weight
            self._files[old.file].connections.pop(old.number, None)

    def wake(self, connection: Connection) -> None:
        """One that was put aside goes on."""
        self._live[connection.index] = connection
        self._files[connection.file].connections[connection.number] = connection
        if self.connections.woken(connection):
            self.meanings_weight += connection.meanings_weight
        self._bound_open(connection)

    def keep_statements(self, driver: str, table: StatementTable) -> None:
        """Take over the statements of a closed connection."""
        kept = self._kept_statements.setdefault(_bounded(self._kept_statements, driver), StatementTable(self.statements_room))
        kept.take(table)

    def cancelled_by(self, body: bytes) -> Connection | None:
        """The connection a CancelRequest aims at."""
        index = self.keys.get(body[4:])
        return self.connections[index] if index is not None else None

    def _standing(self, index: int) -> Effect | None:
        """The open round trip of a connection as it stands."""
        return self.connections[index].open_effect

    def _sums(self, time_ns: int, file: int | None = None) -> Counters:
        """The sum of all counters, or of those of one file, at that moment; live statements are those of the open connections."""
        sums = Counters()
        for retired in self.retired if file is None else [self.retired[file]]:
            sums.add(retired)
        sums.statements_live = 0
        for connection in self._live.values():
            if file is None or connection.file == file:
                sums.add(connection.counters(time_ns))
        return sums

    def _file_at(self, place: int) -> int:
        """The file of the row at that place."""
        return self.rows.entry(place).position >> FILE_SHIFT

    # Records.

    def _merged(self) -> Iterator[Batch]:
        if len(self._files) == 1:
            return self._files[0].batches(self._files[0].reader)
        return map(itemgetter(1), heapq.merge(*(file.records(file.reader) for file in self._files), key=itemgetter(0)))

    def _take(self, file: _File, position: int, records: list[Record]) -> None:
        shift_ns, connections = file.shift_ns, file.connections
        if not self.start_ns:
            self.start_ns = records[0][0] + shift_ns
        start_ns, end_ns = self.start_ns, self.end_ns
        for record in records:
            if type(record) is Data:  # nearly every record
                time_ns, number, side, offset, data = record
                time_ns += shift_ns
                connection = connections.get(number) or self._connection(file, number, position)
                relative = time_ns - start_ns
                if relative < connection.last_ns:
                    relative = self._not_back(connection)
                connection.receive(side, relative, data, offset, position)
            else:
                time_ns = record[0] + shift_ns
                self._take_rare(time_ns - start_ns, position, file, record)
            end_ns = time_ns if time_ns > end_ns else end_ns
        self.end_ns = end_ns

    def _not_back(self, connection: Connection) -> int:
        """The time of a record whose own lies before what its connection has had already."""
        self.times_back += 1
        return connection.last_ns

    def _take_rare(self, relative: int, position: int, file: _File, record: Record) -> None:
        known = file.connections.get(getattr(record, "connection", 0))
        if known is not None and relative < known.last_ns and not isinstance(record, Pause):  # which is written when it has lasted a while
            relative = self._not_back(known)
        if isinstance(record, Open):
            connection = self._connection(file, record.connection, position)
            connection.listener, connection.upstream = record.listener, record.server or record.upstream
            connection.client, connection.opened_ns = record.client, relative
        elif isinstance(record, Rewrite):
            self._connection(file, record.connection, position).receive(record.side, relative, record.data, record.offset, position)
        elif isinstance(record, Made):
            self._connection(file, record.connection, position).receive(BACKEND, relative, record.data, record.offset, position)
        elif isinstance(record, Close):
            connection = self._connection(file, record.connection, position)
            connection.closed_by = {FRONTEND: "driver", BACKEND: "server"}.get(record.side, "pgtrace")
            connection.close(relative)
        elif isinstance(record, Pause):
            file.disk_waits.note(relative, record)
        elif isinstance(record, Ended):
            self._connection(file, record.connection, position).ended(record.side, record.how, relative)
        elif isinstance(record, Fact):
            connection = self._connection(file, record.connection, position)
            if record.key == FAULT:
                self._row(relative, position, Kind.FAULT, "", f"fault: {record.value}", connection.index)
            else:
                connection.learn(record.key, record.value)
                self.connections.changed(connection)
        elif isinstance(record, Opaque):
            connection = self._connection(file, record.connection, position)
            if connection.session is not None:
                connection.session.opaque(record.side, relative, record.length)
        elif isinstance(record, Gap):
            self._gap(relative, position, file, record)
        elif isinstance(record, Mark):
            if record.begin:
                self.marks.files[file.number].begin(record.name, (file.number, record.id), relative, len(self.rows))
            else:
                self.marks.files[file.number].end((file.number, record.id), relative, len(self.rows))
            self._row(relative, position, Kind.MARK, "", record.name if record.begin else f"{record.name} ends", 0)
        elif isinstance(record, Setting):
            if (file.number, record.key) in self.settings or len(self.settings) < SETTINGS_KEPT:
                self.settings[file.number, record.key[:LONGEST_SETTING]] = record.value[:LONGEST_SETTING]
        elif isinstance(record, Resume):
            self._joined = True
            self._connection(file, record.connection, position).resume(relative, record.startup, record.replies, record.offsets)
        elif isinstance(record, End):
            self._ended_files.add(file.number)
        elif isinstance(record, Elided):
            connection = self._connection(file, record.connection, position)
            if connection.session is not None:
                connection.session.elided(relative, record.messages, record.bytes, record.columns)

    def waited_for_disk(self, row: Row) -> bool:
        """Whether the traffic waited for the recorder's disk while that row was under way: its duration is not the server's alone."""
        end_ns = None if row.duration_ns is None else row.opened_ns + row.duration_ns
        return row.is_round_trip and self._files[self.connections[row.connection].file].disk_waits.during(row.opened_ns, end_ns)

    @property
    def disk_waits_ns(self) -> int:
        """How long the traffic waited for the recorder's disk."""
        return sum(file.disk_waits.waited_ns for file in self._files)

    def _gap(self, relative: int, position: int, file: _File, record: Gap) -> None:
        self.gaps += 1
        self.dropped_bytes += record.bytes
        concerned = [self._numbered(file, record.connection)] if record.connection else list(self._live.values())
        for connection in concerned if record.bytes else []:  # a record without bytes (a mark) leaves the streams whole
            if connection is not None and connection.file == file.number:
                connection.gap(relative)
        one = concerned[0] if len(concerned) == 1 else None
        where = f" on {self.name_of(one)}" if one is not None and record.connection else ""
        side = f" of {'FB'[record.side]}" if record.side in (FRONTEND, BACKEND) else ""
        lost = f"{record.bytes:,} bytes" if record.bytes else f"{record.records:,} record{'' if record.records == 1 else 's'} without bytes"
        text = f"gap  {lost}{side} not recorded{where}".replace(",", " ")
        self._row(relative, position, Kind.GAP, "", text, one.index if one is not None else 0)

    def _row(self, relative: int, position: int, kind: Kind, flight: str, text: str, connection: int) -> None:
        if not self.timeline:
            return
        shape = self.rows.shape(Shape(kind, flight, uncertain=kind is Kind.GAP))
        label = self.rows.label(Label(text))
        nothing = self.reads.effects.nothing.number
        self.rows.append(Entry(position, relative, (0, 0), connection, label, shape, duration_ms=0.0, effect=nothing))

    def _connection(self, file: _File, number: int, position: int) -> Connection:
        connection = self._numbered(file, number)
        if connection is None:
            connection = self.connection_type(self, len(self.connections), file.number, number)
            connection.position = position
            self.connections.append(connection)
            file.connections[number] = connection
            self._live[connection.index] = connection
            self._bound_open(connection)
        return connection

    def _numbered(self, file: _File, number: int) -> Connection | None:
        return file.connections.get(number) or self.connections.numbered(file.number, number)

    def _bound_open(self, newest: Connection) -> None:
        """Put the quarter of the open connections aside that were silent for longest, where there are too many."""
        if len(self._live) > OPEN_KEPT:
            self._put_aside(newest)

    def _put_aside(self, newest: Connection | None) -> None:
        self.reads.room.crowded = False
        longest = sorted(self._live.values(), key=lambda one: max(one.last_ns, one.opened_ns))[: 1 + len(self._live) // 4]
        for connection in longest:
            if connection is not newest:
                connection.put_aside(self.end_ns - self.start_ns)
                self.put_aside += 1

    def _statements_live(self) -> int:
        """Named statements alive on the open connections."""
        return sum(connection.statements_live for connection in self._live.values())


def _bounded(kept: Mapping[str, object], driver: str) -> str:
    """The name under which something of a driver is kept."""
    return driver if driver in kept or len(kept) < DRIVERS_KEPT else OTHER_DRIVERS


def _driver_in(kept: Mapping[str, tuple[int, Counters]], driver: str) -> tuple[int, Counters]:
    """What is counted of a driver so far."""
    return kept.get(_bounded(kept, driver)) or (0, Counters())


def _sorted(views: list[StatementView]) -> list[StatementView]:
    return sorted(views, key=lambda view: (-view.group.round_trips, view.driver, view.group.sql))


def letters(number: int) -> str:
    """The name of a file by its number from 0: a, b, ... z, aa, ab ..."""
    text = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        text = chr(97 + rest) + text
    return text
