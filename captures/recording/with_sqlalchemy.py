"""SQLAlchemy Core over each of its drivers: an engine with a pool of one connection, the same work for all of them.

The work is written once, for the synchronous connection; over asyncpg an async engine runs it (run_sync), as SQLAlchemy does itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from captures.recording.scenarios import BATCH, Play, Target

ITEM = sa.Table(
    "item",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("price", sa.Numeric(10, 2)),
)
Work = Callable[[sa.Connection], object]


def connect(connection: sa.Connection) -> None:
    pass


def one_query(connection: sa.Connection) -> None:
    connection.execute(sa.select(ITEM).where(ITEM.c.id == 7)).all()


def ten_queries(connection: sa.Connection) -> None:
    for number in range(1, 11):
        connection.execute(sa.select(ITEM).where(ITEM.c.id == number)).one()


def executemany(connection: sa.Connection) -> None:
    rows = [{"id": number, "name": name, "price": None if price is None else Decimal(price)} for number, name, price in BATCH]
    connection.execute(sa.insert(ITEM), rows)
    connection.commit()


def failure(connection: sa.Connection) -> None:
    try:
        with connection.begin():
            connection.execute(sa.update(ITEM).where(ITEM.c.id == 1).values(price=ITEM.c.price + 1))
            connection.execute(sa.insert(ITEM).values(id=1, name="twice"))
    except sa.exc.IntegrityError:
        pass


def taken(connection: sa.Connection) -> None:
    connection.execute(sa.select(ITEM.c.name).where(ITEM.c.id == 1)).one()


WORKS: dict[str, tuple[Work, ...]] = {
    "connect": (connect,),
    "one_query": (one_query,),
    "ten_queries": (ten_queries,),
    "executemany": (executemany,),
    "failure": (failure,),
    "pool": (taken, taken, taken),
}
"""Scenario: what is done with the connection, each time that it is taken from the pool."""


def _play(driver: str, works: tuple[Work, ...]) -> Play:
    def main(target: Target) -> None:
        engine = sa.create_engine(_url(driver, target), pool_size=1)
        for work in works:
            with engine.connect() as connection:
                work(connection)
        engine.dispose()

    return main


def _play_async(driver: str, works: tuple[Work, ...]) -> Play:
    async def main(target: Target) -> None:
        engine = create_async_engine(_url(driver, target), pool_size=1)
        for work in works:
            async with engine.connect() as connection:
                await connection.run_sync(work)
        await engine.dispose()

    return lambda target: asyncio.run(main(target))


def _url(driver: str, target: Target) -> str:
    return target.url.replace("postgresql:", f"postgresql+{driver}:")


PLAYS = {"asyncpg": {scenario: _play_async("asyncpg", works) for scenario, works in WORKS.items()}} | {
    driver: {scenario: _play(driver, works) for scenario, works in WORKS.items()} for driver in ("psycopg", "psycopg2", "pg8000")
}
