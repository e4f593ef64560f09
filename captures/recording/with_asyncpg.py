"""asyncpg. It has no pipeline of its own; its executemany is one."""

from __future__ import annotations

import asyncio
import datetime
import uuid
from collections.abc import Awaitable, Callable
from decimal import Decimal

import asyncpg

from captures.recording.scenarios import BATCH, CHANNEL, COPIED, TOO_LONG, Play, Target

Work = Callable[[asyncpg.Connection], Awaitable[object]]


def play(work: Work) -> Play:
    """The work over one connection."""

    async def main(target: Target) -> None:
        connection = await asyncpg.connect(target.url)
        try:
            await work(connection)
        finally:
            await connection.close()

    return lambda target: asyncio.run(main(target))


async def connect(connection: asyncpg.Connection) -> None:
    pass


async def one_query(connection: asyncpg.Connection) -> None:
    await connection.fetch("select id, name, price from item where id = $1", 7)


async def ten_queries(connection: asyncpg.Connection) -> None:
    for number in range(1, 11):
        await connection.fetchrow("select id, name, price from item where id = $1", number)


async def executemany(connection: asyncpg.Connection) -> None:
    rows = [(number, name, None if price is None else Decimal(price)) for number, name, price in BATCH]
    await connection.executemany("insert into item (id, name, price) values ($1, $2, $3)", rows)


async def types(connection: asyncpg.Connection) -> None:
    moment = datetime.datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=datetime.UTC)
    await connection.fetchrow(
        "select $1::int2, $2::int4, $3::int8, $4::bool, $5::float8, $6::numeric, $7::text, $8::bytea, $9::timestamptz, $10::date, "
            "$11::uuid, $12::int4[]",
        -2, 4, 2**40, True, 1.5, Decimal("12.340"), "naïve ✓", b"\x00\xff", moment, moment.date(), uuid.UUID(int=7), [1, None, 3],
    )  # fmt: skip


async def copy_in(connection: asyncpg.Connection) -> None:
    await connection.copy_records_to_table("item", records=COPIED, columns=["id", "name"])


async def copy_out(connection: asyncpg.Connection) -> None:
    received = bytearray()

    async def take(data: bytes) -> None:
        received.extend(data)

    await connection.copy_from_query("select id, name, price from item order by id", output=take)


async def notify(connection: asyncpg.Connection) -> None:
    heard = asyncio.Event()
    await connection.add_listener(CHANNEL, lambda *_: heard.set())
    await connection.execute(f"notify {CHANNEL}, 'hello'")
    await asyncio.wait_for(heard.wait(), 10)


async def failure(connection: asyncpg.Connection) -> None:
    try:
        async with connection.transaction():
            await connection.execute("update item set price = price + 1 where id = $1", 1)
            await connection.execute("insert into item (id, name) values ($1, $2)", 1, "twice")
    except asyncpg.UniqueViolationError:
        pass


async def cancel(connection: asyncpg.Connection) -> None:
    try:
        await connection.execute(TOO_LONG, timeout=0.2)
    except TimeoutError:
        pass
    await connection.fetchval("select 1")


async def _pool(target: Target) -> None:
    async with asyncpg.create_pool(target.url, min_size=1, max_size=1) as pool:
        for number in range(1, 4):
            async with pool.acquire() as connection:
                await connection.fetchval("select name from item where id = $1", number)


PLAYS = {
    "connect": play(connect),
    "one_query": play(one_query),
    "ten_queries": play(ten_queries),
    "executemany": play(executemany),
    "types": play(types),
    "copy_in": play(copy_in),
    "copy_out": play(copy_out),
    "notify": play(notify),
    "failure": play(failure),
    "cancel": play(cancel),
    "pool": lambda target: asyncio.run(_pool(target)),
}
