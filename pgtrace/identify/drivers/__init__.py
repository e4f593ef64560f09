"""Which client library is at the other end, told from evidence on the wire.

One module for each driver: its habits in the header, NAME, and `evidence(seen)`, the sentences that speak for it, none where nothing does. The list below is
the order in which they are asked; a driver's module comes before those that could mistake it. A new driver is a module and a line here; one that
draws the names of its statements has a line in DRAWN_NAMES too. A pooler, seen from the
server's side, is in POOLERS.
"""

from __future__ import annotations

from collections.abc import Callable
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
from pgtrace.identify.drivers.evidence import UNKNOWN, Evidence, Identification
from pgtrace.identify.drivers.names import DrawnNames

__all__ = ["DRAWN_NAMES", "DRIVERS", "POOLERS", "UNKNOWN", "Evidence", "Identification", "identify"]

DRIVERS: Final[tuple[tuple[str, Callable[[Evidence], tuple[str, ...]]], ...]] = (
    (asyncpg.NAME, asyncpg.evidence),
    (pgjdbc.NAME, pgjdbc.evidence),
    (r2dbc_postgresql.NAME, r2dbc_postgresql.evidence),
    (postgres_js.NAME, postgres_js.evidence),
    (node_postgres.NAME, node_postgres.evidence),
    (psql.NAME, psql.evidence),
    (ruby_pg.NAME, ruby_pg.evidence),
    (pdo_pgsql.NAME, pdo_pgsql.evidence),
    (pg8000.NAME, pg8000.evidence),
    (sqlx.NAME, sqlx.evidence),
    (psqlpy.NAME, psqlpy.evidence),
    (tokio_postgres.NAME, tokio_postgres.evidence),
    (pgx.NAME, pgx.evidence),
    (pq.NAME, pq.evidence),
    (psycopg.NAME, psycopg.evidence),
    (psycopg2.NAME, psycopg2.evidence),
)
POOLERS: Final = ((pgbouncer.NAME, pgbouncer.evidence),)
"""What connects to the server on behalf of drivers: asked first, because their messages pass through it."""
DRAWN_NAMES: Final[dict[str, DrawnNames]] = {
    asyncpg.NAME: asyncpg.DRAWN_NAMES,
    postgres_js.NAME: postgres_js.DRAWN_NAMES,
    psqlpy.NAME: tokio_postgres.DRAWN_NAMES,
    tokio_postgres.NAME: tokio_postgres.DRAWN_NAMES,
    pgbouncer.NAME: pgbouncer.DRAWN_NAMES,
}
"""Of the drivers whose names of statements and portals differ from run to run: what these look like."""


def identify(seen: Evidence) -> Identification:
    """The driver that something speaks for, with what does; `unknown` where nothing speaks for any."""
    for name, evidence in (*POOLERS, *DRIVERS):
        sentences = evidence(seen)
        if sentences:
            return Identification(name, sentences)
    return Identification()
