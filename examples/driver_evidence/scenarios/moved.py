"""A transaction that gets another server connection than the one that prepared its statement."""

import asyncio

import asyncpg
from common import DSN, tell


async def main():
    first = await asyncpg.connect(DSN)
    second = await asyncpg.connect(DSN)
    found = []
    await first.fetchval("select name from evidence_item where id = $1", 1)
    # the other client takes the server connection that the first one used, and keeps it
    held = second.transaction()
    await held.start()
    await second.execute("select 1")
    try:
        async with first.transaction():
            await first.fetchval("select name from evidence_item where id = $1", 2)
    except asyncpg.PostgresError as error:
        found.append([type(error).__name__, error.sqlstate])
    await held.rollback()
    first.terminate()
    second.terminate()
    tell(errors=[name for name, _ in found], sqlstates=[state for _, state in found])


asyncio.run(main())
