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


def with_psycopg2():
    import psycopg2

    connection = psycopg2.connect(os.environ["DATABASE_URL"])
    for number in range(3):
        with pgtrace.mark("unit"), connection.cursor() as cursor:
            cursor.execute("select %s", (f"unit {number}",))
            connection.commit()
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


{"asyncpg": lambda: asyncio.run(with_asyncpg()), "psycopg2": with_psycopg2, "file": by_file}[sys.argv[1]]()
