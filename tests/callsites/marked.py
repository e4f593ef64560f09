"""A program that marks what it does. It runs behind a recorder, and imports pgtrace as a user's would."""

import asyncio
import os
import sys
import time

import pgtrace

TASKS = 20


async def with_asyncpg():
    import asyncpg

    pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=3, max_size=3)

    async def unit(number):
        with pgtrace.mark("unit"), pgtrace.mark(f"unit {number}"):
            async with pool.acquire() as connection:
                await connection.fetchval(f"select 'unit {number}'")
                await asyncio.sleep(0.001)
            await asyncio.gather(*(pool.fetchval(f"select 'unit {number}', {part}") for part in range(2)))

    await asyncio.gather(*map(unit, range(TASKS)))
    await pool.fetchval("select 'outside'")
    await pool.close()


async def with_a_full_cache():
    import asyncpg

    connection = await asyncpg.connect(os.environ["DATABASE_URL"], statement_cache_size=1)
    for number in range(3):
        with pgtrace.mark("unit"):
            await connection.fetchval("select $1::text", "unit")
            await connection.fetchval("select $1::int", number)
    await connection.fetchval("select 'outside'")
    await connection.close()


def closing_with_psycopg():
    import psycopg

    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True, prepare_threshold=0) as connection:
        connection.prepared_max = 1
        for number in range(3):
            with pgtrace.mark("unit"):
                connection.execute("select %s::text", ("unit",))
                connection.execute("select %s::int", (number,))
        connection.execute("select %s::bigint", (1,))


def closing_with_pg8000():
    import urllib.parse

    import pg8000.native

    url = urllib.parse.urlparse(os.environ["DATABASE_URL"])
    connection = pg8000.native.Connection(url.username, url.hostname, url.path[1:], url.port, url.password)
    for _ in range(5):
        with pgtrace.mark("unit"):
            connection.prepare("select 1").close()
    connection.prepare("select 1").close()
    connection.close()


def with_psycopg2():
    import psycopg2

    connection = psycopg2.connect(os.environ["DATABASE_URL"])
    for number in range(3):
        with pgtrace.mark("unit"), connection.cursor() as cursor:
            cursor.execute("select %s", (f"unit {number}",))
            connection.commit()
    connection.close()


def with_named_cursors():
    import psycopg2
    import psycopg2.extras

    connection = psycopg2.connect(os.environ["DATABASE_URL"])
    outside = connection.cursor("outside")
    outside.execute("select generate_series(1, 9)")
    for factory in (None, psycopg2.extras.DictCursor):
        with pgtrace.mark("unit"), connection.cursor("in a unit", cursor_factory=factory) as cursor:
            cursor.itersize = 4
            cursor.execute("select generate_series(1, 20)")
            assert cursor.fetchone()[0] == 1
            assert len(cursor.fetchmany(3)) == 3
            cursor.scroll(1)
            assert [row[0] for _, row in zip(range(6), cursor, strict=False)] == [6, 7, 8, 9, 10, 11]  # two FETCHes of 4
            assert len(cursor.fetchall()) == 7
    assert len(outside.fetchall()) == 9
    outside.close()
    connection.close()


def by_file():
    import psycopg

    path = os.environ["PGTRACE_MARK_FILE"]

    def mark(what, name):
        with open(path, "a") as file:
            file.write(f"{time.monotonic_ns()} {what} {name}\n")

    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        for number in range(3):
            mark("begin", "a unit")
            connection.execute(f"select {number}")
            mark("end", "a unit")
            connection.execute("select 'outside'")


WAYS = {
    "asyncpg": lambda: asyncio.run(with_asyncpg()),
    "closing asyncpg": lambda: asyncio.run(with_a_full_cache()),
    "closing psycopg": closing_with_psycopg,
    "closing pg8000": closing_with_pg8000,
    "psycopg2": with_psycopg2,
    "named cursors": with_named_cursors,
    "file": by_file,
}
WAYS[sys.argv[1]]()
