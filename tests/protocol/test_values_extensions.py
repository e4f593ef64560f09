"""Types of extensions, whose OIDs have to be learned: decoded from binary they are the text the server prints."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

import psycopg
import pytest

from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.protocol import values
from pgtrace.protocol.values import Type, TypeKind
from tests.protocol.values_literals import Make, finite, float4, json, text
from tests.protocol.values_oracle import SETTINGS, accepted, array_literal, assert_same

pytestmark = pytest.mark.live


def hstore(rnd: random.Random) -> str:
    def quoted() -> str:
        return '"' + text(rnd).replace("\\", "\\\\").replace('"', '\\"') + '"'

    return ", ".join(f"{quoted()}=>{rnd.choice((quoted(), 'NULL'))}" for _ in range(rnd.randint(0, 4)))


def numbers(rnd: random.Random) -> str:
    return ",".join(rnd.choice((finite(rnd), float4(rnd))) for _ in range(rnd.randint(0, 5)))


def halves(rnd: random.Random) -> str:
    return ",".join(str(rnd.choice((0, 1, -0.5, rnd.uniform(-65_000, 65_000), rnd.uniform(-1, 1), 6e-8))) for _ in range(rnd.randint(1, 5)))


def labels(rnd: random.Random) -> str:
    return ".".join(rnd.choice(("Top", "a_1", "Science", "x")) for _ in range(rnd.randint(0, 4)))


MAKE: dict[str, Make] = {
    "hstore": hstore,
    "citext": lambda rnd: rnd.choice((text(rnd), json(rnd))),
    "ltree": labels,
    "lquery": lambda rnd: rnd.choice(("*.a|b{1,2}.!x", "Top.*{2}", "a*@", "x")),
    "ltxtquery": lambda rnd: rnd.choice(("Europe & Russia*@ & !Transportation", "a | (b & c)")),
    "cube": lambda rnd: rnd.choice((f"({numbers(rnd)})", f"({finite(rnd)},{finite(rnd)}),({finite(rnd)},{finite(rnd)})", "()")),
    "vector": lambda rnd: f"[{','.join(finite(rnd) for _ in range(rnd.randint(1, 5)))}]",
    "halfvec": lambda rnd: f"[{halves(rnd)}]",
    "sparsevec": lambda rnd: (
        f"{{{','.join(f'{place}:{finite(rnd)}' for place in sorted(rnd.sample(range(1, 20), rnd.randint(0, 4))))}}}/20"
    ),
}


@pytest.fixture(scope="module")
def connection(server: EmbeddedServer) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE with_extensions")
    with psycopg.connect(server.url(), dbname="with_extensions", autocommit=True) as connection:
        connection.execute(SETTINGS)
        for extension in ("hstore", "citext", "ltree", "cube", "vector"):
            connection.execute(f"CREATE EXTENSION {extension}")
        yield connection


@pytest.fixture(scope="module")
def types(connection: psycopg.Connection) -> dict[int, Type]:
    rows = connection.execute("SELECT oid::int, typarray::int, typname FROM pg_type WHERE typname = ANY(%s)", [list(MAKE)]).fetchall()
    assert len(rows) == len(MAKE)
    known = {oid: Type(oid, name, TypeKind.BASE) for oid, _, name in rows}
    return known | {array: Type(array, f"_{name}", TypeKind.ARRAY, oid) for oid, array, name in rows}


@pytest.mark.parametrize("name", MAKE)
def test_both_formats(connection: psycopg.Connection, types: dict[int, Type], name: str) -> None:
    rnd = random.Random(name)
    made = accepted(connection, name, [MAKE[name](rnd) for _ in range(400)])
    assert len(made) > 100
    parameters = [array_literal([*made, None])]
    assert assert_same(connection, f"SELECT x::{name} FROM unnest($1::text[]) x", parameters, types) == len(made) + 1
    assert_same(connection, f"SELECT ($1::text[])::{name}[]", parameters, types)
    assert_same(connection, f"SELECT ROW(x::{name}, ARRAY[x::{name}]) FROM unnest($1::text[]) x", parameters, types)


@pytest.mark.parametrize("name", MAKE)
def test_damaged_values_raise_nothing(connection: psycopg.Connection, types: dict[int, Type], name: str) -> None:
    rnd = random.Random(name)
    oid = next(one.oid for one in types.values() if one.name == name)
    for data in (
        b"",
        b"\0",
        b"\1\xff",
        struct.pack(">i", -1),
        struct.pack(">ii", 1, -1),
        struct.pack(">iii", -1, -1, -1),
        *map(rnd.randbytes, range(200)),
    ):
        assert values.decode(oid, 1, data, types)


def test_a_name_alone_is_enough(types: dict[int, Type]) -> None:
    """psycopg's TypeInfo tells the names and OIDs of a type, not its kind."""
    known = {70_000: Type(70_000, "vector")}
    assert values.decode(70_000, 1, struct.pack(">HHff", 2, 0, 1.5, -0.1), known) == "'[1.5,-0.1]'"
    assert values.decode(70_000, 1, struct.pack(">HHf", 2, 0, 1.5), known).endswith("(oid 70000, malformed)")
    assert values.decode(70_000, 1, struct.pack(">HHf", 1, 1, 1.5), known).endswith("(oid 70000, malformed)")
    assert values.decode(70_000, 1, b"x", {70_000: Type(70_000, "geometry")}) == "\\x78 (oid 70000)"
