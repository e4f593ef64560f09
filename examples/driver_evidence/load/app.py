"""A FastAPI endpoint with one filtered SELECT, on a pool of 20 connections: one driver, one way."""

import os
import random
from contextlib import asynccontextmanager

from fastapi import FastAPI

VARIANT = os.environ["VARIANT"]
DSN = os.environ["DATABASE_URL"]
POOL = 20
USERS = 500_000
QUERY = "select id, name, email, created from evidence_user where active and id >= {} order by id limit 10"

if VARIANT.startswith("asyncpg"):
    import asyncpg

    @asynccontextmanager
    async def opened(app):
        async with asyncpg.create_pool(DSN, min_size=POOL, max_size=POOL) as app.state.pool:
            yield

    async def users(pool, first):
        async with pool.acquire() as connection:
            if VARIANT.endswith("transaction"):
                async with connection.transaction():
                    rows = await connection.fetch(QUERY.format("$1"), first)
            else:
                rows = await connection.fetch(QUERY.format("$1"), first)
        return [dict(row) for row in rows]

else:
    import psycopg_pool
    from psycopg.rows import dict_row

    @asynccontextmanager
    async def opened(app):
        settings = {"autocommit": VARIANT.endswith("autocommit")}
        async with psycopg_pool.AsyncConnectionPool(DSN, min_size=POOL, max_size=POOL, kwargs=settings, open=False) as app.state.pool:
            await app.state.pool.wait()
            yield

    async def users(pool, first):
        async with pool.connection() as connection, connection.cursor(row_factory=dict_row, binary="binary" in VARIANT) as cursor:
            await cursor.execute(QUERY.format("%s"), (first,))
            return await cursor.fetchall()


app = FastAPI(lifespan=opened)


@app.get("/users")
async def some_users():
    return await users(app.state.pool, random.randrange(USERS))
