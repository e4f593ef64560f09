"""A program whose statements say on which line they are: `here()` is the line that calls it.

`python program.py SHAPE` runs one shape of it against PGHOST and PGPORT. Each statement holds `line <N>` in its text,
so that what was noted for the text can be compared with the line.
"""

from __future__ import annotations

import asyncio
import io
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

ROUNDS = int(os.environ.get("ROUNDS", "3"))


def here(text: str = "select {}") -> str:
    return text.format(f"'line {sys._getframe(1).f_lineno}'")


def repeat(work: Callable[[], object]) -> None:
    for _ in range(ROUNDS):
        work()


# asyncpg


async def with_asyncpg() -> None:
    import asyncpg

    connection = await asyncpg.connect()
    for _ in range(ROUNDS):
        await connection.execute(here())
        await connection.fetchval(here("select {}, $1::int"), 1)
        await connection.executemany(here("select {}, $1::int"), [(1,), (2,), (3,)])
        await (await connection.prepare(here("select {}, $1::int8"))).fetch(1)
        async with connection.transaction():
            async for _row in connection.cursor(here("select {}, generate_series(1, 20)"), prefetch=5):
                pass
    try:
        await connection.fetch(here("select {} from nowhere"))
    except asyncpg.UndefinedTableError:
        pass
    await connection.close()


async def with_asyncpg_pool() -> None:
    import asyncpg

    async def one(pool):
        async with pool.acquire() as connection:
            await connection.fetchval(here())
            await deeper(connection)

    async def deeper(connection):
        return await connection.fetchval(here("select {}, 2"))

    async with asyncpg.create_pool(min_size=2, max_size=4) as pool:
        for _ in range(ROUNDS):
            await asyncio.gather(*(pool.fetchval(here()) for _ in range(6)))
            await asyncio.gather(one(pool), one(pool), pool.fetch(here("select {}, 3")))
            await asyncio.wait_for(pool.fetchval(here("select {}, 4")), 10)
            await asyncio.shield(pool.execute(here("select {}, 5")))
            async with asyncio.TaskGroup() as group:
                group.create_task(pool.fetchrow(here("select {}, 6")))
                group.create_task(one(pool))
            await asyncio.create_task(pool.fetchval(here("select {}, 7")))


# psycopg


def with_psycopg() -> None:
    import psycopg

    with psycopg.connect(autocommit=True) as connection:
        for _ in range(2 * ROUNDS):
            connection.execute(here())
            connection.execute(here("select {}, %s"), (1,))
            for _again in range(3):
                connection.execute(here("select {}, %s::int"), (1,), prepare=True)
            connection.cursor().executemany(here("select {}, %s"), [(1,), (2,), (3,)])
            with connection.pipeline():
                connection.execute(here("select {}, %s, 1"), (1,))
                connection.execute(here("select {}, %s, 2"), (1,))
            with connection.transaction(), connection.cursor("c") as cursor:
                cursor.execute(here("select {}, generate_series(1, 5)"))
                cursor.fetchall()
            with connection.cursor().copy(here("copy (select {}) to stdout")) as copy:
                list(copy)
            list(connection.cursor().stream(here("select {}, generate_series(1, 5)")))
            psycopg.ClientCursor(connection).execute(here("select {}, %s"), ("x",))


async def with_psycopg_async() -> None:
    import psycopg

    async def one() -> None:
        async with await psycopg.AsyncConnection.connect(autocommit=True) as connection:
            for _ in range(ROUNDS):
                await connection.execute(here("select {}, %s"), (1,))
                cursor = connection.cursor()
                await cursor.executemany(here("select {}, %s"), [(1,), (2,)])
                await asyncio.create_task(connection.execute(here("select {}, 3")))
                async with connection.pipeline():
                    await connection.execute(here("select {}, %s, 1"), (1,))

    await asyncio.gather(one(), one())


# psycopg2, pg8000


def with_psycopg2() -> None:
    import psycopg2.extras

    connection = psycopg2.connect("")
    for _ in range(ROUNDS):
        cursor = connection.cursor()
        cursor.execute(here())
        cursor.execute(here("select {}, %s"), (1,))
        cursor.executemany(here("select {}, %s"), [(1,), (2,)])
        cursor.copy_expert(here("copy (select {}) to stdout"), io.StringIO())
        with connection.cursor(cursor_factory=psycopg2.extras.DictCursor) as other:
            other.execute(here("select {} as x, %(y)s"), {"y": 1})
        with connection.cursor("named") as named:
            named.execute(here("select {}, generate_series(1, 3)"))
            named.fetchall()
        connection.commit()


def with_pg8000() -> None:
    import pg8000.dbapi

    environment = os.environ
    connection = pg8000.dbapi.connect(
        user=environment["PGUSER"],
        password=environment.get("PGPASSWORD"),
        host=environment["PGHOST"],
        port=int(environment["PGPORT"]),
        database=environment["PGDATABASE"],
    )
    for _ in range(ROUNDS):
        cursor = connection.cursor()
        cursor.execute(here())
        cursor.execute(here("select {}, %s"), (1,))
        cursor.executemany(here("select {}, %s"), [(1,), (2,)])
        connection.commit()


def with_threads() -> None:
    import psycopg
    import psycopg_pool

    def one() -> None:
        with pool.connection() as connection:
            connection.execute(here())
            two(connection)

    def two(connection: psycopg.Connection) -> None:
        connection.execute(here("select {}, 2"))

    with psycopg_pool.ConnectionPool("", min_size=2, max_size=4) as pool:
        with ThreadPoolExecutor(6) as executor:
            for future in [executor.submit(one) for _ in range(6 * ROUNDS)]:
                future.result()
        thread = threading.Thread(target=one)
        thread.start()
        thread.join()


# SQLAlchemy


def with_sqlalchemy() -> None:
    import sqlalchemy as sa
    from sqlalchemy.orm import Session

    engine = sa.create_engine("postgresql+psycopg://")
    with engine.connect() as connection:
        for _ in range(ROUNDS):
            connection.execute(sa.text(here()))
            connection.execute(sa.select(sa.literal_column(here("{}"))))
    with Session(engine) as session:
        for _ in range(ROUNDS):
            session.scalars(sa.select(sa.literal_column(here("{}, 2")))).all()
    engine.dispose()


async def with_sqlalchemy_async() -> None:
    import sqlalchemy as sa
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

    environment = os.environ
    url = sa.URL.create(
        "postgresql+asyncpg",
        environment["PGUSER"],
        environment.get("PGPASSWORD"),
        environment["PGHOST"],
        int(environment["PGPORT"]),
        environment["PGDATABASE"],
    )
    engine = create_async_engine(url)

    def synchronous(session) -> None:
        session.execute(sa.text(here()))
        lower(session)

    def lower(session) -> None:
        session.execute(sa.text(here("select {}, 2")))

    async def one() -> None:
        async with AsyncSession(engine) as session:
            for _ in range(ROUNDS):
                await session.execute(sa.text(here("select {}, 3")))
                await session.run_sync(synchronous)

    await asyncio.gather(one(), one())
    async with engine.connect() as connection:
        await connection.execute(sa.text(here("select {}, 4")))
    await engine.dispose()


# Django, Tortoise


def _django() -> type:
    import django
    from django.conf import settings
    from django.db import models

    environment = os.environ
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": environment["PGDATABASE"],
        "USER": environment["PGUSER"],
        "PASSWORD": environment.get("PGPASSWORD", ""),
        "HOST": environment["PGHOST"],
        "PORT": environment["PGPORT"],
    }
    settings.configure(DATABASES={"default": database}, INSTALLED_APPS=[], DEFAULT_AUTO_FIELD="django.db.models.AutoField")
    django.setup()

    class Database(models.Model):
        oid = models.IntegerField(primary_key=True)

        class Meta:
            app_label = "shop"
            db_table = "pg_database"
            managed = False

    return Database


def with_django() -> None:
    model = _django()
    from django.db import connection, transaction
    from django.db.models.expressions import RawSQL

    def below() -> None:
        with connection.cursor() as cursor:
            cursor.execute(here("select {}, 2"))

    for _ in range(2 * ROUNDS):
        with connection.cursor() as cursor:
            cursor.execute(here())
        with transaction.atomic():
            below()
            list(model.objects.annotate(said=RawSQL(here("{}"), ())).values_list("said")[:1])
        model.objects.annotate(said=RawSQL(here("{}"), ())).values_list("said").first()
    connection.close()


async def with_django_async() -> None:
    model = _django()
    from asgiref.sync import sync_to_async
    from django.db import connection
    from django.db.models.expressions import RawSQL

    def below() -> None:
        with connection.cursor() as cursor:
            cursor.execute(here())

    async def one() -> None:
        for _ in range(2 * ROUNDS):
            await sync_to_async(below)()
            await model.objects.annotate(said=RawSQL(here("{}"), ())).values_list("said").afirst()

    await asyncio.gather(one(), one())
    await sync_to_async(lambda: connection.close())()


async def with_tortoise() -> None:
    from tortoise import Tortoise

    environment = os.environ
    host, port = environment["PGHOST"], environment["PGPORT"]
    url = f"asyncpg://{environment['PGUSER']}:{environment.get('PGPASSWORD', '')}@{host}:{port}/{environment['PGDATABASE']}"
    await Tortoise.init(db_url=url, modules={"models": ["__main__"]})
    from tortoise.connection import connections

    async def one() -> None:
        client = connections.get("default")
        for _ in range(2 * ROUNDS):
            await client.execute_query(here())
            await client.execute_query_dict(here("select {} as said"))
            async with client._in_transaction() as inside:
                await inside.execute_query(here("select {}, 2"))

    await asyncio.gather(one(), one())
    await connections.close_all()


# Processes


def with_fork() -> None:
    import multiprocessing

    with_psycopg2()
    processes = [multiprocessing.get_context(how).Process(target=with_psycopg2) for how in ("fork", "spawn", "forkserver")]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def main(shape: str) -> None:
    if shape.startswith("uvloop "):
        import uvloop

        uvloop.run(globals()[f"with_{shape.split()[1]}"]())
        return
    run = globals()[f"with_{shape}"]
    if asyncio.iscoroutinefunction(run):
        asyncio.run(run())
    else:
        run()


if __name__ == "__main__":
    main(sys.argv[1])
