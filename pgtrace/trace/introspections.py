"""Rows of introspection queries that may tell about types, and what was learned from them, by
database.

While reading a capture, only the place of a completed row that may tell about types is noted. The
content of such rows is read from the capture when needed (inspect/types.py), and kept here.

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
    """One database."""

    __slots__ = ("learned", "unread")

    def __init__(self) -> None:
        self.unread: deque[int] = deque(maxlen=UNREAD_KEPT)
        """Places of rows that may tell about types and are not read yet, oldest first."""
        self.learned: dict[int, Type] = {}
        """By OID."""


class Introspections:
    """All databases of a trace."""

    def __init__(self) -> None:
        self._databases: dict[tuple[int, str], Introspected] = {}

    def __iter__(self) -> Iterator[Introspected]:
        return iter(self._databases.values())

    def of(self, file: int, database: str) -> Introspected:
        """A database, by the number of its file and its name."""
        return self._databases.setdefault((file, database), Introspected())

    def note(self, file: int, database: str, place: int) -> None:
        """The row at that place is complete and may tell about types of that database."""
        self.of(file, database).unread.append(place)
