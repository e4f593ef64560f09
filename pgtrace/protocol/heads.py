"""The parts of bodies that the reading path needs, read without the message classes.

A reader of a capture needs the names, formats and texts of a dozen kinds of messages, each body
once. Importing and compiling the classes costs more than using them: a quarter of a small capture's
CPU time. The functions here read the same layouts and return None for a body that its class would
refuse. tests/protocol/test_heads.py proves that they agree with the classes, on the classes' own
examples, cut and mutated.
"""

from __future__ import annotations

import struct
from typing import Final

INSIDE_XLOGDATA: Final = 25
"""Where the data of an XLogData begins."""
XID_BYTES: Final = 4
"""The bytes of the transaction id that comes before the body of some messages of a streamed
transaction."""
_UINT16: Final = struct.Struct(">H").unpack_from
_FORMAT: Final = struct.Struct(">h").unpack_from
_COLUMN_BYTES: Final = 18
"""The bytes after a column's name: table, number, type, size, modifier, and the format in the last
two."""


def text(data: bytes) -> str:
    """The text of a String. It loses no byte, whatever the encoding."""
    return data.decode("utf-8", "surrogateescape")


def strings(body: bytes, count: int) -> tuple[str, ...] | None:
    """Exactly that many Strings and nothing after them, as in Query, CommandComplete and
    ParameterStatus."""
    parts = body.split(b"\0")
    return tuple(map(text, parts[:-1])) if len(parts) == count + 1 and not parts[-1] else None


def named(body: bytes) -> tuple[str, str] | None:
    """The kind and name of a Describe or Close."""
    names = strings(body[1:], 1)
    return (body[:1].decode("latin-1"), names[0]) if names is not None else None


def execute(body: bytes) -> str | None:
    """The portal name of an Execute."""
    end = body.find(0)
    return text(body[:end]) if end >= 0 and len(body) == end + 5 else None


def parse(body: bytes) -> tuple[str, str, tuple[int, ...]] | None:
    """The name, SQL and parameter types of a Parse."""
    name, _, behind = body.partition(b"\0")
    sql, ended, behind = behind.partition(b"\0")
    types = type_oids(behind) if ended else None
    return (text(name), text(sql), types) if types is not None else None


def type_oids(body: bytes) -> tuple[int, ...] | None:
    """The type OIDs of a ParameterDescription."""
    return _counted(body, "I")


def bind(head: bytes) -> tuple[str, str, tuple[int, ...]] | None:
    """The portal, statement and parameter formats of a Bind whose values are cut off."""
    portal, _, behind = head.partition(b"\0")
    statement, ended, behind = behind.partition(b"\0")
    formats = _counted(behind, "h") if ended else None
    return (text(portal), text(statement), formats) if formats is not None else None


def column_formats(body: bytes) -> list[int] | None:
    """The formats of a RowDescription's columns."""
    if len(body) < 2:
        return None
    formats: list[int] = []
    position = 2
    for _ in range(_UINT16(body)[0]):
        position = body.find(0, position) + 1 + _COLUMN_BYTES
        if position <= _COLUMN_BYTES or position > len(body):
            return None
        formats += _FORMAT(body, position - 2)
    return formats if position == len(body) else None


def startup(body: bytes) -> tuple[int, tuple[tuple[str, str], ...]] | None:
    """The version and parameters of a StartupMessage of protocol 3."""
    *parts, end, rest = [b"", *body[4:].split(b"\0")]
    names, values = parts[1::2], parts[2::2]
    if len(body) < 5 or end or rest or len(names) != len(values) or not all(names):
        return None
    return int.from_bytes(body[:4], "big"), tuple(zip(map(text, names), map(text, values), strict=True))


def _counted(body: bytes, letter: str) -> tuple[int, ...] | None:
    if len(body) < 2:
        return None
    layout = f">{_UINT16(body)[0]}{letter}"
    return struct.unpack_from(layout, body, 2) if len(body) == 2 + struct.calcsize(layout) else None
