"""Programs with a finding, and the same with the remedy, for each remedy that is printed without a note.

A scenario is named by the remedy that it proves (Remedy.tried). `before` has the finding; `after` does the same work
by the remedy. Both get the recorder's URL.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pg8000.dbapi
import pg8000.native
import psycopg
import psycopg2
import psycopg2.extras
import psycopg2.pool
import psycopg_pool
import pytest
import sqlalchemy as sa
from psycopg.types import TypeInfo
from sqlalchemy import orm
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool, QueuePool

SELECT = "select name from item where id = {}"
INSERT = "insert into written (id, name) values ({}, {})"
UPDATE = "update written set name = {} where id = {}"
Program = Callable[[str], Any]


class Scenario(NamedTuple):
    kind: str
    client: str
    before: Program
    after: Program
    pooled: int = 0
    """Server connections of a PgBouncer in between; 0 without one."""
    newer: bool = False
    """Whether the remedy is a newer PgBouncer, with max_prepared_statements; the program stays."""
    always_newer: bool = False
    """Whether that PgBouncer is there before the remedy as well."""


SCENARIOS: dict[str, Scenario] = {}


def scenario(name: str, kind: str, client: str, pooled: int = 0) -> Callable[[Callable[[str, bool], Any]], Callable[[str, bool], Any]]:
    """A program told whether it is the remedied one."""

    def register(program: Callable[[str, bool], Any]) -> Callable[[str, bool], Any]:
        SCENARIOS[name] = Scenario(kind, client, lambda url: program(url, False), lambda url: program(url, True), pooled)
        return program

    return register


def awaited(program: Callable[[str, bool], Awaitable[None]]) -> Callable[[str, bool], None]:
    def run(url: str, remedied: bool) -> None:
        asyncio.run(program(url, remedied))  # type: ignore[arg-type]

    return run


# asyncpg.


@scenario("asyncpg-any", "n+1", "asyncpg")
@awaited
async def _(url: str, remedied: bool) -> None:
    connection = await asyncpg.connect(url)
    if remedied:
        await connection.fetch("select name from item where id = any($1)", list(range(8)))
    else:
        for number in range(8):
            await connection.fetch(SELECT.format("$1"), number)
    await connection.close()


@scenario("asyncpg-executemany", "n+1", "asyncpg")
@awaited
async def _(url: str, remedied: bool) -> None:
    connection = await asyncpg.connect(url)
    if remedied:
        await connection.executemany(INSERT.format("$1", "$2"), [(number, "tea") for number in range(8)])
    else:
        for number in range(8):
            await connection.execute(INSERT.format("$1", "$2"), number, "tea")
    await connection.close()


@scenario("asyncpg-fetchmany", "n+1", "asyncpg")
@awaited
async def _(url: str, remedied: bool) -> None:
    connection = await asyncpg.connect(url)
    sql, rows = INSERT.format("$1", "$2") + " returning id", [(number, "tea") for number in range(8)]
    if remedied:
        got = [row["id"] for row in await connection.fetchmany(sql, rows)]
    else:
        got = [await connection.fetchval(sql, *row) for row in rows]
    assert got == list(range(8))
    await connection.close()


@scenario("asyncpg-cache-on", "extra-describe", "asyncpg")
@awaited
async def _(url: str, remedied: bool) -> None:
    connection = await asyncpg.connect(url, statement_cache_size=100 if remedied else 0)
    for number in range(6):
        await connection.fetch(SELECT.format("$1"), number)
        await connection.fetch("select now()")
    await connection.close()


@scenario("asyncpg-cache-keeps", "re-parse", "asyncpg")
@awaited
async def _(url: str, remedied: bool) -> None:
    connection = await asyncpg.connect(url, statement_cache_size=100 if remedied else 0)
    for number in range(10):
        await connection.fetch(SELECT.format("$1"), number)
        await connection.fetch("select now()")
    await connection.close()


@scenario("asyncpg-larger-cache", "cache-thrash", "asyncpg")
@awaited
async def _(url: str, remedied: bool) -> None:
    connection = await asyncpg.connect(url, statement_cache_size=100 if remedied else 3)
    for _ in range(4):
        for number in range(6):
            await connection.fetch(f"select name as n{number} from item where id = $1", number)
    await connection.close()


@scenario("asyncpg-parameters", "prepared-once", "asyncpg")
@awaited
async def _(url: str, remedied: bool) -> None:
    connection = await asyncpg.connect(url)
    for number in range(12):
        await (connection.fetch(SELECT.format("$1"), number) if remedied else connection.fetch(SELECT.format(number)))
        await connection.fetch("select now()")
    await connection.close()


@scenario("asyncpg-keep-prepared", "prepared-once", "asyncpg")
@awaited
async def _(url: str, remedied: bool) -> None:
    connection = await asyncpg.connect(url)
    for number in range(12):
        await (connection.fetch(SELECT.format("$1"), number) if remedied else (await connection.prepare(SELECT.format("$1"))).fetch(number))
        await connection.fetch("select now()")
    await connection.close()


@scenario("asyncpg-keep-prepared-leak", "prepared-leak", "asyncpg")
@awaited
async def _(url: str, remedied: bool) -> None:
    connection = await asyncpg.connect(url)
    kept = [await connection.prepare(SELECT.format("$1")) for _ in range(1 if remedied else 12)]
    for number in range(24):
        await kept[number % len(kept)].fetch(number)
        await connection.fetch("select now()")
    await connection.close()


@scenario("asyncpg-parameters-leak", "prepared-leak", "asyncpg")
@awaited
async def _(url: str, remedied: bool) -> None:
    connection = await asyncpg.connect(url)
    for number in range(12):
        for _ in range(2):  # twice: not prepared for nothing, but for too many texts
            await (connection.fetch(SELECT.format("$1"), number) if remedied else connection.fetch(SELECT.format(number)))
            await connection.fetch("select now()")
    await connection.close()


@scenario("asyncpg-one-acquire", "driver-overhead", "asyncpg")
@awaited
async def _(url: str, remedied: bool) -> None:
    async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool:
        if remedied:
            async with pool.acquire() as connection:
                for _ in range(6):
                    await connection.fetch("select now()")
        else:
            for _ in range(6):
                await pool.fetch("select now()")


@scenario("asyncpg-no-transaction", "begin-commit", "asyncpg")
@awaited
async def _(url: str, remedied: bool) -> None:
    connection = await asyncpg.connect(url)
    for number in range(4):
        if remedied:
            await connection.execute("update item set name = $1 where id = $2", "tea", number)
        else:
            async with connection.transaction():
                await connection.execute("update item set name = $1 where id = $2", "tea", number)
    await connection.close()


@scenario("asyncpg-pool", "connect", "asyncpg")
@awaited
async def _(url: str, remedied: bool) -> None:
    if remedied:
        async with asyncpg.create_pool(url, min_size=1) as pool:
            for number in range(6):
                await pool.fetch(SELECT.format("$1"), number)
    else:
        for number in range(6):
            connection = await asyncpg.connect(url)
            await connection.fetch(SELECT.format("$1"), number)
            await connection.close()


@scenario("asyncpg-savepoint", "aborted-transaction", "asyncpg")
@awaited
async def _(url: str, remedied: bool) -> None:
    connection = await asyncpg.connect(url)
    with contextlib.suppress(asyncpg.PostgresError):
        async with connection.transaction():
            with contextlib.suppress(asyncpg.UniqueViolationError):
                if remedied:
                    async with connection.transaction():
                        await connection.execute("insert into item (id) values (1)")
                else:
                    await connection.execute("insert into item (id) values (1)")
            await connection.execute("update item set name = 'tea' where id = 2")
    await connection.close()


@scenario("asyncpg-on-conflict", "pipeline-error", "asyncpg")
@awaited
async def _(url: str, remedied: bool) -> None:
    connection = await asyncpg.connect(url)
    rows = [(number,) for number in (501, 502, 1, 503)]
    insert = "insert into item (id) values ($1)" + (" on conflict do nothing" if remedied else "")
    with contextlib.suppress(asyncpg.UniqueViolationError):
        await connection.executemany(insert, rows)
    await connection.close()


@scenario("asyncpg-one-by-one", "pipeline-error", "asyncpg")
@awaited
async def _(url: str, remedied: bool) -> None:
    connection = await asyncpg.connect(url)
    insert, rows = "insert into item (id, name) values ($1, 'tea')", [(number,) for number in (511, None, 512, 513)]
    for row in rows if remedied else ():
        with contextlib.suppress(asyncpg.NotNullViolationError):
            await connection.execute(insert, *row)
    if not remedied:
        with contextlib.suppress(asyncpg.NotNullViolationError):
            await connection.executemany(insert, rows)
    await connection.execute("delete from item where id > 510 and id < 520")
    await connection.close()


async def _moved(connect: Callable[[], Awaitable[Any]]) -> None:
    """A session that comes back to another server connection, while somebody else has its own in a transaction."""
    first, second = await connect(), await connect()
    await first.fetch(SELECT.format("$1"), 1)
    await first.fetch(SELECT.format("$1"), 2)
    transaction = second.transaction()
    await transaction.start()
    await second.fetch("select 1 as held")
    with contextlib.suppress(asyncpg.InvalidSQLStatementNameError):
        await first.fetch(SELECT.format("$1"), 3)
    await transaction.rollback()
    await first.close()
    await second.close()


@scenario("asyncpg-cache-off", "pooler-26000", "asyncpg", pooled=2)
@awaited
async def _(url: str, remedied: bool) -> None:
    await _moved(lambda: asyncpg.connect(url, statement_cache_size=0 if remedied else 100))


class _Elsewhere(asyncpg.Connection):  # type: ignore[misc]
    """As in another process: its counter of names begins again."""

    def _get_unique_id(self, prefix: str) -> str:
        number = self.__dict__["numbers"] = self.__dict__.get("numbers", 0) + 1
        return f"__asyncpg_{prefix}_{number:x}__"


@scenario("asyncpg-cache-off-42P05", "pooler-42P05", "asyncpg", pooled=1)
@awaited
async def _(url: str, remedied: bool) -> None:
    for _ in range(2):
        connection = await asyncpg.connect(url, statement_cache_size=0 if remedied else 100, connection_class=_Elsewhere)
        with contextlib.suppress(asyncpg.DuplicatePreparedStatementError):
            await connection.fetch(SELECT.format("$1"), 1)
        await connection.close()


@scenario("asyncpg-encoding", "pooler-added", "asyncpg", pooled=2)
@awaited
async def _(url: str, remedied: bool) -> None:
    async def client(first: int) -> None:  # its values are nobody else's: which round trip is whose is known
        settings = {"client_encoding": "UTF8"} if remedied else {}
        connection = await asyncpg.connect(url, statement_cache_size=0, server_settings=settings)
        for number in range(first, first + 10):
            await connection.fetch(SELECT.format("$1"), number)
        await connection.close()

    await asyncio.gather(*(client(10 * number) for number in range(4)))


@scenario("asyncpg-no-cursor", "pooler-42P05", "asyncpg", pooled=1)
@awaited
async def _(url: str, remedied: bool) -> None:
    for _ in range(2):
        connection = await asyncpg.connect(url, statement_cache_size=0, connection_class=_Elsewhere)
        await connection.fetch("select now()")
        with contextlib.suppress(asyncpg.DuplicatePreparedStatementError):
            if remedied:
                await connection.fetch("select generate_series(1, 3)")
            else:
                async with connection.transaction():
                    async for _ in connection.cursor("select generate_series(1, 3)"):
                        pass
        connection.terminate()  # it leaves its statement in the server connection


# psycopg.


def _autocommit(url: str, **settings: Any) -> psycopg.Connection[Any]:
    return psycopg.connect(url, autocommit=True, **settings)


@scenario("psycopg-any", "n+1", "psycopg")
def _(url: str, remedied: bool) -> None:
    with _autocommit(url) as connection:
        if remedied:
            connection.execute("select name from item where id = any(%s)", (list(range(8)),))
        for number in [] if remedied else range(8):
            connection.execute(SELECT.format("%s"), (number,))


@scenario("psycopg-executemany", "n+1", "psycopg")
def _(url: str, remedied: bool) -> None:
    rows = [(number, "tea") for number in range(8)]
    with _autocommit(url) as connection, connection.cursor() as cursor:
        if remedied:
            cursor.executemany(INSERT.format("%s", "%s"), rows)
        for row in [] if remedied else rows:
            cursor.execute(INSERT.format("%s", "%s"), row)


@scenario("psycopg-executemany-returning", "n+1", "psycopg")
def _(url: str, remedied: bool) -> None:
    sql, rows = INSERT.format("%s", "%s") + " returning id", [(number, "tea") for number in range(8)]
    with _autocommit(url) as connection, connection.cursor() as cursor:
        if remedied:
            cursor.executemany(sql, rows, returning=True)
            got = [result.fetchone() for result in cursor.results()]
        else:
            got = [cursor.execute(sql, row).fetchone() for row in rows]
        assert got == [(number,) for number in range(8)]


@scenario("psycopg-parameters", "prepared-once", "psycopg")
def _(url: str, remedied: bool) -> None:
    with _autocommit(url) as connection:
        for number in range(8):
            if remedied:
                connection.execute(SELECT.format("%s"), (number,), prepare=True)
            else:
                connection.execute(f"select name from item where id = {number} and name <> %s", ("x",), prepare=True)
            connection.execute("select now()")


@scenario("psycopg-parameters-leak", "prepared-leak", "psycopg")
def _(url: str, remedied: bool) -> None:
    with _autocommit(url) as connection:
        for number in (number // 2 for number in range(28)):  # twice: not prepared for nothing, but for too many texts
            if remedied:
                connection.execute("select name from item where id = %s and name <> %s", (number, "x"), prepare=True)
            else:
                connection.execute(f"select name from item where id = {number} and name <> %s", ("x",), prepare=True)
            connection.execute("select now()")


@scenario("psycopg-threshold", "re-parse", "psycopg")
def _(url: str, remedied: bool) -> None:
    with _autocommit(url, prepare_threshold=5 if remedied else None) as connection:
        for number in range(10):
            connection.execute(SELECT.format("%s"), (number,))


@scenario("psycopg-no-rollback", "re-parse", "psycopg")
def _(url: str, remedied: bool) -> None:
    with psycopg.connect(url, autocommit=remedied) as connection:
        for number in range(20):
            connection.execute(SELECT.format("%s"), (number,))
            connection.rollback()


@scenario("psycopg-no-rollback-once", "prepared-once", "psycopg")
def _(url: str, remedied: bool) -> None:
    with psycopg.connect(url) as connection:
        for _ in range(8):
            connection.execute(SELECT.format("%s"), (1,), prepare=True)
            connection.commit() if remedied else connection.rollback()
    with psycopg.connect(url, autocommit=remedied) as connection:
        for _ in range(8):
            connection.execute(SELECT.format("%s"), (2,), prepare=True)
            connection.rollback()


def resets(url: str, remedied: bool, *, prepare: bool | None) -> None:
    reset = "reset all" if remedied else "discard all"
    with psycopg.connect(url, autocommit=True) as connection:
        for number in range(20):
            connection.execute("select now()", prepare=True)
            connection.execute(SELECT.format("%s"), (number % 2,), prepare=prepare)
            connection.execute(f"{reset} -- {number}")  # a text that psycopg has not counted


def drops(url: str, remedied: bool, *, prepare: bool | None) -> None:
    with psycopg.connect(url) as connection:
        for number in range(20):
            connection.execute(f"create temp table passing (id int){' on commit drop' if remedied else ''}")
            connection.execute("select now()", prepare=True)
            connection.execute(SELECT.format("%s"), (number % 2,), prepare=prepare)
            if not remedied:
                connection.execute(f"drop table passing -- {number}")
            connection.commit()


SCENARIOS |= {
    f"psycopg-{name}{once}": Scenario(kind, "psycopg", *(functools.partial(program, remedied=it, prepare=prepare) for it in (False, True)))
    for name, program in (("reset", resets), ("no-drop", drops))
    for once, kind, prepare in (("", "re-parse", None), ("-once", "prepared-once", True))
}


@scenario("psycopg-no-check", "driver-overhead", "psycopg")
def _(url: str, remedied: bool) -> None:
    check = None if remedied else psycopg_pool.ConnectionPool.check_connection
    with psycopg_pool.ConnectionPool(url, min_size=1, check=check, kwargs={"autocommit": True}) as pool:
        for number in range(6):
            with pool.connection() as connection:
                connection.execute(SELECT.format("%s"), (number,))


@scenario("psycopg-autocommit", "begin-commit", "psycopg")
def _(url: str, remedied: bool) -> None:
    with psycopg.connect(url, autocommit=remedied) as connection:
        for number in range(4):
            connection.execute("update item set name = %s where id = %s", ("tea", number))
            connection.commit()


@scenario("psycopg-pool", "connect", "psycopg")
def _(url: str, remedied: bool) -> None:
    if remedied:
        with psycopg_pool.ConnectionPool(url, min_size=1, kwargs={"autocommit": True}) as pool:
            for number in range(6):
                with pool.connection() as connection:
                    connection.execute(SELECT.format("%s"), (number,))
    for number in [] if remedied else range(6):
        with _autocommit(url) as connection:
            connection.execute(SELECT.format("%s"), (number,))


@scenario("psycopg-savepoint", "aborted-transaction", "psycopg")
def _(url: str, remedied: bool) -> None:
    with contextlib.suppress(psycopg.Error), _autocommit(url) as connection, connection.transaction():
        with contextlib.suppress(psycopg.errors.UniqueViolation), connection.transaction() if remedied else contextlib.nullcontext():
            connection.execute("insert into item (id) values (%s)", (1,))
        connection.execute("update item set name = %s where id = %s", ("tea", 2))


@scenario("psycopg-on-conflict", "pipeline-error", "psycopg")
def _(url: str, remedied: bool) -> None:
    insert = "insert into item (id) values (%s)" + (" on conflict do nothing" if remedied else "")
    failures = (psycopg.errors.UniqueViolation, psycopg.errors.PipelineAborted)
    with contextlib.suppress(*failures), _autocommit(url) as connection, connection.pipeline():
        for number in (601, 602, 1, 603):
            connection.execute(insert, (number,))


@scenario("psycopg-sync-each", "pipeline-error", "psycopg")
def _(url: str, remedied: bool) -> None:
    failures = (psycopg.errors.NotNullViolation, psycopg.errors.PipelineAborted)
    with contextlib.suppress(*failures), _autocommit(url) as connection, connection.pipeline() as pipeline:
        for number in (611, None, 612, 613):
            with contextlib.suppress(*failures):
                connection.execute("insert into item (id) values (%s) on conflict do nothing", (number,))
                if remedied:
                    pipeline.sync()


@scenario("psycopg-short-blocks", "idle-in-transaction", "psycopg")
def _(url: str, remedied: bool) -> None:
    with psycopg.connect(url, autocommit=remedied) as connection:
        connection.execute(SELECT.format("%s"), (1,))
        time.sleep(1.1)
        connection.execute("update item set name = %s where id = %s", ("coffee", 1))


@scenario("psycopg-prepares-nothing", "pooler-26000", "psycopg", pooled=2)
def _(url: str, remedied: bool) -> None:
    threshold = None if remedied else 2
    with _autocommit(url, prepare_threshold=threshold) as first, _autocommit(url, prepare_threshold=None) as second:
        for number in range(5):
            first.execute(SELECT.format("%s"), (number,))
        with second.transaction():
            second.execute("select 1 as held")
            with contextlib.suppress(psycopg.errors.InvalidSqlStatementName):
                first.execute(SELECT.format("%s"), (6,))


@scenario("psycopg-prepares-nothing-42P05", "pooler-42P05", "psycopg", pooled=1)
def _(url: str, remedied: bool) -> None:
    for _ in range(2):
        with _autocommit(url, prepare_threshold=None if remedied else 2) as connection:
            for number in range(5):
                with contextlib.suppress(psycopg.errors.DuplicatePreparedStatement):
                    connection.execute(SELECT.format("%s"), (number,))


DROPS = """
import sys, psycopg

url, cache = sys.argv[1:]
if psycopg.pq.__impl__ == "python" and psycopg.pq.version() >= 170000:
    sys.exit("no older libpq")
connection = psycopg.connect(url, autocommit=True)
connection.prepared_max = int(cache) if cache else None
for number in range(9):
    try:
        connection.execute(f"select %s::int as n{number % 3}", (number,), prepare=True)
    except psycopg.errors.InvalidSqlStatementName:
        pass
connection.close()
"""
LIBPQ_14 = Path(__file__).parents[2] / ".pg" / "14" / "postgresql" / "lib"
"""Where `make versions` puts it; the system's own may be older than 17, too."""


def _drops(url: str, *, older: bool, cache: str = "2") -> None:
    """A cache of two for three statements, in a process with an older libpq, or with that of psycopg-binary."""
    libpq = {"PSYCOPG_IMPL": "python", "LD_LIBRARY_PATH": str(LIBPQ_14)} if older else {}
    program = [sys.executable, "-c", DROPS, url, cache]
    done = subprocess.run(program, env={**os.environ, **libpq}, capture_output=True, text=True, check=False, timeout=60)
    if older and done.returncode:
        pytest.skip(f"needs a libpq before 17: {done.stderr.strip().splitlines()[-1]}")
    assert not done.returncode, done.stderr


SCENARIOS["psycopg-libpq-17"] = Scenario(
    "pooler-26000", "psycopg", lambda url: _drops(url, older=True), lambda url: _drops(url, older=False), pooled=1, always_newer=True
)
SCENARIOS["psycopg-drops-nothing"] = Scenario(
    "pooler-26000", "psycopg", lambda url: _drops(url, older=True), lambda url: _drops(url, older=True, cache=""), 1, always_newer=True
)


# psycopg2.


@contextlib.contextmanager
def _psycopg2(url: str, *, autocommit: bool = True) -> Any:
    connection = psycopg2.connect(url)
    connection.autocommit = autocommit
    with connection.cursor() as cursor:
        yield connection, cursor
    connection.close()


def _known_psycopg2(cursor: Any) -> None:
    """What psycopg2 alone writes."""
    cursor.execute("select %s", (__import__("datetime").datetime(2026, 1, 2, 3, 4, 5),))


@scenario("psycopg2-any", "n+1", "psycopg2")
def _(url: str, remedied: bool) -> None:
    with _psycopg2(url) as (_, cursor):
        _known_psycopg2(cursor)
        if remedied:
            cursor.execute("select name from item where id = any(%s)", (list(range(8)),))
        for number in [] if remedied else range(8):
            cursor.execute(SELECT.format("%s"), (number,))


@scenario("psycopg2-execute-values", "n+1", "psycopg2")
def _(url: str, remedied: bool) -> None:
    rows = [(number, "tea") for number in range(8)]
    with _psycopg2(url) as (_, cursor):
        _known_psycopg2(cursor)
        if remedied:
            psycopg2.extras.execute_values(cursor, "insert into written (id, name) values %s", rows)
        else:
            cursor.executemany(INSERT.format("%s", "%s"), rows)


@scenario("psycopg2-execute-batch", "n+1", "psycopg2")
def _(url: str, remedied: bool) -> None:
    rows = [("tea", number) for number in range(8)]
    with _psycopg2(url) as (_, cursor):
        _known_psycopg2(cursor)
        if remedied:
            psycopg2.extras.execute_batch(cursor, UPDATE.format("%s", "%s"), rows)
        else:
            cursor.executemany(UPDATE.format("%s", "%s"), rows)


@scenario("psycopg2-execute-values-fetch", "n+1", "psycopg2")
def _(url: str, remedied: bool) -> None:
    rows = [(number, "tea") for number in range(8)]
    with _psycopg2(url) as (_, cursor):
        _known_psycopg2(cursor)
        if remedied:
            got = psycopg2.extras.execute_values(cursor, "insert into written (id, name) values %s returning id", rows, fetch=True)
        else:
            got = []
            for row in rows:
                cursor.execute(INSERT.format("%s", "%s") + " returning id", row)
                got.append(cursor.fetchone())
        assert got == [(number,) for number in range(8)]


@scenario("psycopg2-autocommit", "begin-commit", "psycopg2")
def _(url: str, remedied: bool) -> None:
    with _psycopg2(url, autocommit=remedied) as (connection, cursor):
        _known_psycopg2(cursor)
        connection.commit()
        for number in range(4):
            cursor.execute("update item set name = %s where id = %s", ("tea", number))
            connection.commit()


@scenario("psycopg2-pool", "connect", "psycopg2")
def _(url: str, remedied: bool) -> None:
    if remedied:
        pool = psycopg2.pool.ThreadedConnectionPool(1, 2, url)
        for _ in range(6):
            connection = pool.getconn()
            with connection.cursor() as cursor:
                _known_psycopg2(cursor)
            pool.putconn(connection)
        pool.closeall()
    for _ in [] if remedied else range(6):
        with _psycopg2(url) as (_, cursor):
            _known_psycopg2(cursor)


@scenario("psycopg2-rollback", "aborted-transaction", "psycopg2")
def _(url: str, remedied: bool) -> None:
    with _psycopg2(url, autocommit=False) as (connection, cursor):
        _known_psycopg2(cursor)
        try:
            cursor.execute("insert into item (id) values (%s)", (1,))
        except psycopg2.errors.UniqueViolation:
            if remedied:
                connection.rollback()
        with contextlib.suppress(psycopg2.errors.InFailedSqlTransaction):
            cursor.execute("update item set name = %s where id = %s", ("tea", 2))
        connection.rollback()


@scenario("psycopg2-short-blocks", "idle-in-transaction", "psycopg2")
def _(url: str, remedied: bool) -> None:
    with _psycopg2(url, autocommit=remedied) as (_, cursor):
        _known_psycopg2(cursor)
        time.sleep(1.1)
        cursor.execute("update item set name = %s where id = %s", ("coffee", 1))


# pg8000.


def _pg8000(url: str) -> dict[str, Any]:
    parts = make_url(url)
    return {"user": parts.username, "password": parts.password, "host": parts.host, "port": parts.port, "database": parts.database}


@scenario("pg8000-any", "n+1", "pg8000")
def _(url: str, remedied: bool) -> None:
    connection = pg8000.dbapi.connect(**_pg8000(url))
    connection.autocommit = True
    cursor = connection.cursor()
    if remedied:
        cursor.execute("select name from item where id = any(%s)", (list(range(8)),))
    for number in [] if remedied else range(8):
        cursor.execute(SELECT.format("%s"), (number,))
    connection.close()


@scenario("pg8000-unnest", "n+1", "pg8000")
def _(url: str, remedied: bool) -> None:
    connection = pg8000.dbapi.connect(**_pg8000(url))
    connection.autocommit = True
    cursor = connection.cursor()
    if remedied:
        cursor.execute("insert into written (id, name) select unnest(cast(%s as int[])), %s", (list(range(8)), "tea"))
    else:
        cursor.executemany(INSERT.format("%s", "%s"), [(number, "tea") for number in range(8)])
    connection.close()


@scenario("pg8000-unnest-update", "n+1", "pg8000")
def _(url: str, remedied: bool) -> None:
    connection = pg8000.dbapi.connect(**_pg8000(url))
    connection.autocommit = True
    cursor = connection.cursor()
    if remedied:
        cursor.execute("update written set name = %s from unnest(cast(%s as int[])) as v (n) where id = v.n", ("tea", list(range(8))))
        cursor.execute("delete from written where id = any(cast(%s as int[]))", (list(range(8)),))
    else:
        cursor.executemany(UPDATE.format("%s", "%s"), [("tea", number) for number in range(8)])
        cursor.executemany("delete from written where id = %s", [(number,) for number in range(8)])
    connection.close()


@scenario("pg8000-prepare", "extra-describe", "pg8000")
def _(url: str, remedied: bool) -> None:
    connection = pg8000.native.Connection(**_pg8000(url))
    statement = connection.prepare("select name from item where id = :id") if remedied else None
    for number in range(4):
        if statement is not None:
            statement.run(id=number)
        else:
            connection.run("select name from item where id = :id", id=number)
    connection.close()


@scenario("pg8000-autocommit", "begin-commit", "pg8000")
def _(url: str, remedied: bool) -> None:
    connection = pg8000.dbapi.connect(**_pg8000(url))
    connection.autocommit = remedied
    cursor = connection.cursor()
    for number in range(4):
        cursor.execute(f"update item set name = 'tea' where id = {number}")
        connection.commit()
    cursor.execute(SELECT.format("%s"), (1,))
    connection.close()


@scenario("pg8000-pool", "connect", "pg8000")
def _(url: str, remedied: bool) -> None:
    pool = QueuePool(lambda: pg8000.dbapi.connect(**_pg8000(url)), pool_size=1) if remedied else None
    for number in range(6):
        connection: Any = pool.connect() if pool is not None else pg8000.dbapi.connect(**_pg8000(url))
        connection.cursor().execute(SELECT.format("%s"), (number,))
        connection.close()
    if pool is not None:
        pool.dispose()


@scenario("pg8000-short-blocks", "idle-in-transaction", "pg8000")
def _(url: str, remedied: bool) -> None:
    connection = pg8000.dbapi.connect(**_pg8000(url))
    connection.autocommit = remedied
    cursor = connection.cursor()
    cursor.execute(SELECT.format("%s"), (1,))
    time.sleep(1.1)
    cursor.execute("update item set name = %s where id = %s", ("coffee", 1))
    connection.close()


@scenario("pg8000-transaction", "split-unnamed", "pg8000")
def _(url: str, remedied: bool) -> None:
    connection = pg8000.dbapi.connect(**_pg8000(url))
    connection.autocommit = not remedied
    cursor = connection.cursor()
    for number in range(4):
        cursor.execute(SELECT.format("%s"), (number,))
        cursor.execute("select now()")
    connection.close()


# SQLAlchemy.


class Base(orm.DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "author"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    books: orm.Mapped[list[Book]] = orm.relationship()


class Book(Base):
    __tablename__ = "book"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    author_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey("author.id"))


class Written(Base):
    __tablename__ = "written"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    name: orm.Mapped[str]


TABLES = (
    "create table if not exists item (id int primary key, name text)",
    "create table if not exists written (id int, name text)",
    "create table if not exists author (id int primary key)",
    "create table if not exists book (id int primary key, author_id int)",
    "insert into item select n, 'item ' || n from generate_series(1, 20) n on conflict do nothing",
    "insert into author select n from generate_series(1, 8) n on conflict do nothing",
    "insert into book select n, n from generate_series(1, 8) n on conflict do nothing",
)


def _engine(url: str, driver: str = "psycopg", **settings: Any) -> sa.Engine:
    return sa.create_engine(make_url(url).set(drivername=f"postgresql+{driver}"), **settings)


@scenario("sqlalchemy-selectinload", "n+1", "sqlalchemy")
def _(url: str, remedied: bool) -> None:
    engine = _engine(url)
    with orm.Session(engine) as session:
        query = sa.select(Author).options(orm.selectinload(Author.books) if remedied else orm.lazyload(Author.books))
        for author in session.scalars(query).all():
            assert author.books
    engine.dispose()


@scenario("sqlalchemy-bulk-insert", "n+1", "sqlalchemy")
def _(url: str, remedied: bool) -> None:
    rows = [{"id": number, "name": "tea"} for number in range(8)]
    engine = _engine(url)
    with orm.Session(engine) as session:
        if remedied:
            session.execute(sa.insert(Written), rows)
        for row in [] if remedied else rows:
            session.execute(sa.insert(Written).values(**row))
        session.commit()
    engine.dispose()


@scenario("sqlalchemy-in", "n+1", "sqlalchemy")
def _(url: str, remedied: bool) -> None:
    engine = _engine(url)
    with engine.connect() as connection:
        for wanted in [list(range(8))] if remedied else [[number] for number in range(8)]:
            column = Author.id
            connection.execute(sa.select(column).where(column.in_(wanted) if remedied else column == wanted[0])).all()
    engine.dispose()


@scenario("sqlalchemy-bulk-update", "n+1", "sqlalchemy")
def _(url: str, remedied: bool) -> None:
    """Over each psycopg: one has a pipeline for it, the other a setting."""
    rows = [{"of": number, "new": "tea"} for number in range(8)]
    statement = sa.update(Written).where(Written.id == sa.bindparam("of")).values(name=sa.bindparam("new"))
    for driver, settings in (("psycopg", {}), ("psycopg2", {"executemany_mode": "values_plus_batch"} if remedied else {})):
        engine = _engine(url, driver, **settings)
        with engine.begin() as connection:
            if remedied:
                connection.execute(statement, rows)
            for row in [] if remedied else rows:
                connection.execute(statement, row)
        engine.dispose()


@scenario("sqlalchemy-savepoint", "aborted-transaction", "sqlalchemy")
def _(url: str, remedied: bool) -> None:
    engine = _engine(url)
    with contextlib.suppress(sa.exc.DBAPIError), orm.Session(engine) as session:
        session.execute(sa.select(Author)).all()
        with contextlib.suppress(sa.exc.IntegrityError), session.begin_nested() if remedied else contextlib.nullcontext():
            session.connection().execute(sa.text("insert into item (id) values (1)"))
        session.connection().execute(sa.text("select 2 as two"))
    engine.dispose()


@scenario("sqlalchemy-no-pre-ping", "driver-overhead", "sqlalchemy")
@awaited
async def _(url: str, remedied: bool) -> None:
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"), pool_pre_ping=not remedied, pool_recycle=3600)
    for _ in range(5):
        async with engine.connect() as connection:
            await connection.execute(sa.select(Author).where(Author.id == 1))
            await connection.execute(sa.select(Author).where(Author.id == 2))
    await engine.dispose()


@scenario("sqlalchemy-autocommit", "begin-commit", "sqlalchemy")
def _(url: str, remedied: bool) -> None:
    engine = _engine(url)
    with (engine.execution_options(isolation_level="AUTOCOMMIT") if remedied else engine).connect() as connection:
        for number in range(4):
            connection.execute(sa.select(Author).where(Author.id == number)).all()
            connection.commit()
    engine.dispose()


@scenario("sqlalchemy-queue-pool", "connect", "sqlalchemy")
def _(url: str, remedied: bool) -> None:
    engine = _engine(url, poolclass=QueuePool if remedied else NullPool)
    for number in range(7):
        with engine.connect() as connection:
            connection.execute(sa.select(Author).where(Author.id == number)).all()
    engine.dispose()


@scenario("sqlalchemy-bound", "prepared-once", "sqlalchemy")
@awaited
async def _(url: str, remedied: bool) -> None:
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"))
    async with engine.connect() as connection:
        for number in range(8):
            value = number if remedied else sa.literal_column(str(number))
            await connection.execute(sa.select(Author).where(Author.id == value))
            await connection.execute(sa.select(Book))
    await engine.dispose()


@scenario("sqlalchemy-bound-leak", "prepared-leak", "sqlalchemy")
@awaited
async def _(url: str, remedied: bool) -> None:
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"))
    async with engine.connect() as connection:
        for number in (number // 2 for number in range(28)):  # twice: not prepared for nothing, but for too many texts
            value = number if remedied else sa.literal_column(str(number))
            await connection.execute(sa.select(Author).where(Author.id == value))
            await connection.execute(sa.select(Book))
    await engine.dispose()


@scenario("sqlalchemy-cache-on", "extra-describe", "sqlalchemy")
@awaited
async def _(url: str, remedied: bool) -> None:
    off = {} if remedied else {"connect_args": {"statement_cache_size": 0, "prepared_statement_cache_size": 0}}
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"), **off)
    async with engine.connect() as connection:
        for number in range(6):
            await connection.execute(sa.select(Author).where(Author.id == number))
            await connection.execute(sa.select(Book))
    await engine.dispose()


@scenario("sqlalchemy-another-driver", "extra-describe", "sqlalchemy")
def _(url: str, remedied: bool) -> None:
    engine = sa.create_engine(make_url(url).set(drivername=f"postgresql+{'psycopg' if remedied else 'pg8000'}"))
    with engine.connect() as connection:
        for number in range(6):
            connection.execute(sa.select(Author).where(Author.id == number))
            connection.execute(sa.select(Book))
    engine.dispose()


@scenario("sqlalchemy-cache-on-once", "prepared-once", "sqlalchemy")
@awaited
async def _(url: str, remedied: bool) -> None:
    off = {} if remedied else {"connect_args": {"prepared_statement_cache_size": 0}}
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"), **off)
    async with engine.connect() as connection:
        for number in range(12):
            await connection.execute(sa.select(Author).where(Author.id == number))
            await connection.execute(sa.select(Book))
    await engine.dispose()


@scenario("sqlalchemy-short-blocks", "idle-in-transaction", "sqlalchemy")
def _(url: str, remedied: bool) -> None:
    engine = _engine(url)
    with orm.Session(engine) as session:
        session.scalars(sa.select(Author)).all()
        if remedied:
            session.commit()
        time.sleep(1.1)
        session.scalars(sa.select(Author)).all()
    engine.dispose()


@scenario("sqlalchemy-larger-cache", "cache-thrash", "sqlalchemy")
@awaited
async def _(url: str, remedied: bool) -> None:
    size = {} if remedied else {"prepared_statement_cache_size": 4}
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"), connect_args=size)
    async with engine.connect() as connection:
        for number in range(5):
            for column in range(8):
                await connection.execute(sa.select(Author.id.label(f"n{column}")).where(Author.id == number))
    await engine.dispose()


@scenario("asyncpg-prefetch", "fetch-size", "asyncpg")
@awaited
async def _(url: str, remedied: bool) -> None:
    connection = await asyncpg.connect(url)
    async with connection.transaction():
        if not remedied:
            cursor = await connection.cursor("select generate_series(1, 50)")
            while await cursor.fetchrow():
                pass
        async for _row in connection.cursor("select generate_series(1, 100)", prefetch=50 if remedied else 1):
            pass
        cursor = await connection.cursor("select generate_series(1, 200)")
        while remedied and await cursor.fetch(100):
            pass
    await connection.close()


@scenario("psycopg-itersize", "fetch-size", "psycopg")
def _(url: str, remedied: bool) -> None:
    with psycopg.connect(url) as connection, connection.cursor("rows") as cursor:
        cursor.itersize = 100
        cursor.execute("select generate_series(1, %s)", (100,))
        while not remedied and cursor.fetchone():  # whatever itersize is
            pass
        for _row in cursor:
            pass
        cursor.execute("select generate_series(1, %s)", (200,))
        while remedied and cursor.fetchmany(100):
            pass


@scenario("psycopg2-itersize", "fetch-size", "psycopg2")
def _(url: str, remedied: bool) -> None:
    connection = psycopg2.connect(url)
    with connection.cursor() as first:
        for number in range(6):  # so that it is recognised
            first.execute("select %s", (number,))
    with connection.cursor("rows") as cursor:
        cursor.itersize = 2000
        cursor.execute("select generate_series(1, 100)")
        while not remedied and cursor.fetchone():  # whatever itersize is
            pass
        for _row in cursor:
            pass
    with connection.cursor("others") as cursor:
        cursor.execute("select generate_series(1, 200)")
        while remedied and cursor.fetchmany(2000):
            pass
    connection.close()


@scenario("psycopg-larger-cache", "cache-thrash", "psycopg")
def _(url: str, remedied: bool) -> None:
    with _autocommit(url, prepare_threshold=0) as connection:
        connection.prepared_max = 100 if remedied else 4
        for number in range(5):
            for column in range(8):
                connection.execute(f"select name as n{column} from item where id = %s", (number,))


IMPATIENT = {"idle_session_timeout": "200"}
ENDED = "select pg_terminate_backend(pid) from pg_stat_activity where query like '%doomed%' and pid <> pg_backend_pid()"
DOOMED = "select name as doomed from item where id = {}"


@scenario("asyncpg-idle-pool", "server-ended", "asyncpg")
@awaited
async def _(url: str, remedied: bool) -> None:
    async with asyncpg.create_pool(
        url, min_size=0 if remedied else 1, max_inactive_connection_lifetime=0.1, server_settings=IMPATIENT
    ) as pool:
        await pool.fetch(SELECT.format("$1"), 1)
        await asyncio.sleep(0.35)


@scenario("psycopg-idle-pool", "server-ended", "psycopg")
def _(url: str, remedied: bool) -> None:
    size, options = 0 if remedied else 1, "-c idle_session_timeout=500"
    with psycopg_pool.ConnectionPool(url, min_size=size, max_size=1, max_idle=0.1, kwargs={"autocommit": True, "options": options}) as pool:
        with pool.connection() as connection:
            connection.execute(SELECT.format("%s"), (1,))
        time.sleep(0.7)


@scenario("sqlalchemy-idle-pool", "server-ended", "sqlalchemy")
def _(url: str, remedied: bool) -> None:
    pool: dict[str, Any] = {"poolclass": NullPool} if remedied else {"pool_recycle": 0.1}
    engine = _engine(url, connect_args={"options": "-c idle_session_timeout=200"}, **pool)
    with engine.connect() as connection:
        connection.execute(sa.select(Author)).all()
    time.sleep(0.4)
    engine.dispose()


@scenario("asyncpg-ended-pool", "used-after-fatal", "asyncpg")
@awaited
async def _(url: str, remedied: bool) -> None:
    async with asyncpg.create_pool(url, min_size=1) as pool:
        one: Any = pool if remedied else await asyncpg.connect(url)
        await one.fetch(DOOMED.format("$1"), 1)
        with _autocommit(url) as other:
            other.execute(ENDED)
        if remedied:
            await asyncio.sleep(0.1)
        else:
            time.sleep(0.1)  # it looks at nothing meanwhile
        with contextlib.suppress(Exception) if not remedied else contextlib.nullcontext():
            await one.fetch(DOOMED.format("$1"), 2)


@scenario("psycopg-check", "used-after-fatal", "psycopg")
def _(url: str, remedied: bool) -> None:
    check = psycopg_pool.ConnectionPool.check_connection if remedied else None
    with psycopg_pool.ConnectionPool(url, min_size=1, check=check, kwargs={"autocommit": True}) as pool, _autocommit(url) as other:
        for _ in range(2):
            with contextlib.suppress(psycopg.Error) if not remedied else contextlib.nullcontext(), pool.connection() as connection:
                connection.execute(DOOMED.format("%s"), (1,))
            other.execute(ENDED)
            time.sleep(0.1)


@scenario("sqlalchemy-pre-ping", "used-after-fatal", "sqlalchemy")
def _(url: str, remedied: bool) -> None:
    """It is ended by hand, and by a time limit."""
    for settings in ({"pool_pre_ping": True}, {"pool_recycle": 0.1, "connect_args": {"options": "-c idle_session_timeout=200"}}):
        engine = _engine(url, **(settings if remedied else {}))
        for number in range(2):
            with contextlib.suppress(sa.exc.DBAPIError) if not remedied else contextlib.nullcontext(), engine.connect() as connection:
                connection.execute(sa.select(Author).where(Author.id == number)).all()
                process = connection.connection.dbapi_connection.info.backend_pid  # type: ignore[union-attr]
            if "connect_args" not in settings:
                with _autocommit(url) as other:
                    other.execute("select pg_terminate_backend(%s)", (process,))
            time.sleep(0.3)
        engine.dispose()


TYPES = "do $$ begin create type temper as enum ('glad'); exception when duplicate_object then null; end $$"


@scenario("asyncpg-known-types", "introspection", "asyncpg")
@awaited
async def _(url: str, remedied: bool) -> None:
    other = await asyncpg.connect(url)
    await other.execute(TYPES)
    await other.close()
    if remedied:
        async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool:
            for _ in range(4):
                await pool.fetch("select 'glad'::temper as now where 'glad'::temper = $1", "glad")
    for _ in range(4):
        connection = await asyncpg.connect(url)
        query = (
            "select ('glad'::temper)::text as now where 'glad'::temper = $1::text::temper" if remedied else "select 'glad'::temper as now"
        )
        await connection.fetch(query, *(["glad"] if remedied else []))
        await connection.close()


def _moods(connection: Any) -> Awaitable[None]:
    return connection.set_type_codec("temper", encoder=str, decoder=str)  # type: ignore[no-any-return]


def _documents(connection: Any) -> Awaitable[None]:
    return connection.set_type_codec("json", encoder=str, decoder=str, schema="pg_catalog")  # type: ignore[no-any-return]


async def _with_codec(url: str, codec: Callable[[Any], Awaitable[None]], queries: list[str], *, remedied: bool) -> None:
    """A pool whose connections have a codec, set once or at each acquire(); each use asks for something else as well."""
    when = {"init" if remedied else "setup": codec}
    async with asyncpg.create_pool(url, min_size=1, max_size=1, **when) as pool:
        for number in range(8):
            async with pool.acquire() as connection:
                for query in queries:
                    await connection.fetch(query, number)
                await connection.fetch(f"select {number} as number{number}")


@scenario("asyncpg-codec-once", "introspection", "asyncpg")
@awaited
async def _(url: str, remedied: bool) -> None:
    other = await asyncpg.connect(url)
    await other.execute(TYPES)
    await other.close()
    await _with_codec(url, _moods, [SELECT.format("$1")], remedied=remedied)


@scenario("asyncpg-codec-keeps", "prepared-once", "asyncpg")
@awaited
async def _(url: str, remedied: bool) -> None:
    await _with_codec(url, _documents, [SELECT.format("$1"), "select id from item where id = $1"], remedied=remedied)


@scenario("psycopg-known-types", "introspection", "psycopg")
def _(url: str, remedied: bool) -> None:
    """The types of an application, on each connection or once."""
    with _autocommit(url) as connection:
        connection.execute(TYPES)
        if remedied:
            found = TypeInfo.fetch(connection, "temper")
            assert found is not None
            found.register()
    for number in range(4):
        with _autocommit(url) as connection:
            if not remedied:
                found = TypeInfo.fetch(connection, "temper")
                assert found is not None
                found.register(connection)
            connection.execute("select 'glad'::temper as now where 1 = %s", (number,))


@scenario("sqlalchemy-known-types", "introspection", "sqlalchemy")
@awaited
async def _(url: str, remedied: bool) -> None:
    engine: Any = None
    for number in range(4):
        if engine is None:
            engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"))
        async with engine.connect() as connection:
            if not number:
                await connection.execute(sa.text(TYPES))
                await connection.commit()
            await connection.execute(sa.select(sa.literal_column("'glad'::temper"), Author.id).where(Author.id == number))
        if not remedied:
            await engine.dispose()
            engine = None
    if engine is not None:
        await engine.dispose()


SLOW = "select pg_sleep(0.4)"


@scenario("asyncpg-cancel", "driver-left", "asyncpg")
@awaited
async def _(url: str, remedied: bool) -> None:
    connection = await asyncpg.connect(url)
    if remedied:
        with contextlib.suppress(TimeoutError):
            await connection.fetch(SLOW, timeout=0.1)
    waiting = asyncio.ensure_future(connection.fetch(SLOW))
    await asyncio.sleep(0.1)
    if remedied:
        waiting.cancel()
    else:
        connection.terminate()
    with contextlib.suppress(asyncio.CancelledError, asyncpg.InterfaceError, asyncpg.PostgresError):
        await waiting
    await connection.close()


def _leaves(connection: Any, execute: Callable[[str], Any], leave: Callable[[], Any]) -> None:
    """Somebody leaves while a statement runs."""

    def run() -> None:
        with contextlib.suppress(Exception):
            execute(SLOW)

    running = threading.Thread(target=run)
    running.start()
    time.sleep(0.1)
    leave()
    running.join()
    with contextlib.suppress(Exception):
        connection.close()


def _hangs_up(connection: Any) -> None:
    """As if its process had ended."""
    with socket.socket(fileno=os.dup(connection.fileno())) as copy:
        copy.shutdown(socket.SHUT_RDWR)


@scenario("psycopg-cancel", "driver-left", "psycopg")
def _(url: str, remedied: bool) -> None:
    with _autocommit(url) as connection:
        connection.execute(SELECT.format("%s"), (1,))
        _leaves(connection, connection.execute, connection.cancel_safe if remedied else connection.close)


@scenario("psycopg2-cancel", "driver-left", "psycopg2")
def _(url: str, remedied: bool) -> None:
    with _psycopg2(url) as (connection, cursor):
        _known_psycopg2(cursor)
        _leaves(connection, cursor.execute, connection.cancel if remedied else lambda: _hangs_up(connection))


@scenario("pg8000-statement-timeout", "driver-left", "pg8000")
def _(url: str, remedied: bool) -> None:
    """Its own time limit closes the connection; the server's ends the statement."""
    settings = {"startup_params": {"statement_timeout": "100"}} if remedied else {}
    connection = pg8000.dbapi.connect(**_pg8000(url), timeout=0.2, **settings)
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(SELECT.format("%s"), (1,))
    with contextlib.suppress(pg8000.dbapi.DatabaseError, TimeoutError, pg8000.dbapi.InterfaceError):
        cursor.execute(SLOW)
    with contextlib.suppress(Exception):
        connection.close()


@scenario("sqlalchemy-statement-timeout", "driver-left", "sqlalchemy")
def _(url: str, remedied: bool) -> None:
    engine = _engine(url, connect_args={"options": "-c statement_timeout=100"} if remedied else {})
    with contextlib.suppress(sa.exc.DBAPIError), engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        _leaves(connection, lambda slow: connection.execute(sa.text(slow)), lambda: time.sleep(0.1) if remedied else raw.close())  # type: ignore[union-attr]
    engine.dispose()


@scenario("pg8000-unnamed-in-transaction", "pooler-26000", "pg8000", pooled=1)
def _(url: str, remedied: bool) -> None:
    """Somebody else's query comes between the round trips of one statement, sooner or later."""
    over = threading.Event()

    def others() -> None:
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
            while not over.is_set():
                connection.execute("select now()")

    busy = threading.Thread(target=others)
    busy.start()
    connection = pg8000.dbapi.connect(**_pg8000(url))
    connection.autocommit = not remedied
    try:
        with contextlib.suppress(pg8000.dbapi.DatabaseError) if not remedied else contextlib.nullcontext():
            for number in range(20 if remedied else 500):
                connection.cursor().execute(SELECT.format("%s"), (number,))
                if remedied:
                    connection.commit()
    finally:
        over.set()
        busy.join()
        connection.close()


def _native(url: str) -> Any:
    return contextlib.closing(pg8000.native.Connection(**_pg8000(url)))


@scenario("pg8000-prepares-nothing", "pooler-26000", "pg8000", pooled=2)
def _(url: str, remedied: bool) -> None:
    query = "select name from item where id = :id"
    with _native(url) as connection, _autocommit(url, prepare_threshold=None) as other:
        if remedied:
            connection.run("begin")
            connection.run(query, id=1)
            connection.run("commit")
        else:
            statement = connection.prepare(query)
            statement.run(id=1)
        with other.transaction():
            other.execute("select 1 as held")
            if remedied:
                connection.run("begin")
                connection.run(query, id=2)
                connection.run("commit")
            else:
                with contextlib.suppress(pg8000.native.DatabaseError):
                    statement.run(id=2)


@scenario("pg8000-prepares-nothing-42P05", "pooler-42P05", "pg8000", pooled=1)
def _(url: str, remedied: bool) -> None:
    query = "select name from item where id = :id"
    for _ in range(2):
        with _native(url) as connection, contextlib.suppress(pg8000.native.DatabaseError) if not remedied else contextlib.nullcontext():
            if remedied:
                connection.run("begin")
                connection.run(query, id=1)
                connection.run("commit")
            else:
                connection.prepare(query).run(id=1)


def _pooled_engine(url: str, *, cache: bool, **settings: Any) -> Any:
    size = {} if cache else {"statement_cache_size": 0}
    return create_async_engine(
        make_url(url).set(drivername="postgresql+asyncpg"), isolation_level="AUTOCOMMIT", connect_args=size | settings
    )


@scenario("sqlalchemy-cache-off", "pooler-26000", "sqlalchemy", pooled=2)
@awaited
async def _(url: str, remedied: bool) -> None:
    engine = _pooled_engine(url, cache=not remedied)
    query = sa.select(Author).where(Author.id == 1)
    async with engine.connect() as first, engine.connect() as second:
        for _ in range(2):
            await first.execute(query)
        await second.execute(sa.text("begin"))
        await second.execute(sa.text("select 1 as held"))
        with contextlib.suppress(sa.exc.DBAPIError) if not remedied else contextlib.nullcontext():
            await first.execute(query)
        await second.execute(sa.text("commit"))
    await engine.dispose()


@scenario("sqlalchemy-cache-off-42P05", "pooler-42P05", "sqlalchemy", pooled=1)
@awaited
async def _(url: str, remedied: bool) -> None:
    """Two processes, which come to the same name once they have been recognised."""
    for _ in range(2):
        names = itertools.chain(
            (f"__asyncpg_stmt_{time.time_ns() + number:x}__" for number in range(8)), (f"__asyncpg_stmt_{n:x}__" for n in range(9))
        )
        engine = _pooled_engine(url, cache=not remedied, **({} if remedied else {"prepared_statement_name_func": names.__next__}))
        with contextlib.suppress(sa.exc.DBAPIError) if not remedied else contextlib.nullcontext():
            async with engine.connect() as connection:
                for number in range(8):
                    await connection.execute(sa.select(Author.id.label(f"n{number}")).where(Author.id == 1))
        await engine.dispose()


@scenario("sqlalchemy-yield-per", "fetch-size", "sqlalchemy")
def _(url: str, remedied: bool) -> None:
    engine = _engine(url)
    with engine.connect() as connection:
        query = sa.select(sa.func.generate_series(1, 60), Author.id).where(Author.id == 1)
        for _row in connection.execution_options(yield_per=1000 if remedied else 1).execute(query):
            pass
    engine.dispose()


for _client, _old in (
    ("asyncpg", "asyncpg-cache-off"),
    ("psycopg", "psycopg-prepares-nothing"),
    ("sqlalchemy", "sqlalchemy-cache-off"),
):
    for _ending in ("", "-42P05"):
        _one = SCENARIOS[f"{_old}{_ending}"]
        SCENARIOS[f"{_client}-newer-pooler{_ending}"] = _one._replace(after=_one.before, newer=True)
