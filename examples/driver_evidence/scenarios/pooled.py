"""Two processes behind a pooler in transaction mode, that use the same statements in turn."""

import asyncio
import multiprocessing
import os
import sys

from common import DSN, VARIANT, tell

QUERY = "select name from evidence_item where id = "


async def with_asyncpg(turn, done, settings):
    import asyncpg

    connection = await asyncpg.connect(DSN, **settings)
    found = []
    for number in range(3):
        turn.wait()
        try:
            await connection.fetchval(f"{QUERY}$1", 1 + number)
        except asyncpg.PostgresError as error:
            found.append([type(error).__name__, error.sqlstate])
        done.wait()
    try:
        await asyncio.wait_for(connection.close(), 5)
    except (asyncpg.PostgresError, TimeoutError):
        connection.terminate()
    return found


def with_psycopg(turn, done, settings):
    import psycopg

    found = []
    with psycopg.connect(DSN, autocommit=True, **settings) as connection:
        for number in range(8):
            turn.wait()
            try:
                connection.execute(f"{QUERY}%s", (1 + number,)).fetchone()
            except psycopg.Error as error:
                found.append([type(error).__name__, error.sqlstate])
            done.wait()
    return found


def work(turn, done, results):
    name, _, settings = VARIANT.partition("-")
    if name == "asyncpg":
        found = asyncio.run(with_asyncpg(turn, done, {"statement_cache_size": 0} if settings == "uncached" else {}))
    else:
        thresholds = {"zero": 0, "none": None}
        found = with_psycopg(turn, done, {"prepare_threshold": thresholds[settings]} if settings in thresholds else {})
    results.put(found)


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    together = [context.Barrier(2), context.Barrier(2)]
    results = context.SimpleQueue()
    processes = [context.Process(target=work, args=(*together, results)) for _ in range(2)]
    for one in processes:
        one.start()
    errors = [error for _ in processes for error in results.get()]
    for one in processes:
        one.join()
    tell(errors=sorted({name for name, _ in errors}), sqlstates=sorted({state for _, state in errors}), times=len(errors))
    sys.stdout.flush()
    os._exit(0)
