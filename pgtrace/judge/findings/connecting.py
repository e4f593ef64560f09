"""connect: connections that are opened for a query or two, so that connecting costs more than the work.

Told by connections that have ended after at most FEW round trips, CONNECTIONS of them under one driver. The cost is their set-up round trips;
TCP and TLS handshakes come on top, and are not counted.
"""

from __future__ import annotations

from typing import Final

from pgtrace.judge.findings.kind import ROUND_TRIPS, Kind, Note, Seen, Step, Watch

FEW: Final = 3
CONNECTIONS: Final = 5


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._steps = 0
        self._counted = False
        self._told = False

    def row(self, step: Step) -> None:
        self._steps += 1
        self._counted = self._counted or step.counts

    def settle(self) -> None:
        if self._told or not self.seen.over or not self._counted or not self.seen.setup or self._steps > FEW:
            return
        self._told = True
        note = self.seen.note(KIND)
        note.times += 1
        note.cost += self.seen.setup
        note.amount += self._steps
        note.show(self.seen.first, f"{self.seen.setup} set-up round trips for {self._steps} that work")


def _what(note: Note) -> str:
    return f"{note.times} connections for {note.amount} round trips: connecting took {note.cost} of {note.cost + note.amount}"


KIND: Final = Kind(
    name="connect",
    unit=ROUND_TRIPS,
    why="Each connection costs its set-up round trips, a handshake, and a process of the server, before the first query; a pool pays once.",
    watch=_Watch,
    what=_what,
    told=lambda note: note.times >= CONNECTIONS,
    remedies={
        "": "a pool of connections that live, in the application or in front of the server",
        "asyncpg": "asyncpg.create_pool(), and one pool for the whole process",
        "psycopg": "psycopg_pool.ConnectionPool or AsyncConnectionPool, and one pool for the whole process",
        "psycopg2": "psycopg2.pool.ThreadedConnectionPool; or PgBouncer",
        "pg8000": "SQLAlchemy's QueuePool over pg8000; or PgBouncer",
        "node-postgres": "new Pool() once, pool.query() instead of new Client() for each request",
        "postgres.js": "postgres() once for the whole process; idle_timeout and max_lifetime unset",
        "pgjdbc": "HikariCP or another DataSource that pools",
        "r2dbc-postgresql": "r2dbc-pool",
        "pgx": "pgxpool.New() once instead of pgx.Connect(); sslmode=disable where there is no TLS saves a connection each",
        "pq": "one sql.DB for the whole process, with SetMaxIdleConns above the default of 2",
        "tokio-postgres": "deadpool-postgres or bb8",
        "sqlx": "one PgPool for the whole process",
        "pdo_pgsql": "PDO::ATTR_PERSISTENT => true; or PgBouncer",
        "ruby-pg": "connection_pool; or PgBouncer",
        "django": "CONN_MAX_AGE above 0, or OPTIONS: {'pool': True}: the default connects for each request",
        "sqlalchemy": "QueuePool, the default, instead of NullPool; one engine for the whole process",
        "psql": "several commands in one psql -c ... -c ..., or -f",
    },
)
