"""Types of common extensions, by name: hstore, citext, ltree, cube and pgvector's.

Their OIDs differ in every database, so they are read only if introspection showed that an OID has
this name. A different type would be mistaken for one of them only if it had both the name and the
layout. Sources: contrib/{hstore,ltree,cube} of PostgreSQL; pgvector's
src/{vector,halfvec,sparsevec}.c.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from pgtrace.protocol.values import strings
from pgtrace.protocol.values.cursor import Cursor
from pgtrace.protocol.values.numbers import float4, float8

_CUBE_IS_POINT: Final = 1 << 31


def _hstore(data: bytes) -> str:
    cursor = Cursor(data)
    pairs: list[str] = []
    for _ in range(cursor.count()):
        key, value = cursor.sized(), cursor.sized()
        if key is None:
            raise ValueError("a pair without a key")
        pairs.append(f"{_quoted(key)}=>{'NULL' if value is None else _quoted(value)}")
    cursor.end()
    return ", ".join(pairs)


def _quoted(data: bytes) -> str:
    escaped = strings.text(data).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _cube(data: bytes) -> str:
    cursor = Cursor(data)
    (header,) = cursor.integers("I")
    dimensions = header & ~_CUBE_IS_POINT
    corners = [cursor.floats(dimensions) for _ in range(1 if header & _CUBE_IS_POINT else 2)]
    cursor.end()
    return ",".join(f"({', '.join(map(float8, corner))})" for corner in corners)


def _vector(data: bytes) -> str:
    cursor = Cursor(data)
    dimensions, unused = cursor.integers("HH")
    numbers = [float4(cursor.take(4)) for _ in range(dimensions)]
    cursor.end()
    return _listed(numbers, unused)


def _halfvec(data: bytes) -> str:
    cursor = Cursor(data)
    dimensions, unused = cursor.integers("HH")
    halves = struct.unpack(f">{dimensions}e", cursor.rest())
    return _listed([float4(struct.pack(">f", half)) for half in halves], unused)


def _listed(numbers: list[str], unused: int) -> str:
    if unused:
        raise ValueError("not a vector")
    return f"[{','.join(numbers)}]"


def _sparsevec(data: bytes) -> str:
    cursor = Cursor(data)
    dimensions, count, unused = cursor.integers("iii")
    places = [cursor.int32() for _ in range(count)]
    numbers = [float4(cursor.take(4)) for _ in range(count)]
    cursor.end()
    if unused or count < 0:
        raise ValueError("not a vector")
    return f"{{{','.join(f'{place + 1}:{number}' for place, number in zip(places, numbers, strict=True))}}}/{dimensions}"


READERS: Final[dict[str, Callable[[bytes], str]]] = {
    "hstore": _hstore,
    "citext": strings.text,
    "ltree": strings.versioned,
    "lquery": strings.versioned,
    "ltxtquery": strings.versioned,
    "cube": _cube,
    "vector": _vector,
    "halfvec": _halfvec,
    "sparsevec": _sparsevec,
}
