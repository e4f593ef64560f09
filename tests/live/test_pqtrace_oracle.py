"""What libpq's own trace says about a session and what pgtrace exports of its capture is the same text.

libpq (18, inside psycopg) writes one line for each message it builds or parses. The same session
passes through the recorder, and the exporter writes its capture in both of libpq's modes. In
regress mode the texts are equal byte by byte; in plain mode but for what pgtrace keeps of no
session, the payloads of SASL and the cancel key. So is the order of the lines wherever libpq waits
for each answer; in a pipeline it reads when it gets round to it, so there each direction is
compared for itself. The number of messages compared is printed at the end of the run.
"""

from __future__ import annotations

import contextlib
import select
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import pq

from pgtrace.address import parse_listen, parse_upstream
from pgtrace.recorder import Recorder
from tests.live.libpq_text import exported, traced, without_secrets

Scenario = Callable[[psycopg.Connection], None]
Play = Callable[[Scenario, str, bool], tuple[list[str], list[str]]]


@contextlib.contextmanager
def connect(conninfo: str, trace: Path, *, plain: bool = True) -> Iterator[psycopg.Connection]:
    """A connection that libpq traces from its first packet on."""
    with trace.open("wb") as file:
        pgconn = pq.PGconn.connect_start(conninfo.encode())
        pgconn.trace(file.fileno())
        pgconn.set_trace_flags(pq.Trace.SUPPRESS_TIMESTAMPS if plain else pq.Trace.SUPPRESS_TIMESTAMPS | pq.Trace.REGRESS_MODE)
        while (status := pgconn.connect_poll()) != pq.PollingStatus.OK:
            assert status in (pq.PollingStatus.READING, pq.PollingStatus.WRITING), pgconn.error_message
            reads, writes = ([pgconn.socket], []) if status == pq.PollingStatus.READING else ([], [pgconn.socket])
            assert any(select.select(reads, writes, [], 30))
        pgconn.nonblocking = 1
        connection = psycopg.Connection(pgconn)
        connection.autocommit = True
        try:
            connection.execute("create temporary table work (id int, name text, data bytea, at timestamptz)")
            yield connection
        finally:
            connection.close()


def simple(connection: psycopg.Connection) -> None:
    pgconn = connection.pgconn
    for query in (
        b"select 1",
        b"",
        b"select 1, null, ''; select 2 where false; show all",
        b"select 1; select 1/0; select 2",
        b"-- only\n-- comments",
    ):
        pgconn.send_query(query)
        drain(connection)
    connection.execute("set application_name = 'renamed'")
    connection.execute("set datestyle = 'German'; reset datestyle")
    connection.execute("begin")
    connection.execute("rollback")


def drain(connection: psycopg.Connection) -> None:
    """Take all results of what was sent through the low-level interface."""
    connection.wait(psycopg.generators.execute(connection.pgconn))


def extended(connection: psycopg.Connection) -> None:
    rows = [
        (1, "it's 'quoted' \\ back\nline", b"\0\xff'", None),
        (2, "", b"", "2026-01-01 12:00+00"),
        (None, None, None, None),
        (3, "ü€😀", b"x" * 300, None),
    ]
    for row in rows:
        connection.execute("insert into work values (%s, %s, %s, %s)", row)
    connection.execute("select * from work where id = %s or name = %s", (1, "")).fetchall()
    connection.execute("select %s::int[], %s::json, %s::numeric", ([1, 2, None], '{"a": 1}', 1.5)).fetchall()
    connection.execute("select from work").fetchall()


def prepared(connection: psycopg.Connection) -> None:
    connection.prepared_max = 2
    for number in range(8):
        connection.execute("select name from work where id = %s", (number,))
    for number in range(3):
        connection.execute(f"select {number}, %s::text", ("x",), prepare=True)
    pgconn = connection.pgconn
    pgconn.send_prepare(b"mine", b"select $1::int8, $2", [0, 25])
    drain(connection)
    pgconn.send_describe_prepared(b"mine")
    drain(connection)
    pgconn.send_query_prepared(b"mine", [b"1", None], result_format=1)
    drain(connection)
    pgconn.send_close_prepared(b"mine")
    drain(connection)


def pipeline(connection: psycopg.Connection) -> None:
    with connection.pipeline() as pipe:
        cursors = [connection.execute("select %s::int", (number,)) for number in range(5)]
        pipe.sync()
        cursors.append(connection.execute("select 'after'"))
    assert [cursor.fetchone() for cursor in cursors][-1] == ("after",)
    with contextlib.suppress(psycopg.errors.DivisionByZero), connection.pipeline():
        for number in (1, 0, 2):
            connection.execute("select 1 / %s", (number,))
    with connection.transaction(), connection.pipeline(), connection.cursor() as cursor:
        cursor.executemany(
            "insert into work (id, name) values (%s, %s) returning id", [(n, f"name {n}") for n in range(20)], returning=True
        )


def copy_in(connection: psycopg.Connection) -> None:
    with connection.cursor() as cursor:
        with cursor.copy("copy work from stdin") as copy:
            for number in range(200):
                copy.write_row((number, f"tab\t {number}", b"\0\1", None))
        with cursor.copy("copy work (id, name) from stdin (format binary)") as copy:
            copy.set_types(["int4", "text"])
            copy.write_row((1, "binary"))
        with contextlib.suppress(psycopg.errors.InvalidTextRepresentation), cursor.copy("copy work from stdin") as copy:
            copy.write("one column\n")
        with contextlib.suppress(ZeroDivisionError), cursor.copy("copy work from stdin") as copy:
            copy.write("1\t\\N\t\\N\t\\N\n")
            raise ZeroDivisionError


def copy_out(connection: psycopg.Connection) -> None:
    connection.execute("insert into work select n, 'name ' || n, decode(repeat('00ff', n), 'hex') from generate_series(1, 100) n")
    for how in ("text", "binary", "csv"):
        with connection.cursor().copy(f"copy work to stdout (format {how})") as copy:
            assert sum(len(block) for block in copy) > 1000
    with (
        contextlib.suppress(psycopg.errors.DivisionByZero),
        connection.cursor().copy("copy (select 1 / (3 - n) from generate_series(1, 5) n) to stdout") as copy,
    ):
        list(copy)


def errors_and_notices(connection: psycopg.Connection) -> None:
    connection.execute("create unique index on work (id)")
    connection.execute("insert into work (id) values (1)")
    for query in ("insert into work (id) values (1)", "select * from nowhere", "selec 1", "select 'x'::int"):
        with contextlib.suppress(psycopg.Error):
            connection.execute(query)
        with contextlib.suppress(psycopg.Error):
            connection.execute(query + " -- %s", (b"",))
    for level in ("notice", "warning", "info", "log"):
        connection.execute(
            f"do $$ begin raise {level} 'a % text', '{level}' using detail = 'd', hint = 'h', column = 'c', table = 't'; end $$"
        )
    connection.execute("drop table if exists nowhere")
    connection.execute("set client_min_messages = debug1")
    connection.execute("create temporary table noisy (id int primary key)")


def notifications(connection: psycopg.Connection) -> None:
    connection.execute("listen here")
    connection.execute("notify here, 'at once'")
    with connection.transaction():
        connection.execute("select pg_notify('here', %s)", ("at commit",))
        connection.execute("notify here")
    assert [note.payload for note in connection.notifies(timeout=10, stop_after=3)] == ["at once", "at commit", ""]
    connection.execute("unlisten *")


def cursors(connection: psycopg.Connection) -> None:
    connection.execute("insert into work select n, 'name ' || n from generate_series(1, 50) n")
    for binary in (False, True):
        with connection.transaction(), connection.cursor("portal", binary=binary, scrollable=True) as cursor:
            cursor.execute("select * from work where id > %s order by id", (10,))
            cursor.fetchmany(7)
            cursor.scroll(-3)
            cursor.fetchone()
            cursor.itersize = 10
            list(cursor)
    with connection.cursor() as cursor:
        list(cursor.stream("select id from work"))


def binary_results(connection: psycopg.Connection) -> None:
    with connection.cursor(binary=True) as cursor:
        cursor.execute(
            "select true, 1::int2, 2::int4, -3::int8, 1.5::float4, 'NaN'::float8, 12345.678::numeric, 'text', 'c'::char(3), "
            "'\\x00ff'::bytea, now(), "
            "current_date, '1 day'::interval, gen_random_uuid(), '{\"a\": [1]}'::jsonb, array[1, null, 3], array['a', 'b'], "
            "'127.0.0.1'::inet, null, ''"
        ).fetchall()
        cursor.execute("select n, repeat('x', n) from generate_series(1, 300) n").fetchall()
        cursor.execute("select repeat('y', 400000)").fetchall()


SCENARIOS: tuple[Scenario, ...] = (
    *(simple, extended, prepared, pipeline, copy_in, copy_out),
    *(errors_and_notices, notifications, cursors, binary_results),
)


def everything(connection: psycopg.Connection) -> None:
    for scenario in SCENARIOS:
        connection.execute("drop index if exists work_id_idx")
        connection.execute("truncate work")
        scenario(connection)


PIPELINED = {"pipeline", "prepared"}
"""Scenarios in which libpq sends on before it has read every answer."""


@pytest.fixture
def play(server, proxy, trace_of, tmp_path, record_property) -> Play:
    """Play a scenario through the recorder; gives the messages as libpq and as pgtrace wrote them."""

    def record(scenario: Scenario, protocol: str, plain: bool) -> tuple[list[str], list[str]]:
        conninfo = f"{server.url(proxy.host, proxy.port)}?max_protocol_version={protocol}"
        trace_file = tmp_path / "libpq.trace"
        with connect(conninfo, trace_file, plain=plain) as connection:
            scenario(connection)
        expected = traced(trace_file.read_bytes())
        record_property("messages_compared", len(expected))
        return expected, exported(trace_of(proxy), plain=plain)

    return record


@pytest.mark.parametrize("mode", ["regress", "plain"])
@pytest.mark.parametrize("protocol", ["3.0", "3.2"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_libpq_and_pgtrace_write_the_same(scenario, protocol, mode, play):
    expected, found = play(scenario, protocol, mode == "plain")
    if mode == "plain":
        expected, found = without_secrets(expected), without_secrets(found)
    for side in "FB":
        assert [one for one in found if one[0] == side] == [one for one in expected if one[0] == side]
    if scenario.__name__ not in PIPELINED:
        assert found == expected


def test_trace_counts_what_libpq_saw(play, proxy, trace_of):
    expected, _ = play(everything, "3.0", True)
    counted = trace_of(proxy).totals().as_dict()
    for side, key in (("F", "frontend_messages"), ("B", "backend_messages")):
        names = Counter(text.split("\t")[2].replace("SSLResponse", "SSLRequestReply") for text in expected if text[0] == side)
        assert {name: number for name, number in counted[key].items() if number and name != "AuthenticationOk"} == names


LOGINS = {
    "trust": "postgresql://trust_role@{place}/postgres",
    "md5": "postgresql://md5_role:secret@{place}/postgres",
    "clear": "postgresql://clear_role:secret@{place}/postgres",
    "scram": "{url}",
    "wrong password": "postgresql://md5_role:wrong@{place}/postgres",
    "wrong SCRAM password": "postgresql://nobody:wrong@{place}/postgres",
    "no such database": "postgresql://trust_role@{place}/nowhere",
    "no such parameter": "postgresql://trust_role@{place}/postgres?options=-c%20nonsense%3D1",
    "no SSLRequest": "postgresql://trust_role@{place}/postgres?sslmode=disable",
}
FAILING = {"wrong password", "wrong SCRAM password", "no such database", "no such parameter"}


@pytest.mark.parametrize("mode", ["regress", "plain"])
@pytest.mark.parametrize("login", LOGINS)
def test_logins_are_written_the_same(login, mode, tls_server, tmp_path, trace_of):
    """Also those that fail, but for the error that ends them: libpq does not trace it."""
    upstream = parse_upstream(f"{tls_server.host}:{tls_server.port}", {})
    with Recorder(parse_listen("127.0.0.1:0"), upstream, write=tmp_path / "login.pgtrace") as recorder:
        conninfo = LOGINS[login].format(place=f"{recorder.host}:{recorder.port}", url=tls_server.url(recorder.host, recorder.port))
        pgconn = pq.PGconn.connect_start(conninfo.encode())
        with (tmp_path / "libpq.trace").open("wb") as file:
            pgconn.trace(file.fileno())
            pgconn.set_trace_flags(pq.Trace.SUPPRESS_TIMESTAMPS | (0 if mode == "plain" else pq.Trace.REGRESS_MODE))
            while (status := pgconn.connect_poll()) in (pq.PollingStatus.READING, pq.PollingStatus.WRITING):
                reads, writes = ([pgconn.socket], []) if status == pq.PollingStatus.READING else ([], [pgconn.socket])
                assert any(select.select(reads, writes, [], 30))
            pgconn.finish()
        found = exported(trace_of(recorder), plain=mode == "plain")
    expected = traced((tmp_path / "libpq.trace").read_bytes())
    errors = [one for one in found if "\tErrorResponse\t" in one]
    assert len(errors) == (login in FAILING)
    assert without_secrets([one for one in found if one not in errors]) == without_secrets(expected)
