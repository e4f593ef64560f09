"""Types learned from the introspection of real drivers, used for the values that pass."""

from __future__ import annotations

from collections.abc import Callable

import asyncpg
import psycopg
import pytest
from psycopg import pq
from psycopg.types import TypeInfo
from psycopg.types.composite import CompositeInfo
from psycopg.types.enum import EnumInfo
from psycopg.types.multirange import MultirangeInfo
from psycopg.types.range import RangeInfo

from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.inspect import details, types
from pgtrace.inspect.message import FieldView
from pgtrace.protocol import values
from pgtrace.recorder import Recorder
from pgtrace.report import messages
from pgtrace.trace.trace import Trace

pytestmark = pytest.mark.live


MADE = """
CREATE EXTENSION hstore;
CREATE EXTENSION vector;
CREATE TYPE mood AS ENUM ('sad', 'it''s fine');
CREATE DOMAIN cents AS int4;
CREATE TYPE person AS (name text, mood mood, pay cents);
CREATE TYPE prices AS RANGE (subtype = numeric, multirange_type_name = price_lists);
CREATE TYPE "od\x1b[2Jd" AS ENUM ('x');
"""
VALUES = {
    "mood": "'it''s fine'::mood",
    "moods": "ARRAY[['sad', NULL]]::mood[]",
    "person": "ROW('Ann', 'it''s fine', 7)::person",
    "people": "ARRAY[ROW('Ann', NULL, 7)::person, ROW('', 'sad', NULL)::person]",
    "cents": "ARRAY[7]::cents[]",
    "prices": "'[1.50,2)'::prices",
    "price_lists": "'{[1.50,2),[3,)}'::price_lists",
    "hstore": "'a=>1, \"b c\"=>NULL'::hstore",
    "hstores": "ARRAY['a=>1']::hstore[]",
    "vector": "'[1,-2.5]'::vector",
}
ALL = f"SELECT {', '.join(f'{value} AS {name}' for name, value in VALUES.items())}"


@pytest.fixture(scope="module")
def database(server: EmbeddedServer) -> str:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE with_types")
    with psycopg.connect(server.url(), dbname="with_types", autocommit=True) as connection:
        connection.execute(MADE)
    return "with_types"


@pytest.fixture(scope="module")
def printed(server: EmbeddedServer, database: str) -> dict[str, str]:
    """The values as the server prints them."""
    with psycopg.connect(server.url(), dbname=database) as connection:
        result = connection.pgconn.exec_params(ALL.encode(), [], result_format=pq.Format.TEXT)
        return {name: (result.get_value(0, place) or b"").decode() for place, name in enumerate(VALUES)}


def shown(trace: Trace, sql: str, name: str = "DataRow") -> list[list[FieldView]]:
    """The values of every message of that name in the rows of a statement."""
    found = [details.read(trace, place).messages for place, row in enumerate(trace.rows) if row.label.sql == sql]
    return [[field for field in message.fields() if field.depth] for messages in found for message in messages if message.name == name]


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


async def test_asyncpg(
    server: EmbeddedServer, database: str, proxy: Recorder, trace_of: Callable[[Recorder], Trace], printed: dict[str, str]
) -> None:
    connection = await asyncpg.connect(server.url(proxy.host, proxy.port), database=database)
    try:
        await connection.set_builtin_type_codec("hstore", codec_name="pg_contrib.hstore")
        await connection.fetchrow(ALL)
        await connection.fetchval("SELECT $1::mood", "sad")
    finally:
        await connection.close()
    trace = trace_of(proxy)
    [row] = shown(trace, ALL)
    read = {field.name: field for field in row}
    for name, text in printed.items():
        if name == "vector":  # asyncpg has no codec for it and takes text
            assert read[name].wire_type == "vector text"
        else:
            assert read[name].wire_type.endswith(" binary"), name
        assert read[name].value == literal(text)
        assert read[name].evidence.startswith("learned from #")
    assert [read[name].wire_type.removesuffix(" binary") for name in ("moods", "people", "cents", "prices", "price_lists", "hstores")] == [
        "mood[]", "person[]", "cents[]", "prices", "price_lists", "hstore[]",
    ]  # fmt: skip
    [[parameter]] = shown(trace, "SELECT $1::mood", "Bind")
    assert (parameter.value, parameter.wire_type) == ("'sad'", "mood binary")
    assert [field.value for field in shown(trace, "SELECT $1::mood")[0]] == ["'sad'"]
    place = next(place for place, one in enumerate(trace.rows) if one.label.sql == "SELECT $1::mood")
    about = [
        message.argument for message in details.read(trace, place).messages if message.name in ("ParameterDescription", "RowDescription")
    ]
    assert about == ["mood", "mood mood"]


def test_psycopg(
    server: EmbeddedServer, database: str, proxy: Recorder, trace_of: Callable[[Recorder], Trace], printed: dict[str, str]
) -> None:
    with psycopg.connect(server.url(proxy.host, proxy.port), dbname=database) as connection:
        connection.cursor(binary=True).execute(ALL).fetchone()
        for kind, name in (
            (EnumInfo, "mood"),
            (CompositeInfo, "person"),
            (TypeInfo, "cents"),
            (RangeInfo, "prices"),
            (MultirangeInfo, "price_lists"),
            (TypeInfo, "hstore"),
            (TypeInfo, "vector"),
        ):
            assert kind.fetch(connection, name) is not None
    trace = trace_of(proxy)
    [row] = shown(trace, ALL)
    read = {field.name: field for field in row}
    for name, text in printed.items():
        assert read[name].wire_type.endswith(" binary")
        if name not in ("cents", "person", "people"):
            assert read[name].value == literal(text)
    # psycopg asks for the name of a domain, not for what is below it: hex in its place, the rest is told
    assert read["cents"].wire_type == "cents[] binary"
    assert read["cents"].value.startswith("'{\\x00000007 (oid ")
    assert read["person"].value.startswith("'(Ann,\"it''s fine\",\\x00000007 (oid ")


def test_an_introspection_that_is_repeated_is_learned_from_each_time(
    server: EmbeddedServer, database: str, proxy: Recorder, trace_of: Callable[[Recorder], Trace]
) -> None:
    """The same exchange again and again is read by a short cut, but the types it is about differ."""
    sql = "SELECT oid, typname, typarray FROM pg_type WHERE typname = %s"
    found: list[tuple[int, str, int]] = []
    with psycopg.connect(server.url(proxy.host, proxy.port), dbname=database, autocommit=True) as connection:
        for _ in range(250):
            connection.execute("SELECT 1", prepare=True)
        for name in ("mood", "hstore", "vector", "cents", "person", "prices", "price_lists"):
            found += connection.execute(sql, [name], prepare=True).fetchall()
    trace = trace_of(proxy)
    known = types.of(trace, trace.connections[0])
    assert len(found) == 7
    for oid, name, array in found:
        assert values.type_name(oid, known) == name
        assert values.type_name(array, known) == f"{name}[]"


def test_types_hold_for_their_database_alone(
    server: EmbeddedServer, database: str, proxy: Recorder, trace_of: Callable[[Recorder], Trace]
) -> None:
    for name in (database, "postgres"):
        with psycopg.connect(server.url(proxy.host, proxy.port), dbname=name) as connection:
            info = EnumInfo.fetch(connection, "mood")
            if name == database:
                assert info is not None
                oid = info.oid
    trace = trace_of(proxy)
    known = {connection.database: types.of(trace, connection) for connection in trace.connections}
    mood = known[database].get(oid)
    assert mood is not None
    assert (mood.name, mood.kind) == ("mood", values.TypeKind.ENUM)
    assert known["postgres"].get(oid) is None


def test_every_type_of_a_database_is_read_once_it_was_told(
    server: EmbeddedServer, proxy: Recorder, trace_of: Callable[[Recorder], Trace]
) -> None:
    """Row types of the catalogues and domains of the information schema: whole rows, both formats."""
    told = "SELECT t.oid, typname, typtype, typelem, typbasetype, rngsubtype FROM pg_type t LEFT JOIN pg_range ON rngtypid = t.oid"
    views = (
        "pg_namespace",
        "pg_class",
        "pg_index",
        "pg_operator",
        "pg_stats",
        "information_schema.columns",
        "information_schema.sequences",
    )
    printed: dict[str, list[str]] = {}
    with psycopg.connect(server.url(proxy.host, proxy.port), autocommit=True) as connection:
        connection.execute("CREATE SEQUENCE IF NOT EXISTS counted")
        connection.execute(told)
        (sent,) = connection.execute("SELECT count(*) FROM pg_type WHERE typsend <> 0").fetchone() or (0,)
        for view in views:
            columns = connection.execute(
                "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
                " AND atttypid NOT IN ('aclitem[]'::regtype, 'regproc'::regtype) AND attname NOT LIKE '%%common_elem%%'",
                [view],
            ).fetchone()
            assert columns is not None
            condition = "WHERE schemaname = 'pg_catalog' AND tablename = 'pg_type' AND attname = 'typname'" if view == "pg_stats" else ""
            sql = f"SELECT ROW({columns[0]}) FROM {view} {condition} LIMIT 40"
            for form in pq.Format:
                result = connection.pgconn.exec_params(sql.encode(), [], result_format=form)
                assert result.status == pq.ExecStatus.TUPLES_OK, result.error_message
                if form == pq.Format.TEXT:
                    printed[sql] = [(result.get_value(row, 0) or b"").decode() for row in range(result.ntuples)]
    trace = trace_of(proxy)
    for sql, texts in printed.items():
        assert texts
        assert [row[0].value for row in shown(trace, sql)] == [literal(text) for text in texts] * 2, sql
    known = types.of(trace, trace.connections[0])
    rows = shown(trace, told)
    assert len(rows) < sent, "details keep fewer rows than are learned from"
    found = [known.get(oid) or values.BUILTIN.get(oid) for oid in range(20_000)]
    assert sum(one is not None and one.kind is not values.TypeKind.UNKNOWN for one in found) >= sent


def test_names_from_the_wire_are_shown_escaped(
    server: EmbeddedServer, database: str, proxy: Recorder, trace_of: Callable[[Recorder], Trace]
) -> None:
    with psycopg.connect(server.url(proxy.host, proxy.port), dbname=database) as connection:
        assert EnumInfo.fetch(connection, '"od\x1b[2Jd"') is not None
        connection.cursor(binary=True).execute('SELECT \'x\'::"od\x1b[2Jd" AS "a\x1b[2Jb"').fetchone()
    trace = trace_of(proxy)
    lines = list(messages.rows_as_text(trace, range(len(trace.rows)), with_fields=True))
    assert not any("\x1b" in line for line in lines)
    [line] = [line for line in lines if "learned from #" in line]
    assert "'x'" in line
