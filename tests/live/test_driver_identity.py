"""Real drivers at ordinary work are recognised, and sessions that two of them would send alike are not guessed at."""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import subprocess

import asyncpg
import pg8000.dbapi
import psycopg
import psycopg2
import psycopg2.extras
import pytest

from pgtrace.demo.workloads import VARIANTS
from pgtrace.demo.workloads.common import SCHEMA, Target


def identity(proxy, trace_of) -> set[tuple[str, bool]]:
    """Each session's driver, and whether anything speaks for it."""
    return {(one.driver, bool(one.driver_evidence)) for one in trace_of(proxy).connections}


async def test_asyncpg(server, proxy, trace_of):
    connection = await asyncpg.connect(server.url(proxy.host, proxy.port), statement_cache_size=0)
    await connection.fetchval("select $1::int", 1)
    await connection.close()
    assert identity(proxy, trace_of) == {("asyncpg", True)}


def test_pg8000(server, proxy, trace_of):
    where = {"host": proxy.host, "port": proxy.port, "user": server.user, "password": server.password, "database": server.database}
    with contextlib.closing(pg8000.dbapi.connect(**where)) as connection:
        connection.cursor().execute("select 1")
        connection.commit()
    assert identity(proxy, trace_of) == {("pg8000", True)}


def test_psql(server, proxy, trace_of):
    program = shutil.which("psql")
    if program is None:
        pytest.skip("no psql on this machine")
    where = ["-h", proxy.host, "-p", str(proxy.port), "-U", server.user, "-d", server.database]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    subprocess.run([program, *where, "-c", "select 1"], env=environment | {"PGPASSWORD": server.password}, check=True, capture_output=True)
    assert identity(proxy, trace_of) == {("psql", True)}


def _six_times(connection):
    for number in range(6):
        connection.execute("select %s", (number,))


def _a_few_parameters(connection):
    connection.execute("select %s, %s", (1, "a"))
    connection.commit()


def _savepoint(connection):
    with connection.transaction(), connection.transaction():
        connection.execute("select 1")


def _cursor(connection):
    with connection.cursor("c") as cursor:
        cursor.execute("select generate_series(1, 3)").fetchall()


def _client_cursor(connection):
    psycopg.ClientCursor(connection).execute("select %s", (datetime.datetime(2026, 1, 2, 3, 4, 5),))


@pytest.mark.parametrize("work", [_six_times, _a_few_parameters, _savepoint, _cursor, _client_cursor])
def test_psycopg(server, proxy, trace_of, work):
    with psycopg.connect(server.url(proxy.host, proxy.port)) as connection:
        work(connection)
    assert identity(proxy, trace_of) == {("psycopg", True)}


def _values(cursor):
    for number in range(3):
        cursor.execute("select %s", (number,))


def _timestamp(cursor):
    cursor.execute("select %s", (datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),))


def _interval(cursor):
    cursor.execute("select %s", (datetime.timedelta(days=1),))


def _rows(cursor):
    cursor.execute("create temp table t (a int, b text)")
    cursor.connection.commit()
    for start in range(3):
        psycopg2.extras.execute_values(cursor, "insert into t values %s", [(start, "a"), (start + 1, None)])


def _named_cursor(cursor):
    with cursor.connection.cursor("c") as named:
        named.execute("select generate_series(1, 3)")
        named.fetchall()


@pytest.mark.parametrize("work", [_values, _timestamp, _interval, _rows, _named_cursor])
def test_psycopg2(server, proxy, trace_of, work):
    with contextlib.closing(psycopg2.connect(server.url(proxy.host, proxy.port))) as connection, connection, connection.cursor() as cursor:
        work(cursor)
    assert identity(proxy, trace_of) == {("psycopg2", True)}


@pytest.mark.parametrize("module", [psycopg, psycopg2])
def test_queries_without_values_are_the_same_from_both(server, proxy, trace_of, module):
    with contextlib.closing(module.connect(server.url(proxy.host, proxy.port))) as connection, connection, connection.cursor() as cursor:
        cursor.execute("select 1")
        cursor.execute("select name from pg_settings limit 1")
    assert identity(proxy, trace_of) == {("unknown", False)}


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_the_demos_work(server, proxy, trace_of, variant):
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("drop table if exists sale, item")
        connection.execute(SCHEMA)
    variant.load()(Target(proxy.host, proxy.port, server.user, server.password, server.database))
    assert identity(proxy, trace_of) == {(variant.name.split()[0], True)}
