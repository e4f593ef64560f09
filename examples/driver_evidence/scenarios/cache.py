"""150 different queries on one connection: how many stay prepared."""

import asyncio

import asyncpg
from common import DSN


async def main():
    connection = await asyncpg.connect(DSN)
    for number in range(150):
        await connection.fetchval(f"select 1 as column_{number}")
    await connection.close()


asyncio.run(main())
