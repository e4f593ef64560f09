"""The connections of a trace, by index: the open ones and the most recently closed ones in memory,
all others on the shelf.

A connection from the shelf is rebuilt for each request, equal to the previous copy; it is
read-only.

If more than OPEN_KEPT connections are open, those silent for longest are put aside: their counts
are kept, and when one continues, it is read as after a gap. `put_aside` counts how often this
happened.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, overload

from pgtrace.shelf import number_key
from pgtrace.trace.connection import Connection
from pgtrace.trace.counters import Counters
from pgtrace.trace.files import CaptureFile, CaptureFiles
from pgtrace.trace.ledger import Ledger
from pgtrace.trace.observer import ObserverType
from pgtrace.trace.statements import StatementTable
from pgtrace.trace.totals import TraceTotals

OPEN_KEPT: Final = 8192
"""The most open connections that are read at the same time."""
CLOSED_KEPT: Final = 20_000
"""The most closed connections in memory."""
_LOOKED_AT: Final = 64


class Connections(Sequence[Connection]):
    """All connections of a trace, in the order in which they began."""

    def __init__(self, ledger: Ledger, files: CaptureFiles, totals: TraceTotals, observer: ObserverType) -> None:
        self._ledger = ledger
        self._files = files
        self._totals = totals
        self._observer = observer
        shelf = ledger.shelf
        self._shelf = shelf
        self._room, self._numbers = shelf.room(), shelf.room()
        self._count = 0
        self._here: dict[int, Connection] = {}
        self._closed: deque[int] = deque()
        self._looked_at: dict[int, Connection] = {}
        self._shelved = 0
        self.put_aside = 0
        """How many times a connection was put aside."""

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Connection: ...

    @overload
    def __getitem__(self, index: slice) -> list[Connection]: ...

    def __getitem__(self, index: int | slice) -> Connection | list[Connection]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(self._count))]
        if index < 0:
            index += self._count
        found = self._here.get(index)
        return found if found is not None else self._from_shelf(index)

    def __iter__(self) -> Iterator[Connection]:
        for index in range(self._count):
            yield self[index]

    def numbered(self, file: CaptureFile, number: int) -> Connection | None:
        """The connection with this number in this file, if it has begun."""
        found = file.connections.get(number)
        if found is not None or not self._shelved:
            return found
        index = self._shelf.get(self._numbers, number_key(file.number << 32 | number))
        return self[int.from_bytes(index, "big")] if index is not None else None

    def begun(self, file: CaptureFile, number: int, position: int) -> Connection:
        """The connection with this number in this file. If it is new, it is created, with its first
        record at `position`."""
        connection = self.numbered(file, number)
        if connection is None:
            connection = Connection(self._ledger, self, self._observer, self._count, file.number, number)
            connection.position = position
            self._here[connection.index] = connection
            self._count += 1
            file.connections[number] = connection
            self._totals.open[connection.index] = connection
            self._bound_open(connection)
        return connection

    def put_aside_idle(self, newest: Connection | None = None) -> None:
        """Put aside the quarter of the open connections that were silent for longest, except
        `newest`."""
        open_ = self._totals.open
        self._ledger.reads.room.crowded = False
        longest = sorted(open_.values(), key=lambda one: max(one.last_ns, one.opened_ns))[: 1 + len(open_) // 4]
        for connection in longest:
            if connection is not newest:
                connection.put_aside(self._ledger.duration_ns)
                self.put_aside += 1

    # Reports of a connection.

    def woken(self, connection: Connection) -> None:
        """A connection that was put aside continues: it is in memory again."""
        self._totals.open[connection.index] = connection
        self._files[connection.file].connections[connection.number] = connection
        if connection.index not in self._here:
            self._ledger.log_weight += connection.log_weight
        self._here[connection.index] = connection
        self._looked_at.pop(connection.index, None)
        self._bound_open(connection)

    def retired(self, connection: Connection, counters: Counters, before: Counters | None, statements: StatementTable | None) -> None:
        """A connection has closed or is put aside: take its counts, and move older ones to the
        shelf."""
        self._totals.retired(connection, counters, before, statements)
        self._closed.append(connection.index)
        while len(self._closed) > CLOSED_KEPT:
            index = self._closed.popleft()
            old = self._here.get(index)
            if old is not None and old.session is None:
                del self._here[index]
                self._keep(old)
                self._ledger.log_weight -= old.log_weight
                self._files[old.file].connections.pop(old.number, None)

    def changed(self, connection: Connection) -> None:
        """More is known about a closed connection."""
        if connection.index not in self._here:
            self._keep(connection)

    def _bound_open(self, newest: Connection) -> None:
        if len(self._totals.open) > OPEN_KEPT:
            self.put_aside_idle(newest)

    def _keep(self, connection: Connection) -> None:
        self._shelf.put(self._room, number_key(connection.index), connection.stored())
        self._shelf.put(self._numbers, number_key(connection.file << 32 | connection.number), number_key(connection.index))
        self._looked_at.pop(connection.index, None)
        self._shelved += 1

    def _from_shelf(self, index: int) -> Connection:
        found = self._looked_at.get(index)
        if found is None:
            state = self._shelf.get(self._room, number_key(index)) if 0 <= index < self._count else None
            if state is None:
                raise IndexError(index)
            found = Connection.restored(self._ledger, self, self._observer, state)
            if len(self._looked_at) >= _LOOKED_AT:
                self._looked_at.clear()
            self._looked_at[index] = found
        return found
