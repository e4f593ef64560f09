"""The work of `pgtrace demo pooler`: four clients at once on the two server connections of a
pooler in transaction mode.

Each client does what works there: queries without statements that outlive a transaction, a
transaction, an error.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from threading import Thread
from typing import Final

import asyncpg
import psycopg

from pgtrace.demo.workloads.common import Target

CLIENTS: Final = 4
TURNS: Final = 5
_SELECT: Final = "select name, price from item where id = "


def work_asyncpg(target: Target) -> None:
    """Do one round with asyncpg."""

    async def client(number: int) -> None:
        connection = await asyncpg.connect(
            host=target.host,
            port=target.port,
            user=target.user,
            password=target.password,
            database=target.database,
            ssl=False,
            statement_cache_size=0,
        )
        try:
            for turn in range(TURNS):
                await connection.fetch(f"{_SELECT}$1", 1 + number)
                async with connection.transaction():
                    await connection.execute("insert into sale values ($1, $2, $3)", 1 + turn, 1, "pooled")
                    await connection.fetchval("select count(*) from sale where item = $1", 1 + turn)
            with contextlib.suppress(asyncpg.DivisionByZeroError):
                await connection.fetchval("select 1 / ($1::int - $1::int)", number)
        finally:
            await connection.close()

    async def clients() -> None:
        await asyncio.gather(*map(client, range(CLIENTS)))

    asyncio.run(clients())


def work_psycopg(target: Target) -> None:
    """Do one round with psycopg."""
    failures: list[Exception] = []

    def client(number: int) -> None:
        with psycopg.connect(
            host=target.host,
            port=target.port,
            user=target.user,
            password=target.password,
            dbname=target.database,
            sslmode="disable",
            autocommit=True,
            prepare_threshold=None,
        ) as connection:
            for turn in range(TURNS):
                connection.execute(f"{_SELECT}%s", [1 + number]).fetchall()
                with connection.transaction():
                    connection.execute("insert into sale values (%s, %s, %s)", [1 + turn, 1, "pooled"])
                    connection.execute("select count(*) from sale where item = %s", [1 + turn]).fetchall()

    threads = [Thread(target=_noting(failures, client), args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for failure in failures:
        raise failure


def _noting(failures: list[Exception], work: Callable[[int], None]) -> Callable[[int], None]:
    def noted(number: int) -> None:
        try:
            work(number)
        except Exception as error:
            failures.append(error)

    return noted
