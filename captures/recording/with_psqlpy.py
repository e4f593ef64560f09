"""psqlpy, Python's driver upon tokio-postgres, where it is installed (`pip install psqlpy`). It can
neither pipeline nor cancel, and does not COPY TO."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import uuid
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from captures.recording.scenarios import BATCH, CHANNEL, COPY_TEXT, Play, Target, Unavailable

try:
    import psqlpy
    from psqlpy.extra_types import BigInt, Float64, Integer, SmallInt
except ModuleNotFoundError as missing:
    raise Unavailable("psqlpy is not installed") from missing

Work = Callable[[Any], Awaitable[object]]
SELECT = "select id, name, price from item where id = $1"


def play(work: Work) -> Play:
    """The work over one connection."""

    async def main(target: Target) -> None:
        connection = await psqlpy.connect(dsn=target.url)
        await work(connection)
        connection.close()

    return lambda target: asyncio.run(main(target))


async def connect(connection: Any) -> None:
    pass


async def one_query(connection: Any) -> None:
    await connection.fetch(SELECT, [7])


async def ten_queries(connection: Any) -> None:
    for number in range(1, 11):
        await connection.fetch_row(SELECT, [number])


async def executemany(connection: Any) -> None:
    rows = [[number, name, None if price is None else Decimal(price)] for number, name, price in BATCH]
    await connection.execute_many("insert into item (id, name, price) values ($1, $2, $3)", rows)


async def types(connection: Any) -> None:
    moment = datetime.datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=datetime.UTC)
    await connection.fetch(
        "select $1::int2, $2::int4, $3::int8, $4::bool, $5::float8, $6::numeric, $7::text, $8::bytea, $9::timestamptz, $10::date, "
            "$11::uuid, $12::int4[]",
        [SmallInt(-2), Integer(4), BigInt(2**40), True, Float64(1.5), Decimal("12.340"), "naïve ✓", b"\x00\xff", moment, moment.date(),
         uuid.UUID(int=7), [1, 2, 3]],
    )  # fmt: skip


async def copy_in(connection: Any) -> None:
    await connection.binary_copy_to_table(source=_pgcopy(), table_name="item", columns=["id", "name"])


def _pgcopy() -> bytes:
    data = b"PGCOPY\n\xff\r\n\0" + bytes(8)
    for line in COPY_TEXT.splitlines():
        number, name = line.split("\t")
        data += b"\0\2" + bytes([0, 0, 0, 4]) + int(number).to_bytes(4) + len(name).to_bytes(4) + name.encode()
    return data + b"\xff\xff"


async def notify(target: Target) -> None:
    pool = psqlpy.ConnectionPool(dsn=target.url, max_db_pool_size=2)
    listener = pool.listener()
    heard = asyncio.Event()

    async def hear(connection: Any, payload: str, channel: str, process_id: int) -> None:
        heard.set()

    await listener.add_callback(channel=CHANNEL, callback=hear)
    await listener.startup()
    listener.listen()
    async with pool.acquire() as connection:
        while not heard.is_set():
            await connection.execute(f"notify {CHANNEL}, 'hello'")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(heard.wait(), 1)
    listener.abort_listen()
    pool.close()


async def failure(connection: Any) -> None:
    try:
        async with connection.transaction() as transaction:
            await transaction.execute("update item set price = price + 1 where id = $1", [1])
            await transaction.execute("insert into item (id, name) values ($1, $2)", [1, "twice"])
    except psqlpy.exceptions.BaseConnectionError:
        pass


async def pool(target: Target) -> None:
    connections = psqlpy.ConnectionPool(dsn=target.url, max_db_pool_size=2)
    for number in range(1, 4):
        async with connections.acquire() as connection:
            await connection.fetch_row("select name from item where id = $1", [number])
    connections.close()


PLAYS: dict[str, Play] = {
    "connect": play(connect),
    "one_query": play(one_query),
    "ten_queries": play(ten_queries),
    "executemany": play(executemany),
    "types": play(types),
    "copy_in": play(copy_in),
    "notify": lambda target: asyncio.run(notify(target)),
    "failure": play(failure),
    "pool": lambda target: asyncio.run(pool(target)),
}
