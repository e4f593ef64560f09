"""Text and bytes: text and similar types, json, xml, bytea, bit strings, uuid.

Text is decoded as UTF-8 with `surrogateescape`, which loses no byte of another client_encoding.
jsonb and jsonpath are a version byte and text; bytea is shown as with bytea_output hex. Sources:
varlena.c, char.c, varbit.c, jsonb.c, jsonpath.c, uuid.c in PostgreSQL's src/backend/utils/adt.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from pgtrace.protocol.values.cursor import Cursor


def text(data: bytes) -> str:
    """The text with these bytes."""
    return data.decode("utf-8", "surrogateescape")


def versioned(data: bytes) -> str:
    """A version byte, which must be 1, and text."""
    if data[:1] != b"\1":
        raise ValueError("not version 1")
    return text(data[1:])


def _char(data: bytes) -> str:
    (code,) = struct.unpack("B", data)
    return "" if code == 0 else chr(code) if code < 128 else f"\\{code:03o}"


def _bytea(data: bytes) -> str:
    return "\\x" + data.hex()


def _bits(data: bytes) -> str:
    cursor = Cursor(data)
    length = cursor.count()
    stored = cursor.take((length + 7) // 8)
    cursor.end()
    return "".join(f"{byte:08b}" for byte in stored)[:length]


def _uuid(data: bytes) -> str:
    return "-".join(part.hex() for part in struct.unpack("4s2s2s2s6s", data))


def _void(data: bytes) -> str:
    if data:
        raise ValueError("void has no value")
    return ""


READERS: Final[dict[str, Callable[[bytes], str]]] = {
    "text": text,
    "varchar": text,
    "bpchar": text,
    "name": text,
    "unknown": text,
    "cstring": text,
    "refcursor": text,
    "json": text,
    "xml": text,
    "pg_node_tree": text,
    "jsonb": versioned,
    "jsonpath": versioned,
    '"char"': _char,
    "bytea": _bytea,
    "bit": _bits,
    "varbit": _bits,
    "uuid": _uuid,
    "void": _void,
}
