"""A statement with its recorded parameters, written so that the server runs the same again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.inspect import types
from pgtrace.inspect.executed import NO_BIND, REDACTED, Executed, executed
from pgtrace.inspect.literals import literal, type_name, written
from pgtrace.protocol.values import Type, TypeKind
from pgtrace.recorder import Recorder
from pgtrace.trace.trace import Trace

if TYPE_CHECKING:
    from psycopg import pq

INT8, TEXT, BYTEA, BIT = 20, 25, 17, 1560
VALUES = (
    "'-32768'::int2", "-1::int8", "'NaN'::float8", "-0.1::float4", "1e400::numeric", "true", "'it''s \\ \n\t$1'::text",
    "E'\\u202e\\x1b]0;'::text",
    "''::text", "'a  '::bpchar", "'x'::\"char\"", "'\\x00ff27'::bytea", "'101'::varbit", "'1011'::\"bit\"",
    "'2026-11-27 10:00+00'::timestamptz",
    "'-1 mon 3 days'::interval", "'infinity'::date", "'{\"a\": \"\\u00e9\"}'::jsonb", "'{}'::json", "'[1,2)'::int4range",
    "'{[1,2),[5,)}'::int4multirange",
    "ARRAY[1,NULL,3]::int8[]", "ARRAY['a,b','\"',NULL,'']::text[]", "'[0:1]={1,2}'::int4[]", "'10.0.0.0/8'::cidr", "'(1,2)'::point",
    "'550e8400-e29b-41d4-a716-446655440000'::uuid", "'a:1 b'::tsvector", "'pg_class'::regclass", "'1 2'::int2vector",
)  # fmt: skip


def ran(sql: str, *parameters: bytes | None, types: tuple[int, ...] = (), binary: bool = False) -> Executed:
    return Executed(1, sql, types, (int(binary),) * len(parameters), parameters, "")


@pytest.fixture(scope="module")
def direct(server: EmbeddedServer) -> pq.abc.PGconn:
    from psycopg import pq

    connection = pq.PGconn.connect(server.url().encode())
    assert connection.status == pq.ConnStatus.OK
    return connection


def only(result: pq.abc.PGresult) -> tuple[int, bytes | None]:
    from psycopg import pq

    assert result.status == pq.ExecStatus.TUPLES_OK, result.error_message
    return result.ftype(0), result.get_value(0, 0)


@pytest.mark.parametrize("form", [0, 1])
def test_every_value_comes_back_as_it_was(
    direct: pq.abc.PGconn, server: EmbeddedServer, proxy: Recorder, trace_of: Callable[[Recorder], Trace], form: int
) -> None:
    """Bound through the proxy, then run from the text that is copied."""
    from psycopg import pq

    through = pq.PGconn.connect(server.url(proxy.host, proxy.port).encode())
    wanted = []
    for value in VALUES:
        oid, data = only(direct.exec_params(f"SELECT {value}".encode(), [], result_format=form))
        assert only(through.exec_params(b"SELECT $1", [data], [oid], [form], result_format=form)) == (oid, data)
        wanted.append((oid, only(direct.exec_params(f"SELECT {value}".encode(), []))[1]))
    through.finish()
    trace = trace_of(proxy)
    found = []
    for place, row in enumerate(trace.rows):
        if row.label.sql == "SELECT $1":
            (one,) = executed(trace, place)
            text = written(one, types.of(trace, trace.connections[row.connection]))
            assert text.startswith("SELECT ")
            assert text.isprintable()
            found.append(only(direct.exec_(text.encode())))
    assert found == wanted


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        ("SELECT $1, $2", "SELECT '1', NULL;"),
        ("SELECT '$1', \"$1\", $tag$ $1 $tag$ -- $1", "SELECT '$1', \"$1\", $tag$ $1 $tag$ -- $1\n;"),
        ("SELECT -$1;", "SELECT -'1';"),
        ("SELECT $1[1], $1 [1], $1.f", "SELECT ('1')[1], ('1') [1], ('1').f;"),
        ("SELECT 1 FETCH FIRST $1 ROWS ONLY", "SELECT 1 FETCH FIRST ('1') ROWS ONLY;"),
        ("SELECT u&$1, $1and$2", "SELECT u& '1', '1' and$2;"),
        ("SELECT $3, $99999999999", "SELECT $3, $99999999999;"),
        ("SELECT 1 \\! rm $1\n;", "-- a backslash outside quotes is a command to psql: commented out\n-- SELECT 1 \\! rm '1'\n-- ;"),
        ("SELECT '\x1b', $1", "-- characters that could control a terminal are written as escapes\nSELECT '\x1b', '1';"),
    ],
)
def test_only_parameters_are_replaced_and_nothing_around_them_changes_meaning(sql: str, shown: str) -> None:
    assert written(ran(sql, b"1", None)) == shown


def test_a_value_cannot_end_its_quotes() -> None:
    assert written(ran("SELECT $1", b"x'; DROP TABLE t; --", types=(TEXT,))) == "SELECT 'x''; DROP TABLE t; --'::text;"
    assert written(ran("SELECT $1", rb"\'; DROP TABLE t; --", types=(TEXT,))) == r"SELECT E'\\''; DROP TABLE t; --'::text;"
    assert written(ran("SELECT $1", b"a\nb\x1b\xe2\x80\xae", types=(TEXT,))) == r"SELECT E'a\nb\u001b\u202e'::text;"
    hostile = {70000: Type(70000, 'x"; DROP TABLE t; --', TypeKind.ENUM)}
    assert literal(70000, 0, b"sad", hostile) == '\'sad\'::"x""; DROP TABLE t; --"'


def test_what_cannot_be_decoded_is_said() -> None:
    text = written(ran("SELECT $1, $2, $3", b"\0\1", b"1", b"\xff", types=(70000, INT8, TEXT), binary=True))
    assert text.splitlines() == [
        "-- $1 could not be decoded: 2 bytes of oid 70000, binary: \\x0001",
        "-- $2 could not be decoded: 1 bytes of int8, binary: \\x31",
        "-- $3 could not be decoded: 1 bytes of text, binary: \\xff",
        "SELECT $1, $2, $3;",
    ]
    element = b"\0\0\0\1\0\0\0\0" + (70000).to_bytes(4, "big") + b"\0\0\0\1\0\0\0\1" + b"\0\0\0\1x"
    arrays = {70001: Type(70001, "_mood", TypeKind.ARRAY, 70000)}
    assert literal(70001, 1, element, arrays) is None
    assert literal(70001, 0, b"{x}", arrays) == "'{x}'"
    assert written(Executed(1, "SELECT $1")) == f"-- {NO_BIND}\nSELECT $1;"


def test_types_as_sql_calls_them() -> None:
    assert [type_name(oid) for oid in (INT8, BIT, 18, 1016, 705, 0, 70000)] == ["int8", '"bit"', '"char"', "int8[]", "", "", ""]


def test_blanked_parameters_are_not_taken_for_values(server: EmbeddedServer, trace_of: Callable[[Recorder], Trace]) -> None:
    from psycopg import pq

    upstream = f"{server.host}:{server.port}"
    with Recorder(upstream=upstream, redact=["params"]) as recorder:
        through = pq.PGconn.connect(server.url(recorder.host, recorder.port).encode())
        only(through.exec_params(b"SELECT $1::text", [b"secret"]))
        only(through.exec_params(b"SELECT 1", []))
        through.finish()
        trace = trace_of(recorder)
        rows = {row.label.sql: place for place, row in enumerate(trace.rows)}
        (one,) = executed(trace, rows["SELECT $1::text"])
        assert (one.parameters, one.missing, one.types) == (None, REDACTED, ())
        (other,) = executed(trace, rows["SELECT 1"])
        assert (other.parameters, other.missing) == ((), "")
        trace.close()
