"""SQLAlchemy: the queries on an engine's first connection, and the layout of compiled SQL.

Certain:

- an engine asks its first connection, in lower case, `select pg_catalog.version()`, `select
  current_schema()`, `show transaction isolation level` and `show standard_conforming_strings`,
  within a transaction that is rolled back. With psycopg and psycopg2 it also looks up hstore's OID;
- the compiler begins FROM, WHERE and ORDER BY on lines of their own and leaves a blank at the end
  of the line before: `SELECT item.id, item.name \\nFROM item`;
- an insert of many rows that returns their keys reads from `(VALUES ...) AS imp_sen(p0, p1,
  sen_counter)`.

Together with one of these: with asyncpg, psycopg and pg8000, parameters have their type in
capitals, `$1::INTEGER`, `$2::VARCHAR`. Alone they are not evidence, because anyone may write them.
The transaction commands are the driver's.

Connections that the pool opens later do not get these queries, and are recognised by their SQL.
text() is SQL written by hand. With asyncpg, others also send compiled SQL, but with untyped
parameters (databases has its own module, GINO has none). So with asyncpg the layout counts only
together with types.

Seen with SQLAlchemy 2.1.9 and asyncpg, psycopg, psycopg2 and pg8000.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace.identify.drivers import asyncpg
from pgtrace.identify.drivers.client import Client
from pgtrace.identify.drivers.evidence import Evidence, first
from pgtrace.identify.remedies import Remedies, Remedy

NAME: Final = "sqlalchemy"
_FIRST_CONNECTION: Final = frozenset({"select pg_catalog.version()", "select current_schema()", "show standard_conforming_strings"})
_OPENING: Final = re.compile(
    r"\A(?:select pg_catalog\.version\(\)|select current_schema\(\)|show transaction isolation level|show standard_conforming_strings)\Z"
    r"|\bWHERE t?\.?typname = 'hstore'|\bto_regtype\("
)
_LAYOUT: Final = re.compile(r"\A(?:WITH|SELECT) [^\n]* \nFROM ")
_TYPED: Final = re.compile(r"\$\d+::[A-Z]{3}")
_MANY_VALUES: Final = " AS imp_sen("


def evidence(seen: Evidence) -> tuple[str, ...]:
    """The evidence for SQLAlchemy."""
    found: list[str] = []
    if _FIRST_CONNECTION.issubset(seen.queries):
        found.append("an engine's first connection: select pg_catalog.version(), select current_schema(), show standard_conforming_strings")
    if is_compiled(seen) and (not asyncpg.starts(seen) or is_typed(seen)):
        found.append("SQL laid out by its compiler: a blank before the line break, FROM on a line of its own")
    if any(query.startswith("INSERT ") and _MANY_VALUES in query for query in seen.queries):
        found.append("inserts of many rows from imp_sen(...)")
    if found and is_typed(seen):
        found.append("parameters with their type in capitals: $1::INTEGER")
    return tuple(found)


def is_compiled(seen: Evidence) -> bool:
    """Whether SQLAlchemy's compiler wrote a query, no matter which program sent it."""
    return first(_LAYOUT, seen.queries) is not None


def is_typed(seen: Evidence) -> bool:
    """Whether parameters have their type in the way of SQLAlchemy's engine."""
    return first(_TYPED, seen.queries) is not None


_NEWER_POOLER: Final = "PgBouncer 1.21 or later with max_prepared_statements > 0"
REMEDIES: Final[Remedies] = {
    "aborted-transaction": (Remedy("session.begin_nested() around a statement that may fail", "sqlalchemy-savepoint"),),
    "n+1": (
        Remedy("selectinload() or joinedload() for relations", "sqlalchemy-selectinload", needs=("reads",)),
        Remedy("Table.column.in_(values) instead of a loop of queries", "sqlalchemy-in", needs=("reads",)),
        Remedy("session.execute(insert(Table), rows) to write", "sqlalchemy-bulk-insert", needs=("writes",), unless=("changes rows",)),
        Remedy(
            "connection.execute(statement, rows), with all rows, to update or delete; over psycopg2 with "
            "create_engine(executemany_mode='values_plus_batch')",
            "sqlalchemy-bulk-update",
            needs=("changes rows",),
            unless=("pg8000", "returns rows"),
        ),
    ),
    "extra-describe": (
        Remedy(
            "over asyncpg leave statement_cache_size and prepared_statement_cache_size at their defaults: a cached statement "
            "takes one round trip",
            "sqlalchemy-cache-on",
            needs=("asyncpg",),
            unless=("pooler",),
        ),
        Remedy(
            "another driver under SQLAlchemy, such as psycopg: pg8000's DB-API parses and describes each time",
            "sqlalchemy-another-driver",
            needs=("pg8000",),
            unless=("pooler",),
        ),
    ),
    "prepared-once": (
        Remedy("use bound parameters instead of values in the text", "sqlalchemy-bound", needs=("values in the text",)),
        Remedy(
            "prepared_statement_cache_size=100, the default: it is SQLAlchemy's cache, not asyncpg's",
            "sqlalchemy-cache-on-once",
            needs=("asyncpg", "one text"),
        ),
    ),
    "driver-overhead": (
        Remedy(
            "pool_pre_ping=False with pool_recycle",
            "sqlalchemy-no-pre-ping",
            unless=("a savepoint around one statement", "BEGIN directly after BEGIN", "the session is reset"),
        ),
    ),
    "cache-thrash": (
        Remedy(
            "prepared_statement_cache_size=100, the default, or at least the number of texts in use: it is SQLAlchemy's "
            "cache, not asyncpg's",
            "sqlalchemy-larger-cache",
            needs=("asyncpg",),
        ),
    ),
    "begin-commit": (
        Remedy(
            "engine.execution_options(isolation_level='AUTOCOMMIT') for single statements: a second engine over the same pool",
            "sqlalchemy-autocommit",
        ),
    ),
    "connect": (
        Remedy(
            "QueuePool, the default, instead of NullPool or a short pool_recycle; one engine for the whole process", "sqlalchemy-queue-pool"
        ),
    ),
    "pooler-26000": (
        Remedy("over asyncpg, connect_args={'statement_cache_size': 0}", "sqlalchemy-cache-off", needs=("asyncpg",), unless=("cache off",)),
        Remedy(_NEWER_POOLER, "sqlalchemy-newer-pooler", needs=("asyncpg",)),
    ),
    "pooler-42P05": (
        Remedy(
            "over asyncpg, connect_args={'statement_cache_size': 0}",
            "sqlalchemy-cache-off-42P05",
            needs=("asyncpg",),
            unless=("cache off",),
        ),
        Remedy(_NEWER_POOLER, "sqlalchemy-newer-pooler-42P05", needs=("asyncpg",)),
    ),
    "introspection": (
        Remedy("one engine for the whole process, with QueuePool, the default: a connection asks once", "sqlalchemy-known-types"),
    ),
    "driver-left": (
        Remedy(
            "statement_timeout, for the role or in connect_args: SQLAlchemy sends no CancelRequest; the driver's connection "
            "may be able to cancel",
            "sqlalchemy-statement-timeout",
        ),
    ),
    "fetch-size": (Remedy("yield_per=1000 in execution_options, or more", "sqlalchemy-yield-per"),),
    "server-ended": (
        Remedy(
            "NullPool closes a connection after its use; QueuePool keeps it, however long it is idle, even with pool_recycle",
            "sqlalchemy-idle-pool",
            needs=("idle too long",),
        ),
    ),
    "used-after-fatal": (
        Remedy(
            "create_engine(url, pool_pre_ping=True), at a round trip per use; for a time limit, a pool_recycle shorter than the limit",
            "sqlalchemy-pre-ping",
        ),
    ),
    "prepared-leak": (
        Remedy(
            "use bound parameters: a text with values in it is a new statement each time",
            "sqlalchemy-bound-leak",
            needs=("values in the text",),
        ),
    ),
    "idle-in-transaction": (
        Remedy("commit or close the session before slow work: its first SELECT opens a transaction", "sqlalchemy-short-blocks"),
    ),
}
LAYER: Final = Client(NAME, evidence, REMEDIES, opening=_OPENING)
