"""Parameter and column values as text for people, from both wire formats.

A value is NULL, or bytes in text format (0) or binary format (1). The readers of binary values
return the text that the server would have sent, so both formats of one value look the same. That
text is then shown like a literal: numbers and booleans bare, everything else in quotes, NULL as
NULL. An empty string is `''` and never NULL.

Nothing is guessed. Only its OID says what type a value has. Binary bytes of an unknown type are
shown as hex with the OID, and bytes that do not fit their type (a three-byte int4) as hex with the
OID and the word `malformed`. Text of an unknown type is shown as text, since its format says so.
decode() never raises.

How the server prints a value depends on its settings. Binary values are shown with these: DateStyle
ISO, IntervalStyle postgres, TimeZone UTC, bytea_output hex, extra_float_digits 1, lc_monetary C.
Values in text format are shown as the server sent them.

    types.py       what a type is, and the list of those that every PostgreSQL has
    reading.py     which module reads which type
    numbers.py strings.py dates.py network.py geometry.py textsearch.py system.py
    extensions.py  scalars, one table each
    containers.py  arrays, records, ranges, multiranges

inspect/types.py learns the types of a database. Layouts are those of the `*send` functions in
PostgreSQL's src/backend/utils/adt.
"""

from __future__ import annotations

import re
import struct
from typing import Final

from pgtrace.protocol.values import numbers, strings
from pgtrace.protocol.values.containers import Unread
from pgtrace.protocol.values.reading import Reader, plain, unread
from pgtrace.protocol.values.types import BUILTIN, NONE, Type, TypeKind, Types, find

__all__ = ["BUILTIN", "NONE", "Type", "TypeKind", "Types", "Unread", "decode", "find", "text", "type_name", "whole_text"]

_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|NaN|-?Infinity").fullmatch
_BOOLEANS: Final = {"t": "true", "f": "false", "true": "true", "false": "false"}


def decode(oid: int, format: int, data: bytes | None, types: Types = NONE) -> str:
    """The display text of one value. `format` is 0 for text and 1 for binary; `types` knows the
    types of the value's database. Returns an Unread if the value's bytes are shown. Never
    raises."""
    if data is None:
        return "NULL"
    shown = _text(oid, format, data, types)
    if isinstance(shown, Unread):
        return shown
    found = plain(oid, types)
    name = found.name if found is not None and found.oid in BUILTIN else ""
    if name in numbers.BARE and _NUMBER(shown):
        return shown
    if name == "bool" and shown in _BOOLEANS:
        return _BOOLEANS[shown]
    quoted = shown.replace("'", "''")
    return f"'{quoted}'"


def text(oid: int, format: int, data: bytes | None, types: Types = NONE) -> str | None:
    """The server's own text of a value, or None for NULL and for a value that cannot be read. Never
    raises."""
    shown = None if data is None else _text(oid, format, data, types)
    return None if isinstance(shown, Unread) else shown


def whole_text(oid: int, format: int, data: bytes, types: Types = NONE) -> str | None:
    """The server's own text of a value, or None if any part of it, such as an array's element,
    cannot be read. Never raises."""
    if format != 1:
        return text(oid, format, data, types)
    try:
        return _Whole(types).read(oid, data)
    except (struct.error, ValueError):
        return None


class _Whole(Reader):
    """A reader that refuses a value if any part of it cannot be read."""

    __slots__ = ()

    def read(self, oid: int, data: bytes) -> str:
        found = super().read(oid, data)
        if isinstance(found, Unread):
            raise ValueError("a part cannot be read")
        return found


def type_name(oid: int, types: Types = NONE) -> str:
    """The name of a type as in pg_type; `text[]` for an array, `oid 12345` for an unknown type."""
    found = find(oid, types)
    if found is not None and found.kind is TypeKind.ARRAY and found.element:
        element = find(found.element, types)
        return f"{element.name}[]" if element is not None and element.name else found.name or f"oid {oid}"
    return found.name if found is not None and found.name else f"oid {oid}"


def _text(oid: int, format: int, data: bytes, types: Types) -> str:
    if format == 0:
        return strings.text(data)
    if format != 1:
        return unread(oid, data, f", format {format}")
    try:
        return Reader(types).read(oid, data)
    except (struct.error, ValueError):
        return unread(oid, data, ", malformed")
