"""A program that hands a connection on: `python handing_on.py WAY`.

In the ways of GOOD the transaction ends first, or the one that goes on has begun it, is below it or above it. In the ways of BAD
another goes on in it.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import asyncpg
import psycopg
import psycopg2


async def step(connection: asyncpg.Connection, number: int = 1) -> None:
    await connection.fetchval("select $1::int", number)


async def ended_first() -> None:
    async def unit(number: int) -> None:
        connection = await waiting.get()
        async with connection.transaction():
            await step(connection, number)
            await step(connection, number)
        waiting.put_nowait(connection)

    waiting: asyncio.Queue[asyncpg.Connection] = asyncio.Queue()
    waiting.put_nowait(await asyncpg.connect())
    await asyncio.gather(unit(1), unit(2), unit(3))


async def awaited() -> None:
    async def unit() -> None:
        connection = await asyncpg.connect()
        await asyncio.wait_for(connection.execute("begin"), 5)
        await asyncio.wait_for(step(connection), 5)
        await asyncio.shield(step(connection))
        await connection.execute("commit")

    await asyncio.create_task(unit())


async def below_and_above() -> None:
    async def unit() -> None:
        connection = await asyncpg.connect()
        await connection.execute("begin")
        await asyncio.create_task(step(connection))
        await asyncio.create_task(step(connection))
        await connection.execute("commit")
        await asyncio.create_task(connection.execute("begin"))
        await step(connection)
        await connection.execute("commit")

    await asyncio.create_task(unit())


async def rolled_back() -> None:
    async def begin() -> None:
        await connection.execute("begin")
        await step(connection)

    async def pool() -> None:
        await connection.execute("rollback")

    connection = await asyncpg.connect()
    await asyncio.create_task(begin())
    await asyncio.create_task(pool())


def run(connection: psycopg2.extensions.connection, number: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("select %s", (number,))


def executor() -> None:
    connection = psycopg2.connect("")
    with ThreadPoolExecutor(4) as threads:
        for number in range(4):
            threads.submit(run, connection, number).result()
    connection.commit()


def main_thread() -> None:
    connection = psycopg2.connect("")
    run(connection, 1)
    in_thread(connection, 2)
    connection.commit()


def in_thread(connection: psycopg2.extensions.connection, number: int) -> None:
    thread = threading.Thread(target=run, args=(connection, number))
    thread.start()
    thread.join()


async def asyncpg_tasks() -> None:
    async def leaves_it_open() -> None:
        connection = await waiting.get()
        await connection.execute("begin")
        await step(connection)
        waiting.put_nowait(connection)

    async def another() -> None:
        connection = await waiting.get()
        await step(connection, 2)
        await step(connection, 3)

    waiting: asyncio.Queue[asyncpg.Connection] = asyncio.Queue()
    waiting.put_nowait(await asyncpg.connect())
    await asyncio.create_task(leaves_it_open())
    await asyncio.create_task(another())


async def psycopg_tasks() -> None:
    async def asks(number: int) -> None:
        await connection.execute("select %s::int2", (number,))

    connection = await psycopg.AsyncConnection.connect()
    await asyncio.create_task(asks(1))
    await asyncio.create_task(asks(2))


def psycopg2_threads() -> None:
    connection = psycopg2.connect("")
    in_thread(connection, 1)
    in_thread(connection, 2)


if __name__ == "__main__":
    way = globals()[sys.argv[1]]
    if asyncio.iscoroutinefunction(way):
        asyncio.run(way())
    else:
        way()
