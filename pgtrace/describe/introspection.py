"""Types described by the rows of a driver's introspection query.

Drivers look up types that they do not know: names, kinds and components. Each driver has its own
query, but all return rows of pg_type in some form. So a result is recognised by its columns: by
their names, which are the catalog's or a driver's aliases (ROLES), and by the table that
RowDescription names, which an alias does not change. A column of another table is never taken for
one of pg_type.

The type that a row describes is identified by the first of these: a column `oid` of pg_type; a
column `oid` without a table, next to a kind and an element (asyncpg's query has a UNION, which
hides the table); `rngtypid` of pg_range; the only parameter of a query with `oid = $1`
(tokio-postgres, pgjdbc). Without any of them, nothing is learned.

Known to work: asyncpg, psycopg (TypeInfo, EnumInfo, CompositeInfo, RangeInfo, MultirangeInfo),
psycopg2, npgsql, pgx (LoadTypes), tokio-postgres, postgres.js, ActiveRecord.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pgtrace.protocol.values import Type, TypeKind

if TYPE_CHECKING:
    from pgtrace.protocol.backend import Column

TABLE: Final = "pg_type"
"""A word that every such query contains."""
_PG_TYPE, _PG_ATTRIBUTE, _PG_ENUM, _PG_RANGE, _NO_TABLE = 1247, 1249, 3501, 3541, 0

ROLES: Final[dict[str, tuple[str, int]]] = {
    "oid": ("oid", _PG_TYPE),
    "typname": ("name", _PG_TYPE),
    "name": ("name", _PG_TYPE),
    "typtype": ("kind", _PG_TYPE),
    "kind": ("kind", _PG_TYPE),
    "typarray": ("array", _PG_TYPE),
    "array_oid": ("array", _PG_TYPE),
    "typelem": ("element", _PG_TYPE),
    "elemtype": ("element", _PG_TYPE),
    "elemtypoid": ("made of", _PG_TYPE),
    "typbasetype": ("base", _PG_TYPE),
    "basetype": ("base", _PG_TYPE),
    "rngsubtype": ("subtype", _PG_RANGE),
    "range_subtype": ("subtype", _PG_RANGE),
    "subtype_oid": ("subtype", _PG_RANGE),
    "rngtypid": ("range", _PG_RANGE),
    "range_oid": ("range", _PG_RANGE),
    "attname": ("attributes", _PG_ATTRIBUTE),
    "field_names": ("attributes", _PG_ATTRIBUTE),
    "enumlabel": ("labels", _PG_ENUM),
    "labels": ("labels", _PG_ENUM),
}
"""Column name -> its role, and the OID of its table, if it has one."""
_EMPTY_LISTS: Final = frozenset({"", "{}", "{NULL}"})
_BY_OID: Final = re.compile(r"(?<!\w)oid\s*=\s*\$1(?!\d)", re.IGNORECASE).search
_KINDS: Final = {kind.value: kind for kind in TypeKind if kind is not TypeKind.UNKNOWN}


def roles(columns: Sequence[Column], sql: str) -> dict[str, int]:
    """Role -> its index in a row; empty for a result about something else. If `"key"` is -1, the
    query's parameter is the OID.
    """
    found: dict[str, int] = {}
    hidden: set[str] = set()
    for place, column in enumerate(columns):
        role, table = ROLES.get(column.name, ("", 0))
        if not role or column.table_oid not in (table, _NO_TABLE):
            continue
        if column.table_oid == _NO_TABLE:
            hidden.add(role)
            found.setdefault(role, place)
        elif role not in found or role in hidden:
            hidden.discard(role)
            found[role] = place
    if "oid" in hidden and not {"kind", "element"} <= set(found):
        del found["oid"]
    if "oid" in found:
        return found
    if "range" in found and "range" not in hidden:
        return found | {"oid": found["range"]}
    if "name" in found and "name" not in hidden and _BY_OID(sql):
        return found | {"key": -1}
    return {}


def types(texts: dict[str, str | None]) -> list[Type]:
    """The types that a row describes (the type and its array type), from the texts by role."""
    oid = _oid(texts, "oid") or _oid(texts, "key")
    if not oid:
        return []
    name = texts.get("name") or ""
    kind = _kind(texts, oid)
    made_of = _oid(texts, "made of")
    element = {
        TypeKind.ARRAY: _oid(texts, "element") or made_of,
        TypeKind.DOMAIN: _oid(texts, "base") or made_of,
        TypeKind.RANGE: _oid(texts, "subtype") or made_of,
        TypeKind.MULTIRANGE: _oid(texts, "subtype"),
    }.get(kind, 0)
    ranges = (_oid(texts, "range") or made_of) if kind is TypeKind.MULTIRANGE else 0
    found = [Type(oid, name, kind, element, ranges)] if name or kind is not TypeKind.UNKNOWN else []
    if array := _oid(texts, "array"):
        found.append(Type(array, f"_{name}" if name else "", TypeKind.ARRAY, oid))
    return found


def _kind(texts: dict[str, str | None], oid: int) -> TypeKind:
    """The kind of a type, as stated in the row, otherwise derived from the rest. An array type is
    stated to be a base type, which proves nothing until its element is known.
    """
    kind = _KINDS.get(texts.get("kind") or "", TypeKind.UNKNOWN)
    if kind not in (TypeKind.BASE, TypeKind.UNKNOWN):
        return kind
    if _oid(texts, "element"):
        return TypeKind.ARRAY
    return kind if kind is TypeKind.BASE and "element" in texts else _implied(texts, oid)


def _implied(texts: dict[str, str | None], oid: int) -> TypeKind:
    if (texts.get("labels") or "") not in _EMPTY_LISTS:
        return TypeKind.ENUM
    if (texts.get("attributes") or "") not in _EMPTY_LISTS:
        return TypeKind.COMPOSITE
    if _oid(texts, "subtype"):
        return TypeKind.RANGE if _oid(texts, "range") in (0, oid) else TypeKind.MULTIRANGE
    return TypeKind.DOMAIN if _oid(texts, "base") else TypeKind.UNKNOWN


def _oid(texts: dict[str, str | None], role: str) -> int:
    text = texts.get(role) or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else 0
