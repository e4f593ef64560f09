"""Values as a real server sends them: decoded from binary they are the text it prints, for hundreds of values of every type."""

from __future__ import annotations

import random
from collections.abc import Iterator

import psycopg
import pytest

from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.protocol import values
from pgtrace.protocol.values import TypeKind, reading
from tests.protocol.values_literals import RANGES, SCALARS, WORDS, Make
from tests.protocol.values_oracle import SETTINGS, accepted, array_literal, assert_same, both_formats

pytestmark = pytest.mark.live


EACH = 400
"""Values of every type."""
BY_NAME = {one.name: one.oid for one in values.BUILTIN.values()}
ALL: dict[str, Make] = SCALARS | RANGES


@pytest.fixture(scope="module")
def connection(server: EmbeddedServer) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(SETTINGS)
        yield connection


def literals(connection: psycopg.Connection, name: str, count: int = EACH) -> list[str]:
    """Random ones that the server takes."""
    rnd = random.Random(name)
    made = accepted(connection, name, [ALL[name](rnd) for _ in range(count)])
    assert len(made) > count // 4
    return made


@pytest.mark.parametrize("name", ALL)
def test_both_formats_of_a_scalar_or_range(connection: psycopg.Connection, name: str) -> None:
    made = literals(connection, name)
    assert assert_same(connection, f"SELECT x::{name} FROM unnest($1::text[]) x", [array_literal([*made, None])]) == len(made) + 1


@pytest.mark.parametrize("name", ALL)
def test_both_formats_of_arrays(connection: psycopg.Connection, name: str) -> None:
    """Of one and more dimensions, with other lower bounds, with NULLs, empty."""
    made = literals(connection, name, 60)
    parameters = [array_literal([*made, None])]
    items = f"($1::text[])::{name}[]"
    for sql in (
        f"SELECT {items}",
        f"SELECT ARRAY[{items}, {items}]",
        f"SELECT ARRAY[[{items}, {items}], [{items}, {items}]]",
        f"SELECT array_fill(({items})[1], ARRAY[2, 1, 3], ARRAY[-3, 0, 7])",
    ):
        assert assert_same(connection, sql, parameters) == 1
    assert_same(connection, f"SELECT '{{}}'::{name}[]")
    assert_same(connection, f"SELECT array_fill(NULL::{name}, ARRAY[2, 2, 2, 2, 2, 2], ARRAY[0, 1, 2, 3, 4, 5])")


@pytest.mark.parametrize("name", RANGES)
def test_both_formats_of_multiranges(connection: psycopg.Connection, name: str) -> None:
    made = literals(connection, name)
    multirange = name.replace("range", "multirange")
    parameters = [array_literal(made)]
    assert (
        assert_same(connection, f"SELECT range_agg(x::{name}) FROM unnest($1::text[]) WITH ORDINALITY u(x, n) GROUP BY n % 97", parameters)
        == 97
    )
    assert_same(connection, f"SELECT array_agg({multirange}(x::{name})) FROM unnest($1::text[]) x", parameters)
    assert_same(connection, f"SELECT '{{}}'::{multirange}")


@pytest.mark.parametrize("name", ALL)
def test_both_formats_inside_records(connection: psycopg.Connection, name: str) -> None:
    """Anonymous rows, rows in rows, arrays of rows: the quoting is another one each time."""
    made = literals(connection, name, 60)
    row = f"ROW(x::{name}, NULL, ARRAY[x::{name}], ROW(x::{name}, 1), '')"
    assert assert_same(connection, f"SELECT {row} FROM unnest($1::text[]) x", [array_literal([*made, None])]) == len(made) + 1
    assert_same(connection, f"SELECT array_agg({row}) FROM unnest($1::text[]) x", [array_literal([*made, None])])


def test_text_is_quoted_as_each_container_quotes_it(connection: psycopg.Connection) -> None:
    rnd = random.Random(7)
    texts = [*WORDS, *("".join(rnd.choice(WORDS) for _ in range(5)) for _ in range(300))]
    assert_same(connection, "SELECT ROW(x, ARRAY[x], ARRAY[ROW(x)]) FROM unnest($1::text[]) x", [array_literal(texts)])


@pytest.mark.parametrize("name", ["float4", "float8"])
def test_floats_of_random_bits(connection: psycopg.Connection, name: str) -> None:
    rnd = random.Random(name)
    size = int(name[-1])
    found = 0
    for _ in range(20):
        items = b"".join(size.to_bytes(4, "big") + rnd.randbytes(size) for _ in range(100))
        header = b"".join(number.to_bytes(4, "big") for number in (1, 0, BY_NAME[name], 100, 1))
        for oid, text, binary in both_formats(connection, f"SELECT unnest($1::{name}[])", [header + items], [BY_NAME[f"_{name}"]]):
            assert values.text(oid, 1, binary) == (text or b"").decode()
            found += 1
    assert found == 2000


def test_the_other_values_a_server_sends(connection: psycopg.Connection) -> None:
    for sql in (
        "SELECT NULL::int4",
        "SELECT ROW()",
        "SELECT pg_notify('a', 'b')",
        "SELECT 'a'::cstring",
        "SELECT most_common_vals FROM pg_stats WHERE attname = 'typname'",
        "SELECT histogram_bounds FROM pg_stats WHERE attname = 'typname'",
        "SELECT most_common_vals FROM pg_stats WHERE attname = 'proargtypes'",
        "SELECT proargdefaults FROM pg_proc WHERE proargdefaults IS NOT NULL",
        "SELECT '(1,1),(0,0)'::box",
        "SELECT ARRAY[['(1,1),(0,0)'::box], ['(3,1),(0,0)'::box]]",
        "SELECT a FROM pg_attribute a WHERE attacl IS NULL",
        "SELECT d FROM pg_database d WHERE datacl IS NULL",
        "SELECT t FROM pg_auth_members t",
        "SELECT array_agg(t) FROM pg_type t WHERE typacl IS NULL AND typname IN ('int4', 'point')",
    ):
        rows = both_formats(connection, sql)
        for oid, text, binary in rows:
            shown = values.text(oid, 1, binary)
            assert rows
            if "pg_type" not in sql:  # its functions are regproc: names in text, numbers in binary
                assert shown == (None if text is None else text.decode()), sql
            assert values.decode(oid, 1, binary).find("malformed") < 0


def test_aliases_of_oid_are_numbers_in_binary(connection: psycopg.Connection) -> None:
    """The name is in the catalogue, not on the wire."""
    aliases = [name for name in BY_NAME if name.startswith("reg")]
    assert len(aliases) == 11
    for name in aliases:
        assert assert_same(connection, f"SELECT x::oid::{name} FROM unnest(ARRAY[0, 4294967295]) x") == 2
    [(oid, text, binary)] = both_formats(connection, "SELECT 'pg_class'::regclass")
    assert (values.decode(oid, 0, text), values.decode(oid, 1, binary)) == ("'pg_class'", "1259")


NOT_DECODED = {
    "pg_ndistinct": "the memory of the server, in its own byte order",
    "pg_dependencies": "the memory of the server, in its own byte order",
    "pg_mcv_list": "the memory of the server, in its own byte order",
    "pg_brin_bloom_summary": "the memory of the server, in its own byte order",
    "pg_brin_minmax_multi_summary": "the memory of the server, in its own byte order",
    "pg_ddl_command": "its send function raises",
}
"""Types with a send function that stay hex, and why."""


def test_every_type_of_the_catalogue_is_read_or_explained(connection: psycopg.Connection) -> None:
    """Types from OID 10000 on are this server's own: they are read once they were learned (tests/inspect/test_types.py)."""
    rows = connection.execute(
        "SELECT oid::int, typname, typtype::text, typelem::int, typcategory::text, typsend::oid <> 0 FROM pg_type WHERE oid < 10000"
    ).fetchall()
    assert len(rows) > 180
    for oid, name, kind, element, category, is_sent in rows:
        known = values.BUILTIN.get(oid)
        if known is None:
            assert not is_sent or name in NOT_DECODED, name
            continue
        assert known.name.replace('"', "") == name
        expected = {
            "record": TypeKind.COMPOSITE,
            "_record": TypeKind.ARRAY,
            "anyarray": TypeKind.ARRAY,
            "anycompatiblearray": TypeKind.ARRAY,
        }
        is_array = category == "A" and name not in ("int2vector", "oidvector")
        assert known.kind is (TypeKind.ARRAY if is_array else expected.get(name, TypeKind(kind))), name
        if known.kind is TypeKind.ARRAY:
            assert known.element == element
        elif is_sent and known.kind in (TypeKind.BASE, TypeKind.PSEUDO):
            assert (name in NOT_DECODED) == (known.name not in reading.READERS), name
    assert set(values.BUILTIN) <= {oid for oid, *_ in rows}


def test_ranges_and_multiranges_are_the_catalogues(connection: psycopg.Connection) -> None:
    rows = connection.execute("SELECT rngtypid::int, rngmultitypid::int, rngsubtype::int FROM pg_range WHERE rngtypid < 10000").fetchall()
    assert len(rows) == 6
    for oid, multirange, subtype in rows:
        assert (values.BUILTIN[oid].kind, values.BUILTIN[oid].element) == (TypeKind.RANGE, subtype)
        assert (values.BUILTIN[multirange].kind, values.BUILTIN[multirange].element) == (TypeKind.MULTIRANGE, subtype)


def test_box_alone_has_another_delimiter(connection: psycopg.Connection) -> None:
    rows = connection.execute("SELECT typname FROM pg_type WHERE typdelim <> ',' AND typcategory <> 'A'").fetchall()
    assert rows == [("box",)]


@pytest.mark.parametrize("name", [name for name in ALL if name != "regproc"])
def test_what_the_server_makes_of_damaged_values(connection: psycopg.Connection, name: str) -> None:
    """Whatever it takes is decoded as it prints it; whatever it refuses raises nothing."""
    rnd = random.Random(name)
    made = literals(connection, name, 60)
    taken = 0
    for sql in (f"SELECT x::{name} FROM unnest($1::text[]) x LIMIT 15", f"SELECT ($1::text[])::{name}[]"):
        for oid, _, binary in both_formats(connection, sql, [array_literal(made)]) * 2:
            damaged = damage(rnd, binary or b"")
            assert values.decode(oid, 1, damaged)
            try:
                [(_, text, again)] = both_formats(connection, "SELECT $1", [damaged], [oid])
            except psycopg.DataError:
                continue
            taken += 1
            assert values.text(oid, 1, again) == (text or b"").decode()
    assert taken or name in ("jsonb", "jsonpath", "json")


def damage(rnd: random.Random, data: bytes) -> bytes:
    """One bit turned, or a piece lost or added."""
    way = rnd.random()
    if way < 0.7 and data:
        place = rnd.randrange(len(data))
        return data[:place] + bytes([data[place] ^ 1 << rnd.randrange(8)]) + data[place + 1 :]
    return data[: rnd.randint(0, len(data))] if way < 0.85 else data + rnd.randbytes(rnd.randint(1, 4))
