"""Geometric types: float8s in brackets.

A path contains a flag for closed; a path and a polygon contain the number of their points. Source:
geo_ops.c in PostgreSQL's src/backend/utils/adt.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pgtrace.protocol.values.cursor import Cursor
from pgtrace.protocol.values.numbers import float8


def _points(cursor: Cursor, count: int) -> str:
    """The rest of the value as `(x,y),(x,y)`. Raises ValueError if anything follows the points."""
    numbers = [float8(data) for data in cursor.floats(2 * count)]
    cursor.end()
    return ",".join(f"({x},{y})" for x, y in zip(numbers[::2], numbers[1::2], strict=True))


def _point(data: bytes) -> str:
    return _points(Cursor(data), 1)


def _lseg(data: bytes) -> str:
    return f"[{_points(Cursor(data), 2)}]"


def _box(data: bytes) -> str:
    return _points(Cursor(data), 2)


def _path(data: bytes) -> str:
    cursor = Cursor(data)
    closed, count = cursor.integers("Bi")
    points = _points(cursor, count)
    return f"({points})" if closed else f"[{points}]"


def _polygon(data: bytes) -> str:
    cursor = Cursor(data)
    return f"({_points(cursor, cursor.count())})"


def _line(data: bytes) -> str:
    cursor = Cursor(data)
    numbers = [float8(number) for number in cursor.floats(3)]
    cursor.end()
    return f"{{{','.join(numbers)}}}"


def _circle(data: bytes) -> str:
    cursor = Cursor(data)
    x, y, radius = (float8(number) for number in cursor.floats(3))
    cursor.end()
    return f"<({x},{y}),{radius}>"


READERS: Final[dict[str, Callable[[bytes], str]]] = {
    "point": _point,
    "lseg": _lseg,
    "box": _box,
    "path": _path,
    "polygon": _polygon,
    "line": _line,
    "circle": _circle,
}
