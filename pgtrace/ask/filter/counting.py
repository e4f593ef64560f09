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
from typing import TYPE_CHECKING, overload

from pgtrace.ask.filter.selection import Selection
from pgtrace.errors import CaptureError
from pgtrace.session.connection import Session
from pgtrace.session.effects import Counts, Tally
from pgtrace.session.events import Exchange, Passage
from pgtrace.session.statements import Statement
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
        self._uses: dict[Counts, list[int]] = {}  # selected round trips: how many of these Counts, with how many DataRows
        self._sizes = [0, 0]
        self._waited_ns = 0
        self._habits.enough = True  # who it is was found out on the first reading

    @property
    def statements_live(self) -> int:
        return 0

    def counters(self, now_ns: int) -> Counters:
        session = self.session
        if session is None:
            return self._counters or Counters()
        tally, sizes, waited_ns = Tally(), list(self._sizes), self._waited_ns
        for counts, (times, rows) in self._uses.items():
            counts.add_to(tally, times, rows)
        standing = session.open_as_it_stands()
        if standing is not None and self._selected:
            exchange, passage = standing
            exchange.effect.counts.add_to(tally, 1, passage.rows)
            sizes[0] += passage.sent_bytes
            sizes[1] += passage.received_bytes
            waited_ns += session.untold(now_ns)[1]
        return Counters.of_session(tally, sizes, 0, (waited_ns, 0))

    def add_statements(self, table: StatementTable) -> Iterator[None]:
        if self.session is None:
            return
        yield from table.merge_by_slices(self._table)
        standing = self.session.open_as_it_stands() if self.session is not None else None
        if standing is not None and self._selected:
            table.count(*standing)
            if standing[0].effect.is_round_trip:
                table.round_trip(standing[0])

    # What the session tells.

    def begins(self) -> Note:
        note = super().begins()
        offsets = self.session.offsets if self.session is not None else (0, 0)
        self._selected = self._trace.selects(self, note.place, offsets)
        if self._selected and not self.is_counted:
            self.is_counted = True
            self._trace.counted.append(self.index)
        self.statements = self._table if self._selected else None
        return note if self._selected else note._replace(marks=())

    def happened(self, exchange: Exchange, passage: Passage) -> None:
        if not self._selected:
            if exchange.effect.setup:
                self._learn_key()
            return
        super().happened(exchange, passage)
        self._add(exchange, passage, 1)
        if passage.replaces is not None:
            self._add(*passage.replaces, -1)

    def _add(self, exchange: Exchange, passage: Passage, times: int) -> None:
        use = self._uses.setdefault(exchange.effect.counts, [0, 0])
        use[0] += times
        use[1] += times * passage.rows
        self._sizes[0] += times * passage.sent_bytes
        self._sizes[1] += times * passage.received_bytes
        self._waited_ns += times * passage.waited_ns

    def _draw(self, exchange: Exchange, passage: Passage) -> None:
        """The rows are those of the first reading."""

    def _learn(self, exchange: Exchange) -> None:
        if exchange.effect.setup:
            self._learn_key()

    def _identify(self) -> tuple[Identification, Layer]:
        """Who it is was found out on the first reading."""
        first = self._trace.selection.trace.connections
        return first[self.index]._identify() if self.index < len(first) else super()._identify()

    def _retire(self, now_ns: int) -> None:
        self.statements = self._table
        super()._retire(now_ns)
        self._table, self._uses = _Statements(self._trace.statements_room), {}

    def _woken(self, time_ns: int, offset: int, side: int) -> Session | None:
        session = super()._woken(time_ns, offset, side)
        self.statements = None
        return session
