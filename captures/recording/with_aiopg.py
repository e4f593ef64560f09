"""aiopg over psycopg2: psycopg2's asynchronous connections, always in autocommit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiopg
import psycopg2.errors

from captures.recording.scenarios import Play, Target


async def connect(cursor: Any) -> None:
    pass


async def one_query(cursor: Any) -> None:
    await cursor.execute("select id, name, price from item where id = %s", (7,))
    await cursor.fetchall()


async def ten_queries(cursor: Any) -> None:
    for number in range(1, 11):
        await cursor.execute("select id, name, price from item where id = %s", (number,))
        await cursor.fetchone()


async def failure(cursor: Any) -> None:
    try:
        async with cursor.begin():
            await cursor.execute("update item set price = price + 1 where id = %s", (1,))
            await cursor.execute("insert into item (id, name) values (%s, %s)", (1, "twice"))
    except psycopg2.errors.UniqueViolation:
        pass


def _play(work: Callable[[Any], Awaitable[object]]) -> Play:
    async def main(target: Target) -> None:
        async with aiopg.connect(target.url) as connection, connection.cursor() as cursor:
            await work(cursor)

    return lambda target: asyncio.run(main(target))


async def _pool(target: Target) -> None:
    async with aiopg.create_pool(target.url, minsize=1, maxsize=1) as pool:
        for number in range(1, 4):
            async with pool.acquire() as connection, connection.cursor() as cursor:
                await cursor.execute("select name from item where id = %s", (number,))


PLAYS = {
    "psycopg2": {
        "connect": _play(connect),
        "one_query": _play(one_query),
        "ten_queries": _play(ten_queries),
        "failure": _play(failure),
        "pool": lambda target: asyncio.run(_pool(target)),
    }
}
