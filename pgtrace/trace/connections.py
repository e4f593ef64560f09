"""The connections of a trace, by index: the open ones and the latest that have closed in memory, all others on the shelf.

One from the shelf is made again each time somebody asks for it, equal to the one before; it is there to be read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, overload

from pgtrace.shelf import Shelf, number_key

if TYPE_CHECKING:
    from pgtrace.trace.connection import Connection
    from pgtrace.trace.trace import Trace

CLOSED_KEPT: Final = 20_000
"""Closed connections in memory."""
_LOOKED_AT: Final = 64


class Connections(Sequence["Connection"]):
    """All of them, in the order in which they began."""

    def __init__(self, trace: Trace, shelf: Shelf) -> None:
        self._trace = trace
        self._shelf = shelf
        self._room, self._numbers = shelf.room(), shelf.room()
        self._count = 0
        self._here: dict[int, Connection] = {}
        self._closed: deque[int] = deque()
        self._looked_at: dict[int, Connection] = {}
        self._shelved = 0

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

    def append(self, connection: Connection) -> None:
        """One more."""
        self._here[connection.index] = connection
        self._count += 1

    def closed(self, connection: Connection) -> Iterator[Connection]:
        """It has closed; those that go on the shelf for it."""
        self._closed.append(connection.index)
        while len(self._closed) > CLOSED_KEPT:
            index = self._closed.popleft()
            old = self._here.get(index)
            if old is not None and old.session is None and old.is_shelved:
                del self._here[index]
                self._keep(old)
                yield old

    def woken(self, connection: Connection) -> bool:
        """One that was put aside goes on: it is in memory again. Whether it was on the shelf."""
        was_shelved = connection.index not in self._here
        self._here[connection.index] = connection
        self._looked_at.pop(connection.index, None)
        return was_shelved

    def numbered(self, file: int, number: int) -> Connection | None:
        """The one on the shelf that has this number in that file."""
        found = self._shelf.get(self._numbers, number_key(file << 32 | number)) if self._shelved else None
        return self[int.from_bytes(found, "big")] if found is not None else None

    def changed(self, connection: Connection) -> None:
        """Something more is known of one that has closed."""
        if connection.index not in self._here:
            self._keep(connection)

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
            found = self._trace.connection_type.restored(self._trace, state)
            if len(self._looked_at) >= _LOOKED_AT:
                self._looked_at.clear()
            self._looked_at[index] = found
        return found
