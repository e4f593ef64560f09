"""The demo's work with asyncpg: extended protocol throughout, binary, statements prepared under its
own names."""

from __future__ import annotations

import asyncio
import contextlib
import io

import asyncpg

from pgtrace.demo.workloads.common import BATCH, COPIED, NOTIFIED_WITHIN_S, POINTS, Target


def work(target: Target) -> None:
    """Do one round."""
    asyncio.run(_work(target))


async def _work(target: Target) -> None:
    connection = await asyncpg.connect(
        host=target.host,
        port=target.port,
        user=target.user,
        password=target.password,
        database=target.database,
        ssl="prefer",
        server_settings=target.settings,
    )
    try:
        for item in POINTS:
            await connection.fetch("select name, price from item where id = $1", item)
        async with connection.transaction():
            await connection.executemany("insert into sale values ($1, $2, $3)", BATCH)
        await connection.fetchrow("select count(*) from item where price > $1", 50)
        await connection.fetchrow("select tags, added from item where id = $1", 7)
        await connection.fetchrow("select exists (select from sale where item = $1)", 7)
        await connection.copy_records_to_table("sale", records=COPIED)
        await connection.copy_from_query("select id, name from item where id <= 50", output=io.BytesIO())
        await _notify(connection, target.channel)
        with contextlib.suppress(asyncpg.UniqueViolationError):
            await connection.execute("insert into item values ($1, 'twice', 1, '{}', now())", 1)
    finally:
        await connection.close()


async def _notify(connection: asyncpg.Connection, channel: str) -> None:
    arrived = asyncio.Event()

    def listener(*_: object) -> None:
        arrived.set()

    await connection.add_listener(channel, listener)
    await connection.execute("select pg_notify($1, $2)", channel, "hello")
    await asyncio.wait_for(arrived.wait(), NOTIFIED_WITHIN_S)
    await connection.remove_listener(channel, listener)
