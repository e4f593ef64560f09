"""An enum, a composite and a range of the database's own, without any registration."""

import asyncio

from common import DSN, VARIANT, tell

SCHEMA = """
do $$ begin
    create type evidence_mood as enum ('sad', 'glad');
    create type evidence_pair as (number int4, word text);
    create type evidence_span as range (subtype = int4);
exception when duplicate_object then null; end $$
"""
QUERY = "select 'glad'::evidence_mood as mood, row(1, 'a')::evidence_pair as pair, '[1,5)'::evidence_span as span"


async def with_asyncpg():
    import asyncpg

    connection = await asyncpg.connect(DSN)
    await connection.execute(SCHEMA)
    row = await connection.fetchrow(QUERY)
    tell(**{name: type(value).__name__ for name, value in row.items()})
    await connection.close()


def with_psycopg():
    import psycopg

    with psycopg.connect(DSN, autocommit=True) as connection:
        connection.execute(SCHEMA)
        row = connection.execute(QUERY).fetchone()
        tell(**{name: type(value).__name__ for name, value in zip(("mood", "pair", "span"), row, strict=True)})


asyncio.run(with_asyncpg()) if VARIANT == "asyncpg" else with_psycopg()
