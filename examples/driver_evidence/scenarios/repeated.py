"""One query ten times, with the driver's settings for preparing."""

import asyncio

from common import DSN, VARIANT

QUERY = "select name from evidence_item where id = "


async def with_asyncpg(**settings):
    import asyncpg

    connection = await asyncpg.connect(DSN, **settings)
    for number in range(1, 11):
        await connection.fetchval(f"{QUERY}$1", number)
    await connection.close()


async def prepared_once():
    import asyncpg

    connection = await asyncpg.connect(DSN)
    await connection.fetchval("select 1")
    await connection.execute("select 2")
    await connection.close()


def with_psycopg(**settings):
    import psycopg

    with psycopg.connect(DSN, autocommit=True, **settings) as connection:
        for number in range(1, 11):
            connection.execute(f"{QUERY}%s", (number,)).fetchone()


match VARIANT:
    case "asyncpg":
        asyncio.run(with_asyncpg())
    case "asyncpg-uncached":
        asyncio.run(with_asyncpg(statement_cache_size=0))
    case "asyncpg-once":
        asyncio.run(prepared_once())
    case "psycopg":
        with_psycopg()
    case "psycopg-zero":
        with_psycopg(prepare_threshold=0)
    case "psycopg-none":
        with_psycopg(prepare_threshold=None)
