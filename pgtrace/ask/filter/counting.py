"""Counters of the round trips a filter selects, by statement, mark and connection: a second reading.

Totals and those of each driver are sums over the index (rowcounting.py). What one statement of a round trip counted only the session knows, so the captures
are read a second time, every byte through the same machine, and each connection knows which of its round trips are selected. What a session has counted is
looked at whenever a round trip, or a message alone, has ended: what came since the look before belongs to what has ended.

What belongs to no round trip is not in these sums: messages and bytes between round trips, `client_ns`; nor is `statements_live`, which is no sum. The
capture's own times, files and losses stay those of the whole.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from operator import add, attrgetter, sub
from typing import TYPE_CHECKING, Final, overload

from pgtrace.ask.filter.selection import Selection
from pgtrace.errors import CaptureError
from pgtrace.session.connection import Session
from pgtrace.session.events import Exchange, Repeat, RoundTrip, Statement, Tally
from pgtrace.trace.connection import Connection, Note
from pgtrace.trace.counters import Counters
from pgtrace.trace.rows import Entry, Label, RowIndex, Shape
from pgtrace.trace.statements import StatementTable
from pgtrace.trace.trace import Trace

if TYPE_CHECKING:
    from pgtrace.identify.drivers import Identification
    from pgtrace.identify.layers import Layer


class CountedTrace(Trace):
    """The captures of a selection once more, not read yet. Its counters are those of the selected round trips; it has no rows to look at.

    update() raises FilterError where the selection does, and CaptureError where a capture is no longer the one the selection was made of.
    """

    def __init__(self, selection: Selection) -> None:
        super().__init__(selection.trace.paths, names=selection.trace.files, still=selection.trace.still)
        for mine, first in zip(self._files, selection.trace._files, strict=True):
            mine.reader.end_with(first.reader)
        self.connection_type = _CountedConnection
        self.counts_rows = False
        self.filter = selection.text
        self.rows.close()
        self.rows = _Places()
        self.selection = selection
        self.counted = array("I")
        """Indexes of the connections of which a round trip is selected."""

    def counted_connections(self) -> Sequence[Connection]:
        return _Chosen(self.connections, sorted(self.counted))

    def may_log(self, already: bool, weight: int = 1) -> bool:
        return False

    def selects(self, connection: Connection, place: int, offsets: tuple[int, int]) -> bool:
        """Whether the round trip that begins there is selected."""
        first = self.selection.trace
        if place >= len(first.rows):
            return False  # it came after the selection was made
        entry = first.rows.entry(place)
        known = first.connections[entry.connection]
        if (known.file, known.number, entry.offsets) != (connection.file, connection.number, offsets):
            raise CaptureError(self.files[connection.file], "it has changed since it was first read: its beginning is no longer kept")
        return self.selection.selects(place)


class _Chosen(Sequence[Connection]):
    """Some of the connections."""

    def __init__(self, connections: Sequence[Connection], indexes: Sequence[int]) -> None:
        self._connections = connections
        self._indexes = indexes

    def __len__(self) -> int:
        return len(self._indexes)

    @overload
    def __getitem__(self, place: int) -> Connection: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Connection]: ...

    def __getitem__(self, place: int | slice) -> Connection | Sequence[Connection]:
        if isinstance(place, slice):
            return _Chosen(self._connections, self._indexes[place])
        return self._connections[self._indexes[place]]


class _Places(RowIndex):
    """Numbers the rows as the first reading did, and keeps none of them."""

    def __init__(self) -> None:
        self._entries = 0

    def __len__(self) -> int:
        return self._entries

    def reserve(self) -> int:
        self._entries += 1
        return self._entries - 1

    def put(self, place: int, entry: Entry) -> None:
        pass

    def grow(self, place: int, side: int, size: int) -> None:
        pass

    def relabel(self, place: int, label: Label) -> None:
        pass

    def entry(self, place: int) -> Entry:
        return Entry(0, 0, (0, 0), 0, 0, 0)

    def shape(self, shape: Shape) -> int:
        return 0

    def label(self, label: Label) -> int:
        return 0

    def close(self) -> None:
        pass


class _Statements(StatementTable):
    """Statements of selected round trips. They do not count how many live at the end. On the shelf there are none: the connection has given them away."""

    def __reduce__(self) -> tuple[type[_Statements], tuple[()]]:
        return _Statements, ()

    def live(self, statements: Iterable[Statement]) -> None:
        pass


class _Counts:
    """What a session has counted at some moment, quick to take and to subtract."""

    __slots__ = ("numbers", "tables", "wait_ns")

    def __init__(self, tally: Tally, wait_ns: int) -> None:
        self.numbers: tuple[int, ...] = _NUMBERS(tally)
        self.tables: list[dict[int, int]] = [dict(table) for table in _TABLES(tally)]
        self.wait_ns = wait_ns

    def add(self, now: _Counts, before: _Counts) -> None:
        """Add what has been counted between two moments."""
        self.numbers = tuple(map(add, self.numbers, map(sub, now.numbers, before.numbers)))
        self.wait_ns += now.wait_ns - before.wait_ns
        for mine, later, earlier in zip(self.tables, now.tables, before.tables, strict=True):
            for key, count in later.items():
                new = count - earlier.get(key, 0)
                if new:
                    mine[key] = mine.get(key, 0) + new

    def tally(self, max_pipeline_depth: int) -> Tally:
        tally = Tally()
        for name, number in zip(_NUMBER_NAMES, self.numbers, strict=True):
            setattr(tally, name, number)
        for mine, counts in zip(_TABLES(tally), self.tables, strict=True):
            mine.update(counts)
        tally.max_pipeline_depth = max_pipeline_depth
        return tally


_TABLE_NAMES: Final = ("frontend", "backend")
_NUMBER_NAMES: Final = tuple(name for name in Tally.__slots__ if name not in (*_TABLE_NAMES, "max_pipeline_depth"))
_NUMBERS: Final = attrgetter(*_NUMBER_NAMES)
_TABLES: Final = attrgetter(*_TABLE_NAMES)
_NOTHING: Final = _Counts(Tally(), 0)


class _CountedConnection(Connection):
    """A connection that counts its selected round trips."""

    _trace: CountedTrace

    def __init__(self, trace: Trace, index: int, file: int, number: int) -> None:
        super().__init__(trace, index, file, number)
        self.is_counted = False
        """Whether a round trip of it is selected."""
        self.statements = None
        self._selected = False  # the round trip that is open, or was the last one
        self._table = _Statements(trace.statements_room)
        self._sum = _Counts(Tally(), 0)
        self._before = _Counts(Tally(), 0)
        self._bytes = [0, 0]
        self._bytes_counted = (0, 0)  # of the round trip that was the last one
        self._depth = 0
        self._habits.enough = True  # who it is was found out on the first reading

    @property
    def statements_live(self) -> int:
        return 0

    def counters(self, now_ns: int) -> Counters:
        session = self.session
        if session is None:
            return self._counters or Counters()
        session.settle()
        counts, sizes, depth = _Counts(Tally(), 0), list(self._bytes), self._depth
        counts.add(self._sum, _NOTHING)
        current = session.round_trips.current
        if current is not None and self._selected:
            counts.add(_Counts(session.fold(), session.round_trips.waited_ns(now_ns)), self._before)
            sizes[0] += current.sent_bytes
            sizes[1] += current.received_bytes
            depth = max(depth, current.depth)
        return Counters.of_session(counts.tally(depth), sizes, 0, (counts.wait_ns, 0))

    def add_statements(self, table: StatementTable) -> Iterator[None]:
        if self.session is None:
            return
        self.session.settle()
        yield from table.merge_by_slices(self._table)
        if self.session is None:
            return
        current = self.session.round_trips.current
        if current is not None and self._selected:
            table.round_trip(current)

    # What the session tells.

    def begins(self) -> Note:
        note = super().begins()
        offsets = self.session.offsets if self.session is not None else (0, 0)
        self._selected = self._trace.selects(self, note.place, offsets)
        if self._selected and not self.is_counted:
            self.is_counted = True
            self._trace.counted.append(self.index)
        self.statements = self._table if self._selected else None
        self._bytes_counted = (0, 0)
        return note if self._selected else note._replace(marks=())

    def closed(self, round_trip: RoundTrip) -> None:
        super().closed(round_trip)
        self._count(round_trip.depth, round_trip.sent_bytes - self._bytes_counted[0], round_trip.received_bytes - self._bytes_counted[1])
        self._bytes_counted = (round_trip.sent_bytes, round_trip.received_bytes)

    def repeated(self, exchange: Exchange, repeat: Repeat) -> None:
        if self._selected:
            super().repeated(exchange, repeat)
        self._count(exchange.round_trip.depth, repeat.sent_bytes, repeat.received_bytes)

    def alone(self, side: int, code: int, body: bytes, size: int, time_ns: int) -> None:
        super().alone(side, code, body, size, time_ns)
        if self.session is not None and self.session.round_trips.current is None:
            self._look_back()

    def _count(self, depth: int, sent_bytes: int, received_bytes: int) -> None:
        """A round trip, or a late part of it, has ended."""
        before = self._before
        self._look_back()
        if self._selected:
            self._sum.add(self._before, before)
            self._bytes[0] += sent_bytes
            self._bytes[1] += received_bytes
            self._depth = max(self._depth, depth)

    def _look_back(self) -> None:
        if self.session is not None:
            self._before = _Counts(self.session.fold(), self.session.round_trips.waited_ns(0))

    def _put(self, round_trip: RoundTrip) -> None:
        if round_trip.setup:
            self._learn_key()

    def _identify(self) -> tuple[Identification, Layer]:
        """Who it is was found out on the first reading."""
        first = self._trace.selection.trace.connections
        return first[self.index]._identify() if self.index < len(first) else super()._identify()

    def _retire(self, now_ns: int) -> None:
        self.statements = self._table
        super()._retire(now_ns)
        self._table, self._before = _Statements(self._trace.statements_room), _Counts(Tally(), 0)

    def _woken(self, time_ns: int, offset: int, side: int) -> Session | None:
        session = super()._woken(time_ns, offset, side)
        self.statements = None
        return session
