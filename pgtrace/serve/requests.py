"""The key of each frontend message, 16 bytes: two requests are the same if their keys are equal.

A key is a hash of the message's meaning. The first KEPT_BYTES of a body count, and its length.

- Names that drivers generate differ from run to run. In recorded order, a statement, portal or
  cursor is the number of its first use. In any order, it is its text. The names in DEALLOCATE,
  EXECUTE, DECLARE, FETCH, MOVE and CLOSE count in the same way.
- With `any_values`, the parameters of Bind and FunctionCall do not count, nor do literals in SQL.
  Their formats do, because the recorded answers are in those.
- CopyData is one stream, however it was cut into messages (CopyRun).
- A Flush before which nothing is owed asks for nothing, nor do Sync and Flush while the server
  copies: whether a driver sends them can depend on timing, so they do not count (Idle).
- A normalised golden has neither the OIDs of Parse nor the contents of CopyData. With `blanked`
  they do not count.

A body that does not match its type byte is compared as it is.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Final, NamedTuple

from pgtrace.protocol import heads
from pgtrace.sqltext import normalise

KEPT_BYTES: Final = 1024 * 1024
"""The most bytes of a message that are kept and compared."""
KEY_BYTES: Final = 16
FLUSH_POINTS: Final = frozenset(b"QFSHcf")
"""Messages after which the server sends all it has."""
_HEAD: Final = re.compile(rb"\s*(?i:(deallocate|execute)|(declare|fetch|move|close))\b")
_DECLARE: Final = re.compile(rb'\s*(?i:declare)\s+"?([^\s"]+)')
_WORD: Final = re.compile(rb"[A-Za-z_\x80-\xff][\w$\x80-\xff]*")


class Idle:
    """Finds the messages of a connection that ask for nothing."""

    __slots__ = ("_pending", "_simple")

    def __init__(self) -> None:
        self._pending = self._simple = False

    def asks_nothing(self, code: int, *, copying: bool) -> bool:
        """Whether the next message asks for nothing. `copying` says whether the server copies from
        the driver when it reads the message.
        """
        if code in b"HS" and copying:
            return True
        if code == ord("H") and not self._pending:
            return True
        if code in b"cf":
            self._pending = not self._simple  # the end of an Execute's COPY flushes nothing
        elif code != ord("d"):
            self._pending, self._simple = code not in FLUSH_POINTS, code == ord("Q")
        return False


class Options(NamedTuple):
    """Which parts of requests count."""

    any_values: bool = False
    any_order: bool = False
    blanked: bool = False


class Requests:
    """Computes the keys of one connection's requests, one after the other."""

    __slots__ = ("_options", "_portals", "_statements")

    def __init__(self, options: Options) -> None:
        self._options = options
        self._statements: dict[bytes, bytes] = {}
        self._portals: dict[bytes, bytes] = {}

    def key(self, code: int, body: bytes, size: int) -> bytes:
        """The key of the next message. Also learns its names."""
        parts = self._parts(code, body)
        return _hash(bytes([code]), *(parts if parts is not None else (body, b"%d" % size)))

    def _parts(self, code: int, body: bytes) -> tuple[bytes, ...] | None:
        match code:
            case 0x51:  # Query
                return (self._sql(body[:-1]),)
            case 0x50:  # Parse
                name, _, behind = body.partition(b"\0")
                sql, ended, types = behind.partition(b"\0")
                if not ended:
                    return None
                text = self._sql(sql)
                types = b"" if self._options.blanked else types
                self._learn(self._statements, name, text + types)
                return self._named(self._statements, name), text, types
            case 0x42:  # Bind
                portal, _, behind = body.partition(b"\0")
                name, ended, values = behind.partition(b"\0")
                if not ended:
                    return None
                statement = self._named(self._statements, name)
                self._learn(self._portals, portal, statement)
                return self._named(self._portals, portal), statement, self._values(values)
            case 0x44 | 0x43:  # Describe, Close
                names = self._statements if body[:1] == b"S" else self._portals
                return body[:1], self._named(names, body[1:-1])
            case 0x45:  # Execute
                name, _, rows = body.partition(b"\0")
                return self._named(self._portals, name), rows
            case 0x46:  # FunctionCall
                oid = b"" if self._options.blanked else body[:4]
                return oid, self._values(body[4:])
        return None

    def _learn(self, names: dict[bytes, bytes], name: bytes, text: bytes) -> None:
        if self._options.any_order:
            names[name] = _hash(text)
        elif name and name not in names:
            names[name] = b"#%d" % (len(names) + 1)

    def _named(self, names: dict[bytes, bytes], name: bytes) -> bytes:
        return names.get(name, b"?" + name if name else b"")

    def _sql(self, sql: bytes) -> bytes:
        if (head := _HEAD.match(sql)) is not None:
            names = self._statements if head[1] else self._portals
            if (declared := _DECLARE.match(sql)) is not None:
                self._learn(names, declared[1], b"cursor")
            if names:
                sql = _WORD.sub(lambda word: names.get(word[0], word[0]), sql)
        if self._options.any_values:
            return normalise(heads.text(sql)).encode("utf-8", "surrogateescape")
        return sql

    def _values(self, body: bytes) -> bytes:
        """Formats and values of Bind and FunctionCall; with `any_values` without the values."""
        if not self._options.any_values:
            return body
        at = 2 + 2 * int.from_bytes(body[:2], "big")
        formats, count = body[:at], int.from_bytes(body[at : at + 2], "big")
        at += 2
        for _ in range(count):
            if at + 4 > len(body):
                return formats
            at += 4 + max(0, int.from_bytes(body[at : at + 4], "big", signed=True))
        return b"%b %d %b" % (formats, count, body[at:])


class CopyRun:
    """The CopyData of a COPY between two other messages, as one stream."""

    __slots__ = ("_cut", "_hash", "bytes")

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=KEY_BYTES)
        self._cut = False
        self.bytes = 0
        """Bytes of data so far."""

    def add(self, body: bytes, size: int) -> None:
        """Add a message. `body` may be cut."""
        self.bytes += size - 5
        self._cut = self._cut or len(body) != size - 5
        self._hash.update(body)

    def key(self, options: Options) -> bytes:
        """The key of the run. One with a message longer than KEPT_BYTES is compared by length."""
        if options.blanked or options.any_values:
            return _hash(b"d")
        return _hash(b"d", b"%d" % self.bytes, b"" if self._cut else self._hash.digest())


def unit_key(keys: list[bytes]) -> bytes:
    """The key of several messages up to a flush point."""
    return _hash(*keys)


def _hash(*parts: bytes) -> bytes:
    hashed = blake2b(digest_size=KEY_BYTES)
    for part in parts:
        hashed.update(b"%d:" % len(part))
        hashed.update(part)
    return hashed.digest()
