"""Ten queries through what is built on a driver."""

import asyncio

from common import DSN, VARIANT, tell, url

QUERY = "select name from evidence_item where id = "


async def with_sqlalchemy(scheme):
    import sqlalchemy
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(url(scheme), pool_size=1)
    for _ in range(2 if VARIANT == "sqlalchemy-recycled" else 1):
        async with engine.connect() as connection:
            for number in range(1, 11):
                await connection.execute(sqlalchemy.text(f"{QUERY}:id"), {"id": number})
            if VARIANT == "sqlalchemy-commit":
                await connection.commit()
        if VARIANT == "sqlalchemy-recycled":
            await engine.dispose()
    await engine.dispose()
    tell()


def default_driver():
    """Which driver a plain postgresql:// means for an asynchronous engine."""
    from sqlalchemy.ext.asyncio import create_async_engine

    try:
        tell(default=create_async_engine(DSN).dialect.driver)
    except Exception as error:
        tell(default=type(error).__name__)


async def with_databases():
    import databases

    database = databases.Database(DSN)
    await database.connect()
    for number in range(1, 11):
        await database.fetch_one(f"{QUERY}:id", {"id": number})
    await database.disconnect()
    tell()


async def with_tortoise():
    from tortoise import Tortoise, connections

    await Tortoise.init(db_url=url("asyncpg"), modules={"models": ["__main__"]})
    connection = connections.get("default")
    for number in range(1, 11):
        await connection.execute_query(f"{QUERY}$1", [number])
    await connections.close_all()
    tell()


async def with_aiopg():
    import aiopg

    connection = await aiopg.connect(DSN)
    async with connection.cursor() as cursor:
        for number in range(1, 11):
            await cursor.execute(f"{QUERY}%s", (number,))
    await connection.close()
    tell()


def with_psycopg2():
    import psycopg2

    connection = psycopg2.connect(DSN)
    cursor = connection.cursor()
    for number in range(1, 11):
        cursor.execute(f"{QUERY}%s", (number,))
    connection.close()
    tell()


match VARIANT:
    case "sqlalchemy-psycopg":
        asyncio.run(with_sqlalchemy("postgresql+psycopg"))
    case "default":
        default_driver()
    case "databases":
        asyncio.run(with_databases())
    case "tortoise":
        asyncio.run(with_tortoise())
    case "aiopg":
        asyncio.run(with_aiopg())
    case "psycopg2":
        with_psycopg2()
    case _:
        asyncio.run(with_sqlalchemy("postgresql+asyncpg"))
