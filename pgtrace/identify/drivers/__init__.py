"""Which client library is at the other end, identified from evidence on the wire.

There is one module for each driver. It has its habits in the header, `evidence(seen)` with the
sentences of evidence (empty if there is none), its remedies for findings, and DRIVER, which holds
all of that. The list below is the order in which they are asked; a driver's module comes before
those that could mistake it. A new driver is a module and a line here. A pooler, seen from the
server's side, is in POOLERS.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.drivers import (
    asyncpg,
    node_postgres,
    pdo_pgsql,
    pg8000,
    pgbouncer,
    pgjdbc,
    pgx,
    postgres_js,
    pq,
    psql,
    psqlpy,
    psycopg,
    psycopg2,
    r2dbc_postgresql,
    ruby_pg,
    sqlx,
    tokio_postgres,
)
from pgtrace.identify.drivers.client import Client
from pgtrace.identify.drivers.evidence import UNKNOWN, Evidence, Identification

__all__ = ["BY_NAME", "DRIVERS", "POOLERS", "UNKNOWN", "Evidence", "Identification", "identify"]

DRIVERS: Final[tuple[Client, ...]] = (
    asyncpg.DRIVER,
    pgjdbc.DRIVER,
    r2dbc_postgresql.DRIVER,
    postgres_js.DRIVER,
    node_postgres.DRIVER,
    psql.DRIVER,
    ruby_pg.DRIVER,
    pdo_pgsql.DRIVER,
    pg8000.DRIVER,
    sqlx.DRIVER,
    psqlpy.DRIVER,
    tokio_postgres.DRIVER,
    pgx.DRIVER,
    pq.DRIVER,
    psycopg.DRIVER,
    psycopg2.DRIVER,
)
POOLERS: Final[tuple[Client, ...]] = (pgbouncer.POOLER,)
"""What connects to the server on behalf of drivers. Asked first, because drivers' messages pass
through it."""
BY_NAME: Final = {client.name: client for client in (*POOLERS, *DRIVERS)}


def identify(seen: Evidence) -> Identification:
    """The driver with evidence, and that evidence; `unknown` if there is none for any."""
    for driver in (*POOLERS, *DRIVERS):
        sentences = driver.evidence(seen)
        if sentences:
            return Identification(driver.name, sentences)
    return Identification()
