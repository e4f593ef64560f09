"""Values made of other values: arrays, records, ranges, multiranges.

Each is a header and values with a length before them (-1 is NULL). `read`, from an OID and bytes to
text, reads the inner values. Arrays and records contain the OIDs of their elements; ranges do not.
Quoting is that of each output function: text is in double quotes if it is empty or contains blanks
or anything that could be taken for syntax. A value that could not be read (Unread) is never quoted.
It cannot be mistaken for text, because text with a backslash is always quoted.

Sources: arrayfuncs.c, rowtypes.c, rangetypes.c, multirangetypes.c in PostgreSQL's
src/backend/utils/adt.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Final

from pgtrace.protocol.values.cursor import Cursor

Read = Callable[[int, bytes], str]

MOST_DIMENSIONS: Final = 6
_EMPTY, _LOWER_IN, _UPPER_IN, _NO_LOWER, _NO_UPPER = 0x01, 0x02, 0x04, 0x08, 0x10
_IN_ARRAY: Final = {delimiter: re.compile(rf'[{{}}"\\{delimiter} \t\n\r\v\f]').search for delimiter in ",;"}
_IN_RECORD: Final = re.compile(r'[()",\\ \t\n\r\v\f]').search
_IN_RANGE: Final = re.compile(r'[()\[\]",\\ \t\n\r\v\f]').search


class Unread(str):
    """The display text of bytes that could not be read: their type is not known, or they do not fit
    it."""

    __slots__ = ()


def array(data: bytes, element: int, delimiter: str, read: Read) -> str:
    """An array of this element type, 0 for any. Its bounds are shown, as in `[0:1]={a,b}`, if a
    lower bound is not 1."""
    cursor = Cursor(data)
    dimensions, flags, oid = cursor.integers("iiI")
    if not 0 <= dimensions <= MOST_DIMENSIONS or flags not in (0, 1) or (element and oid != element):
        raise ValueError("another array's header")
    sizes, lowers = _bounds(cursor, dimensions)
    items = iter([_array_item(cursor, oid, delimiter, read) for _ in range(math.prod(sizes) if sizes else 0)])
    cursor.end()
    if 0 in sizes or not sizes:
        return "{}"
    bounds = "".join(f"[{lower}:{lower + size - 1}]" for lower, size in zip(lowers, sizes, strict=True))
    return ("" if set(lowers) == {1} else f"{bounds}=") + _nested(items, sizes, delimiter)


def _bounds(cursor: Cursor, dimensions: int) -> tuple[list[int], list[int]]:
    """The size and lower bound of each dimension."""
    pairs = [cursor.integers("ii") for _ in range(dimensions)]
    if any(size < 0 for size, _ in pairs):
        raise ValueError("a negative size")
    return [size for size, _ in pairs], [lower for _, lower in pairs]


def _nested(items: Iterator[str], sizes: list[int], delimiter: str) -> str:
    if not sizes:
        return next(items)
    return f"{{{delimiter.join(_nested(items, sizes[1:], delimiter) for _ in range(sizes[0]))}}}"


def _array_item(cursor: Cursor, oid: int, delimiter: str, read: Read) -> str:
    item = cursor.sized()
    if item is None:
        return "NULL"
    text = read(oid, item)
    if isinstance(text, Unread) or (text and text.upper() != "NULL" and not _IN_ARRAY[delimiter](text)):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def record(data: bytes, read: Read) -> str:
    """A row. Each column contains its own type. NULL is printed as nothing between the commas."""
    cursor = Cursor(data)
    columns: list[str] = []
    for _ in range(cursor.count()):
        (oid,) = cursor.integers("I")
        value = cursor.sized()
        columns.append("" if value is None else _doubled(read(oid, value), _IN_RECORD))
    cursor.end()
    return f"({','.join(columns)})"


def range_of(data: bytes, subtype: int, read: Read) -> str:
    """A range: flags, then the bounds that it has. A missing bound is never inclusive. Flags that
    the server does not know are ignored."""
    cursor = Cursor(data)
    (flags,) = cursor.integers("B")
    lower = "" if flags & (_EMPTY | _NO_LOWER) else _bound(cursor, subtype, read)
    upper = "" if flags & (_EMPTY | _NO_UPPER) else _bound(cursor, subtype, read)
    cursor.end()
    if flags & _EMPTY:
        return "empty"
    opening = "[" if flags & _LOWER_IN and not flags & _NO_LOWER else "("
    closing = "]" if flags & _UPPER_IN and not flags & _NO_UPPER else ")"
    return f"{opening}{lower},{upper}{closing}"


def _bound(cursor: Cursor, subtype: int, read: Read) -> str:
    value = cursor.sized()
    if value is None:
        raise ValueError("a bound is never NULL")
    return _doubled(read(subtype, value), _IN_RANGE)


def multirange(data: bytes, subtype: int, read: Read) -> str:
    """A multirange: its ranges, each with its length."""
    cursor = Cursor(data)
    ranges = [range_of(cursor.sized() or b"", subtype, read) for _ in range(cursor.count())]
    cursor.end()
    return f"{{{','.join(ranges)}}}"


def _doubled(text: str, special: Callable[[str], object]) -> str:
    """Quote as records and ranges do: special characters are doubled."""
    if isinstance(text, Unread) or (text and not special(text)):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '""')
    return f'"{escaped}"'
