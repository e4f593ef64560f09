"""Rows of introspection queries that may contain information about types, and what was learned from
them, by database.

While a capture is read, only the places of such rows are noted when they are complete. Their
contents are read from the capture when needed (inspect/types.py), and kept here.

What was learned anywhere in a capture applies to all of it, because drivers ask once per process,
not per connection. It applies to one database of one file: OIDs have other meanings in the next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pgtrace.protocol.values import Type

UNREAD_KEPT: Final = 200
"""The most rows of each database that wait to be read; the latest are kept."""


class Introspected:
    """The introspections of one database."""

    __slots__ = ("learned", "unread")

    def __init__(self) -> None:
        self.unread: deque[int] = deque(maxlen=UNREAD_KEPT)
        """The places of rows that may contain information about types and are not read yet, oldest
        first."""
        self.learned: dict[int, Type] = {}
        """The learned types, by OID."""


class Introspections:
    """The introspections of all databases in a trace."""

    def __init__(self) -> None:
        self._databases: dict[tuple[int, str], Introspected] = {}

    def __iter__(self) -> Iterator[Introspected]:
        return iter(self._databases.values())

    def of(self, file: int, database: str) -> Introspected:
        """The introspections of a database, by the number of its file and its name."""
        return self._databases.setdefault((file, database), Introspected())

    def note(self, file: int, database: str, place: int) -> None:
        """The row at this place is complete and may contain information about types of this
        database."""
        self.of(file, database).unread.append(place)
