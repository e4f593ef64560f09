"""The types of system columns: row and WAL positions, snapshots, vectors of numbers.

Sources: tid.c, pg_lsn.c, xid8funcs.c, int.c, oid.c in PostgreSQL's src/backend/utils/adt.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from pgtrace.protocol.values.cursor import Cursor
from pgtrace.protocol.values.numbers import integer


def _tid(data: bytes) -> str:
    block, offset = struct.unpack(">IH", data)
    return f"({block},{offset})"


def _lsn(data: bytes) -> str:
    high, low = struct.unpack(">II", data)
    return f"{high:X}/{low:X}"


def _snapshot(data: bytes) -> str:
    cursor = Cursor(data)
    count = cursor.count()
    earliest, next_one = cursor.integers("QQ")
    running = [str(number) for _ in range(count) for number in cursor.integers("Q")]
    cursor.end()
    return f"{earliest}:{next_one}:{','.join(running)}"


def _vector(element: int, layout: str) -> Callable[[bytes], str]:
    """A vector type: sent as an array of one dimension without NULLs, printed with blanks between
    its numbers."""
    number = integer(layout)

    def read(data: bytes) -> str:
        cursor = Cursor(data)
        dimensions, flags, oid = cursor.integers("iiI")
        if dimensions != 1 or flags or oid != element:
            raise ValueError("not a vector")
        count, _ = cursor.integers("ii")
        numbers = [number(cursor.sized() or b"") for _ in range(count)]
        cursor.end()
        return " ".join(numbers)

    return read


READERS: Final[dict[str, Callable[[bytes], str]]] = {
    "tid": _tid,
    "pg_lsn": _lsn,
    "pg_snapshot": _snapshot,
    "txid_snapshot": _snapshot,
    "int2vector": _vector(21, "h"),
    "oidvector": _vector(26, "I"),
}
