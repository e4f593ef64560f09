"""What a type is: its name, its kind and its parts; and the types that every PostgreSQL has.

A type is identified by its OID alone. OIDs below 10000 are fixed in PostgreSQL's catalogue data
(src/include/catalog/pg_type.dat) and never change their meaning. They are listed here, up to
version 18. OIDs from 10000 on are assigned when a server version is built (row types of the system
catalogues), when a cluster is created (the domains of the information schema), or by CREATE TYPE
and CREATE TABLE. They differ between databases and must be learned from the traffic. A learned type
never overrides a listed one.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, Protocol


class TypeKind(enum.Enum):
    """pg_type.typtype, with arrays apart from other base types."""

    BASE = "b"
    ARRAY = "a"
    COMPOSITE = "c"
    DOMAIN = "d"
    ENUM = "e"
    RANGE = "r"
    MULTIRANGE = "m"
    PSEUDO = "p"
    UNKNOWN = ""
    """The type's name is known, its kind is not."""


@dataclass(frozen=True, slots=True)
class Type:
    """One type. Unknown fields are empty or 0."""

    oid: int
    name: str = ""
    """As in pg_type, without its schema."""
    kind: TypeKind = TypeKind.UNKNOWN
    element: int = 0
    """The OID of an array's element type, a domain's base type, or a range's or multirange's
    subtype; 0 for an array that takes any element."""
    range: int = 0
    """The OID of a multirange's range type, if that is known instead of the subtype."""
    evidence: str = ""
    """Where it was learned; empty for the types that every PostgreSQL has."""


class Types(Protocol):
    """Types by OID, beyond those that every PostgreSQL has. A dict of them will do."""

    def get(self, oid: int, /) -> Type | None:
        """The type with this OID, or None."""


class _NoTypes:
    def get(self, oid: int, /) -> Type | None:
        return None


NONE: Final[Types] = _NoTypes()
"""Only the types that every PostgreSQL has."""

_BASE: Final = (  # OID, name, OID of its array type
    (16, "bool", 1000),
    (17, "bytea", 1001),
    (18, '"char"', 1002),
    (19, "name", 1003),
    (20, "int8", 1016),
    (21, "int2", 1005),
    (22, "int2vector", 1006),
    (23, "int4", 1007),
    (24, "regproc", 1008),
    (25, "text", 1009),
    (26, "oid", 1028),
    (27, "tid", 1010),
    (28, "xid", 1011),
    (29, "cid", 1012),
    (30, "oidvector", 1013),
    (114, "json", 199),
    (142, "xml", 143),
    (194, "pg_node_tree", 0),
    (600, "point", 1017),
    (601, "lseg", 1018),
    (602, "path", 1019),
    (603, "box", 1020),
    (604, "polygon", 1027),
    (628, "line", 629),
    (650, "cidr", 651),
    (700, "float4", 1021),
    (701, "float8", 1022),
    (718, "circle", 719),
    (774, "macaddr8", 775),
    (790, "money", 791),
    (829, "macaddr", 1040),
    (869, "inet", 1041),
    (1033, "aclitem", 1034),
    (1042, "bpchar", 1014),
    (1043, "varchar", 1015),
    (1082, "date", 1182),
    (1083, "time", 1183),
    (1114, "timestamp", 1115),
    (1184, "timestamptz", 1185),
    (1186, "interval", 1187),
    (1266, "timetz", 1270),
    (1560, "bit", 1561),
    (1562, "varbit", 1563),
    (1700, "numeric", 1231),
    (1790, "refcursor", 2201),
    (2202, "regprocedure", 2207),
    (2203, "regoper", 2208),
    (2204, "regoperator", 2209),
    (2205, "regclass", 2210),
    (2206, "regtype", 2211),
    (2950, "uuid", 2951),
    (2970, "txid_snapshot", 2949),
    (3220, "pg_lsn", 3221),
    (3361, "pg_ndistinct", 0),
    (3402, "pg_dependencies", 0),
    (3614, "tsvector", 3643),
    (3615, "tsquery", 3645),
    (3642, "gtsvector", 3644),
    (3734, "regconfig", 3735),
    (3769, "regdictionary", 3770),
    (3802, "jsonb", 3807),
    (4072, "jsonpath", 4073),
    (4089, "regnamespace", 4090),
    (4096, "regrole", 4097),
    (4191, "regcollation", 4192),
    (4600, "pg_brin_bloom_summary", 0),
    (4601, "pg_brin_minmax_multi_summary", 0),
    (5017, "pg_mcv_list", 0),
    (5038, "pg_snapshot", 5039),
    (5069, "xid8", 271),
)
# OID, name, OIDs of its array type, its subtype, its multirange type, and that multirange's array
# type
_RANGES: Final = (
    (3904, "int4", 3905, 23, 4451, 6150),
    (3906, "num", 3907, 1700, 4532, 6151),
    (3908, "ts", 3909, 1114, 4533, 6152),
    (3910, "tstz", 3911, 1184, 4534, 6153),
    (3912, "date", 3913, 1082, 4535, 6155),
    (3926, "int8", 3927, 20, 4536, 6157),
)
# Row types of the catalogues that have a fixed OID; most of them have no array type.
_COMPOSITES: Final = (
    (71, "pg_type", 210),
    (75, "pg_attribute", 270),
    (81, "pg_proc", 272),
    (83, "pg_class", 273),
    (1248, "pg_database", 0),
    (2842, "pg_authid", 0),
    (2843, "pg_auth_members", 0),
    (4066, "pg_shseclabel", 0),
    (6101, "pg_subscription", 0),
    (2249, "record", 2287),
)
_PSEUDO: Final = ((705, "unknown", 0), (2275, "cstring", 1263), (2278, "void", 0), (32, "pg_ddl_command", 0))
_ANY_ARRAYS: Final = ((2277, "anyarray"), (5078, "anycompatiblearray"))
"""The types of some columns of pg_statistic and pg_stats. The array's header contains its element
type."""


def _builtin() -> dict[int, Type]:
    listed: list[tuple[Type, int]] = [(Type(oid, name, TypeKind.BASE), array) for oid, name, array in _BASE]
    listed += [(Type(oid, name, TypeKind.COMPOSITE), array) for oid, name, array in _COMPOSITES]
    listed += [(Type(oid, name, TypeKind.PSEUDO), array) for oid, name, array in _PSEUDO]
    listed += [(Type(oid, name, TypeKind.ARRAY), 0) for oid, name in _ANY_ARRAYS]
    for oid, name, array, subtype, multirange, multirange_array in _RANGES:
        listed.append((Type(oid, f"{name}range", TypeKind.RANGE, subtype), array))
        listed.append((Type(multirange, f"{name}multirange", TypeKind.MULTIRANGE, subtype), multirange_array))
    types = {one.oid: one for one, _ in listed}
    types |= {array: Type(array, f"_{one.name}", TypeKind.ARRAY, one.oid) for one, array in listed if array}
    return types


BUILTIN: Final[dict[int, Type]] = _builtin()
"""By OID: the types that every PostgreSQL has."""


def find(oid: int, types: Types) -> Type | None:
    """The type with this OID, if it is known."""
    return BUILTIN.get(oid) or types.get(oid)
