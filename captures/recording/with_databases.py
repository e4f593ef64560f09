"""databases over asyncpg: queries of SQLAlchemy's Core, compiled by it, sent through asyncpg's pool, of one connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal

import asyncpg
import sqlalchemy as sa
from databases import Database

from captures.recording.scenarios import BATCH, Play, Target
from captures.recording.with_sqlalchemy import ITEM


async def connect(database: Database) -> None:
    async with database.connection():
        pass


async def one_query(database: Database) -> None:
    await database.fetch_all(sa.select(ITEM).where(ITEM.c.id == 7))


async def ten_queries(database: Database) -> None:
    for number in range(1, 11):
        await database.fetch_one(sa.select(ITEM).where(ITEM.c.id == number))


async def executemany(database: Database) -> None:
    rows = [{"id": number, "name": name, "price": None if price is None else Decimal(price)} for number, name, price in BATCH]
    await database.execute_many(sa.insert(ITEM), rows)


async def failure(database: Database) -> None:
    try:
        async with database.transaction():
            await database.execute(sa.update(ITEM).where(ITEM.c.id == 1).values(price=ITEM.c.price + 1))
            await database.execute(sa.insert(ITEM).values(id=1, name="twice"))
    except asyncpg.UniqueViolationError:
        pass


def _play(work: Callable[[Database], Awaitable[object]]) -> Play:
    async def main(target: Target) -> None:
        async with Database(target.url, min_size=1, max_size=1) as database:
            await work(database)

    return lambda target: asyncio.run(main(target))


PLAYS = {
    "asyncpg": {
        "connect": _play(connect),
        "one_query": _play(one_query),
        "ten_queries": _play(ten_queries),
        "executemany": _play(executemany),
        "failure": _play(failure),
    }
}
