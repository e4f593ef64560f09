"""A small program to look at: five lookups, an insert and a transaction, with asyncpg if it is
installed, otherwise with psycopg.

    pgtrace run -- python examples/count_round_trips.py

It does not know pgtrace. It connects to DATABASE_URL if that is set, otherwise to the server of
libpq's variables (PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE), makes a temporary table, and
leaves nothing behind. `--driver psycopg` picks the other driver; the summary then shows what that
changes.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os

ITEMS = [(1, "tea"), (2, "rice"), (3, "salt"), (4, "soap"), (5, "rope")]
TABLE = "create temporary table item (id int primary key, name text not null)"


async def with_asyncpg(url: str | None) -> list[str]:
    """The work with asyncpg."""
    import asyncpg

    connection = await asyncpg.connect(url)
    try:
        await connection.execute(TABLE)
        await connection.executemany("insert into item values ($1, $2)", ITEMS)
        names = [await connection.fetchval("select name from item where id = $1", number) for number, _ in ITEMS]
        async with connection.transaction():
            await connection.execute("update item set name = upper(name) where id = $1", 1)
    finally:
        await connection.close()
    return names


def with_psycopg(url: str | None) -> list[str]:
    """The same with psycopg 3."""
    import psycopg

    with psycopg.connect(url or "", autocommit=True) as connection:
        connection.execute(TABLE)
        with connection.cursor() as cursor:
            cursor.executemany("insert into item values (%s, %s)", ITEMS)
            names = [cursor.execute("select name from item where id = %s", (number,)).fetchone()[0] for number, _ in ITEMS]
        with connection.transaction():
            connection.execute("update item set name = upper(name) where id = %s", (1,))
    return names


def main() -> None:
    """Do the work and print one line."""
    parser = argparse.ArgumentParser(description="A few queries to trace.")
    parser.add_argument("--driver", choices=["asyncpg", "psycopg"])
    installed = [name for name in ("asyncpg", "psycopg") if importlib.util.find_spec(name)]
    driver = parser.parse_args().driver or next(iter(installed), None)
    if driver not in installed:
        parser.error(f"install {driver or 'asyncpg or psycopg'} first")
    url = os.environ.get("DATABASE_URL")
    names = asyncio.run(with_asyncpg(url)) if driver == "asyncpg" else with_psycopg(url)
    print(f"{driver} read {len(names)} items: {', '.join(names)}")


if __name__ == "__main__":
    main()
