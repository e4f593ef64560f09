"""Tortoise ORM: PyPika's SQL, without a blank after a comma, and a connection from the pool for
each query.

Together:

- `SELECT "name","id" FROM "item" WHERE "id"=$1`, `INSERT INTO "item" ("id","name") VALUES ($1,$2)`,
  `UPDATE "item" SET "name"=$1 WHERE "id"=$2`;
- over asyncpg the reset of its pool, `SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET
  ALL`, after each query outside a transaction, so ten queries are 21 round trips; over psycopg an
  empty Query before each, the check of psycopg's pool.

The order of the columns changes from process to process. bulk_create is a transaction with the
driver's executemany. A program that uses PyPika with a driver's pool looks the same.

Seen with Tortoise ORM 1.1.9 over asyncpg 0.32 and psycopg 3.3.9.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace.identify.drivers import asyncpg
from pgtrace.identify.drivers.client import Client
from pgtrace.identify.drivers.evidence import Evidence, first
from pgtrace.identify.remedies import Remedy

NAME: Final = "tortoise"
_TIGHT: Final = re.compile(
    r'\A(?:SELECT "[^"]+"(?:,"[^"]+")*+ FROM "[^"]+" WHERE "[^"]+"=\$1'
    r'|SELECT "[^"]+"(?:,"[^"]+")++ FROM "'
    r'|INSERT INTO "[^"]+" \("[^"]+"(?:,"[^"]+")++\) VALUES \(\$1(?:,\$\d+)++\)'
    r'|UPDATE "[^"]+" SET "[^"]+"=\$1(?:,"[^"]+"=\$\d+)*+ WHERE "[^"]+"=\$)'
)


def evidence(seen: Evidence) -> tuple[str, ...]:
    """The evidence for Tortoise ORM."""
    if first(_TIGHT, seen.queries) is None:
        return ()
    if asyncpg.resets(seen):
        pool = "the reset of asyncpg's pool"
    elif "" in seen.queries and seen.is_libpq and seen.is_extended:
        pool = "an empty Query, the check of psycopg's pool"
    else:
        return ()
    return ('SQL as PyPika writes it: "id","name" and "id"=$1', pool)


REMEDIES: Final = {
    "n+1": (Remedy("prefetch_related() to read; bulk_create(), bulk_update() to write"),),
    "driver-overhead": (Remedy("in_transaction() around a unit of work, so that it takes one connection from the pool"),),
}
LAYER: Final = Client(NAME, evidence, REMEDIES)
