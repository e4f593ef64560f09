"""Identifies the client library of a connection from evidence on the wire.

There is one module per driver. Its header describes the driver's habits. It has `evidence(seen)`,
which returns sentences of evidence (empty if there is none), the driver's remedies for findings,
and DRIVER, which holds all of these. The list below is the order in which they are tried; a driver
comes before those that could be mistaken for it. To add a driver, add a module and a line here.
Poolers, as seen from the server's side, are in POOLERS.
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
"""Programs that connect to the server on behalf of drivers. They are tried first, because drivers'
messages pass through them.
"""
BY_NAME: Final = {client.name: client for client in (*POOLERS, *DRIVERS)}


def identify(seen: Evidence) -> Identification:
    """The first driver with evidence, and that evidence; `unknown` if no driver has any."""
    for driver in (*POOLERS, *DRIVERS):
        sentences = driver.evidence(seen)
        if sentences:
            return Identification(driver.name, sentences)
    return Identification()
