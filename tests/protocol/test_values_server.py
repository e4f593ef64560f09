"""Values as a real server sends them: its binary format must look like its text format, for hundreds of values of every type."""

from __future__ import annotations

import random
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import pq

from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.protocol import values


@pytest.fixture(scope="module")
def connection(server: EmbeddedServer) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def literals() -> dict[str, list[str]]:
    """SQL literals by type; the random ones are the same in every run."""
    rnd = random.Random(1)
    integers = {"int2": 15, "int4": 31, "int8": 63}
    made = {name: ["0", *(str(rnd.randrange(-(2**bits), 2**bits)) for _ in range(30))] for name, bits in integers.items()}
    made["oid"] = ["0", "4294967295", *(str(rnd.randrange(2**32)) for _ in range(10))]
    made["bool"] = ["true", "false"]
    floats = [f"{rnd.uniform(-10, 10)}e{rnd.randint(-30, 30)}" for _ in range(300)] + [
        f"{rnd.randint(-(10**18), 10**18)}" for _ in range(100)
    ]
    floats += [str(2.0**power) for power in range(-120, 120)]
    special = ["0", "-0", "1", "0.1", "1e-4", "1e-5", "1e5", "1e6", "1e7", "1e14", "1e15", "1e16", "NaN", "Infinity", "-Infinity"]
    made["float4"] = [*floats, *special, "1e-45", "3.4028235e38"]
    made["float8"] = [*floats, *special, "5e-324", "1.7976931348623157e308"]
    numerics = [f"{rnd.randint(-(10**30), 10**30)}e{rnd.randint(-45, 20)}" for _ in range(60)]
    made["numeric"] = [*numerics, "0", "0.000", "-0.0001", "10000", "1e131", "9999.99990000", "NaN", "Infinity", "-Infinity"]
    texts = ["", "a", "NULL", "it''s", "\\", '{"x", y}', "caf\u00e9", "\U0001f600", " tab\t", "line\nbreak"]
    for name in ("text", "varchar", "name", "bpchar", "char(5)"):
        made[name] = texts
    made['"char"'] = ["x", "", "\u00e9"]
    made["bytea"] = ["", *("\\x" + rnd.randbytes(rnd.randint(1, 30)).hex() for _ in range(20))]
    days = [f"{rnd.randint(1, 4700):04d}-{rnd.randint(1, 12):02d}-{rnd.randint(1, 28):02d} {rnd.choice(('AD', 'BC'))}" for _ in range(60)]
    days += ["2000-01-01", "1999-12-31", "0001-01-01", "0001-12-31 BC", "10000-02-29", "infinity", "-infinity", "5000-02-28", "1900-03-01"]
    made["date"] = [*days, "5874897-12-31", "4714-11-24 BC"]
    clocks = ["00:00:00", "23:59:59.999999", "12:34:56.5", "01:02:03.000100"]
    moments = [day if "inf" in day else f"{day.split()[0]} {rnd.choice(clocks)} {'BC' if 'BC' in day else ''}" for day in days]
    made["timestamp"] = made["timestamptz"] = [*moments, "294276-12-31 23:59:59.999999", "4714-11-24 00:00:00 BC"]
    made["uuid"] = ["00000000-0000-0000-0000-000000000000", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]
    made["json"] = made["jsonb"] = ["null", '{"a": [1, "x", null]}', '"caf\u00e9"']
    return made


LITERALS = literals()


def both_formats(connection: psycopg.Connection, sql: str) -> tuple[int, bytes | None, bytes | None]:
    """The type and the server's two forms of one value."""
    results = [connection.pgconn.exec_params(sql.encode(), [], result_format=form) for form in (pq.Format.TEXT, pq.Format.BINARY)]
    for result in results:
        assert result.status == pq.ExecStatus.TUPLES_OK, (sql, result.error_message)
    return results[0].ftype(0), results[0].get_value(0, 0), results[1].get_value(0, 0)


@pytest.mark.parametrize("name", LITERALS)
def test_both_formats_look_the_same(connection: psycopg.Connection, name: str) -> None:
    for literal in LITERALS[name]:
        oid, text, binary = both_formats(connection, f"SELECT '{literal}'::{name}")
        shown = values.decode(oid, 0, text)
        assert values.decode(oid, 1, binary) == shown, literal
        assert "oid" not in shown


@pytest.mark.parametrize("name", [name for name in LITERALS if name != "char(5)"])
def test_both_formats_of_arrays_look_the_same(connection: psycopg.Connection, name: str) -> None:
    items = ", ".join([*(f"'{literal}'" for literal in LITERALS[name]), "NULL"])
    for array in (
        f"ARRAY[{items}]::{name}[]",
        f"'{{}}'::{name}[]",
        f"ARRAY[NULL]::{name}[]",
        f"array_fill(NULL::{name}, ARRAY[2], ARRAY[-3])",
    ):
        oid, text, binary = both_formats(connection, f"SELECT {array}")
        assert values.decode(oid, 1, binary) == values.decode(oid, 0, text)
        assert values.decode(oid, 0, text).startswith(("'{", "'[-3:-2]="))


def test_null_and_other_types(connection: psycopg.Connection) -> None:
    oid, text, binary = both_formats(connection, "SELECT NULL::int4")
    assert values.decode(oid, 0, text) == values.decode(oid, 1, binary) == "NULL"
    oid, text, binary = both_formats(connection, "SELECT '1 day'::interval")
    assert values.decode(oid, 0, text) == "'1 day'"
    assert values.decode(oid, 1, binary) == f"\\x{(binary or b'').hex()} (oid 1186)"


def test_type_names_are_the_servers(connection: psycopg.Connection) -> None:
    rows = connection.execute("SELECT oid::int, typname, typelem::int FROM pg_type WHERE oid = ANY(%s)", [list(range(10_000))]).fetchall()
    named = {oid: name for oid, name, _ in rows}
    known = [oid for oid in named if values.type_name(oid) != f"oid {oid}"]
    assert len(known) == 41
    for oid, name, element in rows:
        if oid in values.ELEMENT_TYPES:
            assert values.ELEMENT_TYPES[oid] == element
        elif oid in known:
            assert values.type_name(oid).strip('"') == name
