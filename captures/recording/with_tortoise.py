"""Tortoise ORM over asyncpg and psycopg, each with the driver's own pool, of one connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal

from tortoise import Tortoise, fields
from tortoise.backends.base.executor import EXECUTOR_CACHE
from tortoise.exceptions import IntegrityError
from tortoise.models import Model
from tortoise.transactions import in_transaction

from captures.recording.scenarios import BATCH, Play, Target


class Item(Model):
    """The table that is there already."""

    id = fields.IntField(primary_key=True, generated=False)
    name = fields.TextField()
    price = fields.DecimalField(max_digits=10, decimal_places=2, null=True)

    class Meta:
        table = "item"


async def connect() -> None:
    from tortoise import connections

    async with connections.get("default").acquire_connection():
        pass


async def one_query() -> None:
    await Item.filter(id=7)


async def ten_queries() -> None:
    for number in range(1, 11):
        await Item.get(id=number)


async def executemany() -> None:
    await Item.bulk_create([Item(id=number, name=name, price=None if price is None else Decimal(price)) for number, name, price in BATCH])


async def failure() -> None:
    try:
        async with in_transaction():
            row = await Item.get(id=1)
            row.price += 1
            await row.save()
            await Item.create(id=1, name="twice")
    except IntegrityError:
        pass


WORKS: dict[str, Callable[[], Awaitable[object]]] = {
    "connect": connect, "one_query": one_query, "ten_queries": ten_queries, "executemany": executemany, "failure": failure,
}  # fmt: skip


def _play(driver: str, work: Callable[[], Awaitable[object]]) -> Play:
    async def main(target: Target) -> None:
        # it keeps the SQL of a model as long as the process, with the placeholders of the driver that came first
        EXECUTOR_CACHE.clear()
        url = target.url.replace("postgresql:", f"{driver}:") + "?minsize=1&maxsize=1"
        await Tortoise.init(db_url=url, modules={"models": [__name__]})
        try:
            await work()
        finally:
            await Tortoise.close_connections()

    return lambda target: asyncio.run(main(target))


PLAYS = {driver: {scenario: _play(driver, work) for scenario, work in WORKS.items()} for driver in ("asyncpg", "psycopg")}
