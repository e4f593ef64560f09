"""Values of many types, there and back: their formats on the wire, and the objects that arrive."""

import asyncio
import datetime
import decimal
import warnings

from common import DSN, VARIANT, tell

warnings.simplefilter("ignore")
COLUMNS = "7::int4 as number, now() as moment, '{\"a\": 1}'::jsonb as document, array[1,2] as list, 1.50::numeric as price"
PARAMETERS = (7, datetime.datetime.now(datetime.UTC), [1, 2], decimal.Decimal("1.5"), "text")


async def with_asyncpg():
    import asyncpg

    connection = await asyncpg.connect(DSN)
    if VARIANT == "asyncpg-codec":
        await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=str, decoder=str, format="text")
        await connection.fetchrow("select '{}'::jsonb as document")
    elif VARIANT == "asyncpg-execute":
        await connection.execute("select 1 as one, 'text' as two")
    else:
        row = await connection.fetchrow(f"select {COLUMNS}")
        await connection.fetchrow("select $1::int4, $2::timestamptz, $3::int4[], $4::numeric, $5::text", *PARAMETERS)
        tell(**{name: type(value).__name__ for name, value in row.items()})
    await connection.close()


def with_psycopg():
    import psycopg

    with psycopg.connect(DSN, autocommit=True) as connection:
        binary = VARIANT == "psycopg-binary"
        cursor = connection.cursor(binary=binary)
        row = cursor.execute(f"select {COLUMNS}").fetchone()
        names = [column.name for column in cursor.description]
        cursor.execute("select %s, %s, %s, %s, %s", PARAMETERS).fetchone()
        tell(**{name: type(value).__name__ for name, value in zip(names, row, strict=True)})


async def with_client_cursor():
    import psycopg

    connection = await psycopg.AsyncConnection.connect(DSN, autocommit=True, cursor_factory=psycopg.AsyncClientCursor)
    try:
        await (await connection.execute("select 7::int4", binary=True)).fetchone()
        refused = ""
    except psycopg.Error as error:
        refused = type(error).__name__
    await (await connection.execute("select %s::int4", (7,))).fetchone()
    await connection.close()
    tell(refused=refused)


if VARIANT.startswith("asyncpg"):
    asyncio.run(with_asyncpg())
elif VARIANT == "psycopg-client":
    asyncio.run(with_client_cursor())
else:
    with_psycopg()
