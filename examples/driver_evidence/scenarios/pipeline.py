"""Three queries that do not need each other's results."""

import asyncio

from common import DSN, VARIANT, tell

QUERY = "select name from evidence_item where id = "


async def with_psycopg():
    import psycopg_pool

    settings = {"autocommit": "autocommit" in VARIANT}
    async with psycopg_pool.AsyncConnectionPool(DSN, min_size=1, max_size=1, kwargs=settings, open=False) as pool:
        await pool.wait()
        async with pool.connection() as connection:
            if "pipeline" in VARIANT:
                async with connection.pipeline():
                    cursors = [await connection.execute(f"{QUERY}%s", (number,)) for number in (1, 2, 3)]
            else:
                cursors = [await connection.execute(f"{QUERY}%s", (number,)) for number in (1, 2, 3)]
            tell(names=[(await cursor.fetchone())[0] for cursor in cursors])


def with_sqlalchemy():
    import sqlalchemy
    from common import url

    engine = sqlalchemy.create_engine(url("postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        with driver.pipeline():
            cursors = [driver.execute(f"{QUERY}%s", (number,)) for number in (1, 2, 3)]
        tell(names=[cursor.fetchone()[0] for cursor in cursors])
    engine.dispose()


with_sqlalchemy() if VARIANT == "sqlalchemy" else asyncio.run(with_psycopg())
