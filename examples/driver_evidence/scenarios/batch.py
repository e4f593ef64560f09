"""Inserts of 200 rows: in a batch, one by one, and by COPY."""

import asyncio

import asyncpg
from common import DSN, VARIANT, tell

ROWS = [(number, f"row {number}") for number in range(200)]


async def main():
    connection = await asyncpg.connect(DSN)
    await connection.execute("create temp table evidence_batch (number int4, word text)")
    if VARIANT == "executemany":
        await connection.executemany("insert into evidence_batch values ($1, $2)", ROWS)
    elif VARIANT == "single":
        for row in ROWS:
            await connection.execute("insert into evidence_batch values ($1, $2)", *row)
    else:
        await connection.copy_records_to_table("evidence_batch", records=(row for row in ROWS))  # a generator
    stored = await connection.fetchval("select count(*) from evidence_batch")
    tell(stored=stored, pipeline=hasattr(connection, "pipeline"))
    await connection.close()


asyncio.run(main())
