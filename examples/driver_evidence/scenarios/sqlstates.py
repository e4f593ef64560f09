"""A unique violation, and how a program learns what it was."""

import asyncio

from common import DSN, VARIANT, tell

INSERT = "insert into evidence_item values (1, 'twice')"


async def with_asyncpg():
    import asyncpg

    connection = await asyncpg.connect(DSN)
    try:
        await connection.execute(INSERT)
    except asyncpg.UniqueViolationError as error:
        tell(sqlstate=error.sqlstate, detail=bool(error.detail))
    await connection.close()


def with_psycopg():
    import psycopg

    with psycopg.connect(DSN, autocommit=True) as connection:
        try:
            connection.execute(INSERT)
        except psycopg.errors.UniqueViolation as error:
            tell(
                sqlstate=error.sqlstate,
                lookup=psycopg.errors.lookup("23505") is psycopg.errors.UniqueViolation,
                diag_sqlstate=error.diag.sqlstate,
                diag_detail=hasattr(error.diag, "detail"),
                diag_message_detail=bool(error.diag.message_detail),
            )


asyncio.run(with_asyncpg()) if VARIANT == "asyncpg" else with_psycopg()
