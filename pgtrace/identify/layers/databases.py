"""databases: SQLAlchemy's compiler with asyncpg's own pool, to which it returns the connection
after each query.

Together, on asyncpg's start-up packet:

- SQL laid out by SQLAlchemy's compiler (layers/sqlalchemy.py), but its parameters carry no type,
  `$1`: SQLAlchemy's own engine writes `$1::INTEGER`;
- the reset of asyncpg's pool, `SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL`:
  SQLAlchemy's engine has a pool of its own, without it. Outside a transaction it follows each
  query, so ten queries are 21 round trips.

execute_many sends one `BES` for each set of values. Sessions with only textual queries, inserts,
updates and deletes look like any program with asyncpg's pool, so no layer is reported. GINO and
asyncpgsa, which are no longer maintained, combine the same two.

Seen with databases 0.9, SQLAlchemy 2.1.9, asyncpg 0.32.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.drivers import asyncpg
from pgtrace.identify.drivers.client import Client
from pgtrace.identify.drivers.evidence import Evidence
from pgtrace.identify.layers import sqlalchemy
from pgtrace.identify.remedies import Remedy

NAME: Final = "databases"


def evidence(seen: Evidence) -> tuple[str, ...]:
    """The evidence for databases."""
    if not asyncpg.resets(seen) or not sqlalchemy.is_compiled(seen) or sqlalchemy.is_typed(seen):
        return ()
    return ("SQL laid out by SQLAlchemy's compiler, parameters without types", "the reset of asyncpg's pool, which is not SQLAlchemy's own")


REMEDIES: Final = {
    "n+1": (Remedy("WHERE column = ANY(:values) to read; one INSERT with several rows to write (execute_many() waits for each row)"),),
    "driver-overhead": (
        Remedy("`async with database.connection()` or database.transaction() around a unit of work, so that there is one reset"),
    ),
}
LAYER: Final = Client(NAME, evidence, REMEDIES)
