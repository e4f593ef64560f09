"""A pool that is opened and then used five times, one after the other."""

import asyncio

from common import DSN, VARIANT, tell


async def with_asyncpg():
    import asyncpg

    pool = await asyncpg.create_pool(DSN)  # all defaults
    opened = pool.get_size()
    for _ in range(0 if VARIANT == "asyncpg-opened" else 5):
        async with pool.acquire() as connection:
            await connection.fetchval("select 1")
    await pool.close()
    tell(opened=opened)


async def with_psycopg():
    import psycopg_pool

    pool = psycopg_pool.AsyncConnectionPool(DSN, min_size=4, open=False, kwargs={"autocommit": True})
    await pool.open()
    await pool.wait()
    opened = pool.get_stats()["pool_size"]
    for _ in range(5):
        async with pool.connection() as connection:
            await connection.execute("select 1")
    await pool.close()
    tell(opened=opened)


asyncio.run(with_asyncpg() if VARIANT.startswith("asyncpg") else with_psycopg())
