"""LISTEN on a pooled connection, and a notification from another one."""

import asyncio
import warnings

from common import DSN, VARIANT, tell

WAIT_S = 1.5


async def with_psycopg():
    import psycopg
    import psycopg_pool

    async with psycopg_pool.AsyncConnectionPool(
        DSN, min_size=1, max_size=1, kwargs={"autocommit": VARIANT == "psycopg-autocommit"}, open=False
    ) as pool:
        await pool.wait()
        delivered = 0
        async with pool.connection() as connection, await psycopg.AsyncConnection.connect(DSN, autocommit=True) as sender:
            await connection.execute("listen evidence")
            await sender.execute("notify evidence, 'hello'")
            async for _ in connection.notifies(timeout=WAIT_S, stop_after=1):
                delivered += 1
        tell(delivered=delivered)


async def with_asyncpg():
    import asyncpg

    pool = await asyncpg.create_pool(DSN, min_size=1, max_size=1)
    arrived = asyncio.Event()
    connection = await pool.acquire()
    await connection.add_listener("evidence", lambda *_: arrived.set())
    sender = await asyncpg.connect(DSN)
    await sender.execute("notify evidence, 'hello'")
    await asyncio.wait_for(arrived.wait(), WAIT_S)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        await pool.release(connection)
    await sender.close()
    async with pool.acquire() as again:
        usable = await again.fetchval("select 1")
    await pool.close()
    tell(delivered=1, returned=usable == 1, warnings=[str(one.message)[:80] for one in said])


asyncio.run(with_asyncpg() if VARIANT == "asyncpg" else with_psycopg())
