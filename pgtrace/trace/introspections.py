"""What introspection queries told about the types of each database: rows that may tell, and what was learned from them.

Reading a capture notes the place of a completed row whose results may tell about types, and nothing else: that is all
it costs. What such rows say is read from the capture when somebody needs it (inspect/types.py), and kept here.

What was learned anywhere in a capture holds for all of it, since drivers ask once for each process and not for each
connection. It holds for one database of one file: OIDs mean something else in the next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from pgtrace.protocol.values import Type

UNREAD_KEPT: Final = 200
"""Rows that wait to be read, of each database; of more, the latest."""


class Introspected:
    """One database."""

    __slots__ = ("learned", "unread")

    def __init__(self) -> None:
        self.unread: deque[int] = deque(maxlen=UNREAD_KEPT)
        """Places of rows that may tell about types and were not read yet, the oldest first."""
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
