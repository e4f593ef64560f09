"""Objects that do not fit into memory, by key, in a private temporary database on disk.

A reader's memory is bounded whatever a capture holds, and its numbers stay exact. So beyond a
bound, objects that are rarely needed and may be numerous are put here: closed connections, cancel
keys, marks. SQLite keeps the file, which has no name and disappears with the process. Its cache is
small.

A value is pickled. This process made it, and no other process can write to the file. The caller
must leave out references to live objects. This is the lowest layer: it imports nothing of pgtrace.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    import sqlite3

_CACHE_KIB: Final = 4096
_TABLE: Final = "CREATE TABLE kept (room INTEGER, key BLOB, value BLOB, PRIMARY KEY (room, key)) WITHOUT ROWID"

K = TypeVar("K")
V = TypeVar("V")


class Shelf:
    """Values by room and key."""

    def __init__(self) -> None:
        self._database: sqlite3.Connection | None = None
        self._rooms = 0

    def room(self) -> int:
        """A new, separate room."""
        self._rooms += 1
        return self._rooms

    def put(self, room: int, key: bytes, value: bytes) -> None:
        """Store a value, replacing the one with this key."""
        self._opened().execute("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", (room, key, value))

    def get(self, room: int, key: bytes) -> bytes | None:
        """The value with this key; None if there is none."""
        if self._database is None:
            return None
        found = self._database.execute("SELECT value FROM kept WHERE room = ? AND key = ?", (room, key)).fetchone()
        return found[0] if found is not None else None

    def before(self, room: int, key: bytes) -> bytes | None:
        """The value with the greatest key below this one; None if there is none."""
        if self._database is None:
            return None
        query = "SELECT value FROM kept WHERE room = ? AND key < ? ORDER BY key DESC LIMIT 1"
        found = self._database.execute(query, (room, key)).fetchone()
        return found[0] if found is not None else None

    def values(self, room: int) -> Iterator[bytes]:
        """All values of a room, in the order of their keys."""
        if self._database is not None:
            for (value,) in self._database.execute("SELECT value FROM kept WHERE room = ? ORDER BY key", (room,)):
                yield value

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            import sqlite3  # most captures do not need it

            self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            for pragma in (f"cache_size = -{_CACHE_KIB}", "journal_mode = OFF", "synchronous = OFF", "temp_store = FILE"):
                self._database.execute(f"PRAGMA {pragma}")
            self._database.execute(_TABLE)
        return self._database


class Shelved(Generic[K, V]):
    """A dictionary with the latest entries in memory, and the others on the shelf."""

    def __init__(self, shelf: Shelf, most: int) -> None:
        self._shelf = shelf
        self._room = shelf.room()
        self._most = most
        self._here: dict[K, V] = {}
        self._moved = False

    def __setitem__(self, key: K, value: V) -> None:
        if len(self._here) >= self._most:
            for old, its in self._here.items():
                self._shelf.put(self._room, stored(old), stored(its))
            self._here.clear()
            self._moved = True
        self._here[key] = value

    def get(self, key: K) -> V | None:
        """The value of a key, or None."""
        found = self._here.get(key)
        if found is not None or not self._moved:
            return found
        kept = self._shelf.get(self._room, stored(key))
        return loaded(kept) if kept is not None else None


def number_key(number: int) -> bytes:
    """A key that sorts by number."""
    return number.to_bytes(8, "big")


def stored(value: object) -> bytes:
    """The bytes of a value, to store."""
    import pickle  # most captures do not need it

    return pickle.dumps(value, protocol=5)


def loaded(state: bytes) -> Any:
    """The value that stored() made these bytes from."""
    import pickle

    return pickle.loads(state)  # noqa: S301 - this process made it
