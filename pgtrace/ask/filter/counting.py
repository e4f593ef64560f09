"""Counters of the selected round trips by statement and mark, from a second reading.

Other sums come from the index (rowcounting.py). The index does not store the wait of each
execution, or the moment within a round trip at which a mark begins or ends. So statements and marks
under a filter need a second reading of the captures: every byte goes through the same machine, and
each connection knows which of its round trips are selected. The exact counts of the selected round
trips (session/effects.py) are added up.

These sums leave out everything that belongs to no round trip: messages and bytes between round
trips, and `client_ns`. They also leave out `statements_live`, which is not a sum. Times, files and
losses of the capture are those of the whole capture.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from pgtrace.ask.filter.selection import Selection
from pgtrace.errors import CaptureError
from pgtrace.identify.collector import EvidenceCollector
from pgtrace.session.effects import Counts, Tally
from pgtrace.session.events import Exchange, Passage
from pgtrace.session.statements import Statement
from pgtrace.trace.connection import Connection
from pgtrace.trace.copy_log import CopyLog
from pgtrace.trace.counters import Counters
from pgtrace.trace.gathered import Gathered
from pgtrace.trace.identity import Identity
from pgtrace.trace.ledger import Ledger
from pgtrace.trace.name_log import NameLog
from pgtrace.trace.observer import ConnectionObserver
from pgtrace.trace.row import Label, RowEntry, Shape
from pgtrace.trace.rows import RowIndex
from pgtrace.trace.statements import StatementTable
from pgtrace.trace.timeline import RowNote
from pgtrace.trace.trace import Trace


class CountedTrace(Trace):
    """A trace of the same captures that counts only the selected round trips. Nothing is read
    before update(); it has no rows.

    update() raises FilterError if the selection does, and CaptureError if a capture has changed
    since the selection was made.
    """

    def __init__(self, selection: Selection) -> None:
        first = selection.trace
        super().__init__(first.paths, statements=False, names=first.files, still=first.still, observer=self._observe, rows=_Places())
        self._files.end_with(first._files)
        self.filter = selection.text
        self.selection = selection
        self._counted = bytearray()
        """1 for each connection with a selected round trip."""

    def is_counted(self, connection: Connection) -> bool:
        return connection.index < len(self._counted) and bool(self._counted[connection.index])

    def count(self, connection: Identity) -> None:
        """Note that a round trip of the connection is selected."""
        self._counted.extend(bytes(max(0, connection.index + 1 - len(self._counted))))
        self._counted[connection.index] = 1

    def counted_connections(self) -> Sequence[Connection]:
        return _Chosen(self.connections, [index for index, counted in enumerate(self._counted) if counted])

    def selects(self, connection: Identity, place: int, offsets: tuple[int, int]) -> bool:
        """Whether the round trip that begins at these offsets is selected."""
        first = self.selection.trace
        if place >= len(first.rows):
            return False  # it came after the selection was made
        entry = first.rows.entry(place)
        known = first.connections[entry.connection]
        if (known.file, known.number, entry.offsets) != (connection.file, connection.number, offsets):
            raise CaptureError(self.files[connection.file], "it has changed since it was first read: its beginning is no longer kept")
        return self.selection.selects(place)

    def _observe(self, ledger: Ledger, who: Identity, began: list[int], names: NameLog, copies: CopyLog) -> ConnectionObserver:
        first = self.selection.trace.connections
        if who.index < len(first):
            who.is_same_as(first[who.index])
        return _SelectedObserver(self, ledger, who, began, names, copies)


class _Chosen(Sequence[Connection]):
    """A sequence of some of the connections."""

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
    """Numbers the rows as in the first reading, without keeping them."""

    def __init__(self) -> None:
        self._entries = 0

    def __len__(self) -> int:
        return self._entries

    def reserve(self) -> int:
        self._entries += 1
        return self._entries - 1

    def put(self, place: int, entry: RowEntry) -> None:
        pass

    def grow(self, place: int, side: int, size: int) -> None:
        pass

    def relabel(self, place: int, label: Label) -> None:
        pass

    def entry(self, place: int) -> RowEntry:
        return RowEntry(0, 0, (0, 0), 0, 0, 0)

    def shape(self, shape: Shape) -> int:
        return 0

    def label(self, label: Label) -> int:
        return 0

    def close(self) -> None:
        pass


class _Statements(StatementTable):
    """The statements of selected round trips. It does not count how many are alive at the end. No
    statement is on the shelf, because the connection has given them away.
    """

    def live(self, statements: Iterable[Statement]) -> None:
        pass


class _SelectedObserver(ConnectionObserver):
    """Counts the selected round trips of one session. It numbers the rows, but writes none."""

    __slots__ = ("_selected", "_sizes", "_table", "_trace", "_uses", "_waited_ns")

    def __init__(self, trace: CountedTrace, ledger: Ledger, who: Identity, began: list[int], names: NameLog, copies: CopyLog) -> None:
        super().__init__(ledger, who, began, names, copies)
        who.evidence = EvidenceCollector(enough=True)  # the first reading has identified the driver
        self._trace = trace
        self._selected = False  # whether the open, or else the latest, round trip is selected
        self._table = _Statements(ledger.statements_room)
        # by Counts: how many selected round trips have them, and their DataRows together
        self._uses: dict[Counts, list[int]] = {}
        self._sizes = [0, 0]
        self._waited_ns = 0

    @property
    def statements_live(self) -> int:
        return 0

    def counters(self, now_ns: int) -> Counters:
        session = self.who.session
        if session is None:
            return Counters()
        tally, sizes, waited_ns = Tally(), list(self._sizes), self._waited_ns
        for counts, (times, rows) in self._uses.items():
            counts.add_to(tally, times, rows)
        so_far = session.open_so_far()
        if so_far is not None and self._selected:
            exchange, passage = so_far
            exchange.effect.counts.add_to(tally, 1, passage.rows)
            sizes[0] += passage.sent_bytes
            sizes[1] += passage.received_bytes
            waited_ns += session.unreported(now_ns)[1]
        return Counters.of_session(tally, sizes, 0, (waited_ns, 0))

    def add_statements(self, gathered: Gathered) -> Iterator[None]:
        session = self.who.session
        if session is None:
            return
        yield from gathered.add(self._table)
        so_far = session.open_so_far() if self.who.session is session else None
        if so_far is not None and self._selected:
            gathered.add_open(*so_far)

    def given_away(self) -> StatementTable:
        return self._table

    # What the session reports.

    def begins(self) -> RowNote:
        note = super().begins()
        offsets = self.who.session.offsets if self.who.session is not None else (0, 0)
        self._selected = self._trace.selects(self.who, note.place, offsets)
        if self._selected:
            self._trace.count(self.who)
        self.statements = self._table if self._selected else None
        return note if self._selected else note._replace(marks=())

    def happened(self, exchange: Exchange, passage: Passage) -> None:
        if not self._selected:
            if exchange.effect.setup:
                self.who.learn_key()
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

    def _learn(self, exchange: Exchange) -> None:
        if exchange.effect.setup:
            self.who.learn_key()
