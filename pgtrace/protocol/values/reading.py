"""From an OID and bytes to the text that the server would have sent: which module reads which type.

Each module has a table of readers by type name. The name of a built-in type is only looked up for a
built-in OID, that of an extension's type only for an OID that was learned. A reader raises
ValueError or struct.error for bytes that are not a value of its type; then the whole outer value is
malformed. A part without a reader is shown as Unread, and the rest of the value is still read. So
is a part that is nested too deeply or would become too long: the quotes of a row in a row double
with each level, and ten bytes of numeric can be a hundred thousand digits.

These have no reader, although the server can send their binary form: pg_ndistinct, pg_dependencies,
pg_mcv_list and the two brin summaries (the server's memory in its own byte order), and
pg_ddl_command (sending it is an error). aclitem, gtsvector and the remaining pseudo-types have no
binary form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pgtrace.protocol.values import containers, dates, extensions, geometry, network, numbers, strings, system, textsearch
from pgtrace.protocol.values.containers import Unread
from pgtrace.protocol.values.types import BUILTIN, Type, TypeKind, Types, find

DEEPEST: Final = 48
"""How deep values may be nested. Types in practice have two or three levels."""
LONGEST: Final = 4 * 1024 * 1024
"""The most characters made from one value, counting those of inner values again at each level."""

READERS: Final[dict[str, Callable[[bytes], str]]] = {
    **numbers.READERS,
    **strings.READERS,
    **dates.READERS,
    **network.READERS,
    **geometry.READERS,
    **textsearch.READERS,
    **system.READERS,
}
"""By name: the types that every PostgreSQL has."""


def unread(oid: int, data: bytes, why: str = "") -> Unread:
    """Bytes as hex, with the OID of their type."""
    return Unread(f"\\x{data.hex()} (oid {oid}{why})")


def plain(oid: int, types: Types) -> Type | None:
    """The type with this OID, or the base type of a domain."""
    found = find(oid, types)
    for _ in range(DEEPEST):
        if found is None or found.kind is not TypeKind.DOMAIN:
            return found
        found = find(found.element, types)
    return None


class Reader:
    """Reads one value in binary format."""

    __slots__ = ("_depth", "_room", "_types")

    def __init__(self, types: Types) -> None:
        self._types = types
        self._depth = 0
        self._room = LONGEST

    def read(self, oid: int, data: bytes) -> str:
        """The server's own text, or Unread if the type is not known. Raises ValueError or
        struct.error for bytes that do not fit the type."""
        found = plain(oid, self._types)
        if found is None or self._depth == DEEPEST or self._room < 0:
            return unread(oid, data)
        self._depth += 1
        text = self._text(found, data)
        self._depth -= 1
        self._room -= len(text or "")
        return unread(oid, data) if text is None or self._room < 0 else text

    def _text(self, found: Type, data: bytes) -> str | None:
        match found.kind:
            case TypeKind.ARRAY:
                return containers.array(data, found.element, self._delimiter(found.element), self.read)
            case TypeKind.COMPOSITE:
                return containers.record(data, self.read)
            case TypeKind.ENUM:
                return strings.text(data)
            case TypeKind.RANGE | TypeKind.MULTIRANGE:
                return self._of_ranges(found, data)
        readers = READERS if found.oid in BUILTIN else extensions.READERS
        reader = readers.get(found.name)
        return None if reader is None else reader(data)

    def _of_ranges(self, found: Type, data: bytes) -> str | None:
        subtype = found.element
        if not subtype:
            one = find(found.range, self._types)
            subtype = one.element if one is not None else 0
        if not subtype:
            return None
        if found.kind is TypeKind.RANGE:
            return containers.range_of(data, subtype, self.read)
        return containers.multirange(data, subtype, self.read)

    def _delimiter(self, element: int) -> str:
        """The delimiter of an array. box is the only type read here whose arrays do not use a comma
        (pg_type.typdelim)."""
        found = plain(element, self._types)
        return ";" if found is not None and found.oid == _BOX else ","


_BOX: Final = 603
