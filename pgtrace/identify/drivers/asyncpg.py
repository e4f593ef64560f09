"""asyncpg: certain from its start-up packet alone, or from its names.

StartupMessage: client_encoding first, with quotes inside the value (`'utf-8'`), then user,
database, then server_settings. Named statements are `__asyncpg_stmt_<hex>__`, portals and
savepoints `__asyncpg_portal_<hex>__`, `__asyncpg_savepoint_<hex>__`, with one counter for all, per
process. A query is `PDH · BES`, later `BES`; with statement_cache_size=0 the statement is unnamed
and the query `PDH · PBES`. BEGIN, COMMIT and ROLLBACK have a semicolon. Its pool resets a
connection that is returned with one Query of four statements.

Seen with asyncpg 0.32, with and without SSLRequest, statement cache and server_settings.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace.identify.drivers.client import Client
from pgtrace.identify.drivers.evidence import Evidence, first
from pgtrace.identify.drivers.names import DrawnNames
from pgtrace.identify.remedies import Remedies, Remedy

NAME: Final = "asyncpg"
_STARTUP: Final = ("client_encoding", "'utf-8'")
_RESET: Final = "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL"
_NAMES: Final = re.compile(r"__asyncpg_(stmt|portal|savepoint)_[0-9a-f]+__")
_INTROSPECTION: Final = re.compile(
    r"typeinfo_tree\(|\bset_config\('(?:jit|\*{3})', |FROM\s+pg_catalog\.pg_type AS t\s+INNER JOIN pg_catalog\.pg_namespace"
)
DRAWN_NAMES: Final = DrawnNames(re.compile(r"__asyncpg_(?:[a-z]+_)?([0-9a-f]+(?:-[0-9a-f]+){0,4})__"), distinct=True)
"""The generated part is a number of the process, or a UUID if SQLAlchemy names the statement."""


def evidence(seen: Evidence) -> tuple[str, ...]:
    """The evidence for asyncpg."""
    found: list[str] = []
    if starts(seen):
        found.append("client_encoding is 'utf-8' with quotes")
    for what, texts in (("statement", seen.statement_names), ("portal", seen.portal_names), ("savepoint", seen.queries)):
        match = first(_NAMES, texts)
        if match is not None:
            found.append(f"{what} names __asyncpg_{match.group(1)}_<hex>__")
    if found and any(sent in ("PDH", "DH") for sent in seen.sent):
        found.append("Parse Describe Flush, then Bind Execute Sync")
    return tuple(found)


def starts(seen: Evidence) -> bool:
    """Whether the connection began in the way of asyncpg."""
    return _STARTUP in seen.startup_parameters


def resets(seen: Evidence) -> bool:
    """Whether asyncpg's pool has reset the connection."""
    return starts(seen) and _RESET in seen.queries


_NEWER_POOLER: Final = "PgBouncer 1.21 or later with max_prepared_statements > 0"
REMEDIES: Final[Remedies] = {
    "pooler-26000": (
        Remedy(
            "asyncpg.connect(statement_cache_size=0), at two round trips per query", "asyncpg-cache-off", unless=("cache off", "EXECUTE")
        ),
        Remedy(_NEWER_POOLER, "asyncpg-newer-pooler", unless=("DEALLOCATE", "EXECUTE")),
    ),
    "pooler-42P05": (
        Remedy("asyncpg.connect(statement_cache_size=0), at two round trips per query", "asyncpg-cache-off-42P05", unless=("cache off",)),
        Remedy(
            "fetch() instead of cursor(): a cursor is always prepared under a name, whatever the size of the cache",
            "asyncpg-no-cursor",
            needs=("cache off",),
        ),
        Remedy(_NEWER_POOLER, "asyncpg-newer-pooler-42P05"),
    ),
    "pipeline-error": (
        Remedy("INSERT ... ON CONFLICT in executemany()", "asyncpg-on-conflict", needs=("a duplicate",)),
        Remedy(
            "use execute() for each row that may fail: one bad row undoes all of executemany()",
            "asyncpg-one-by-one",
            unless=("a duplicate",),
        ),
    ),
    "aborted-transaction": (
        Remedy("a nested `async with connection.transaction()` around code that may fail: it sets a savepoint", "asyncpg-savepoint"),
    ),
    "n+1": (
        Remedy("WHERE column = ANY($1) with a list to read", "asyncpg-any", needs=("reads",)),
        Remedy(
            "Connection.executemany() to write, all rows in one round trip",
            "asyncpg-executemany",
            needs=("writes",),
            unless=("returns rows",),
        ),
        Remedy("Connection.fetchmany() to write with RETURNING", "asyncpg-fetchmany", needs=("writes", "returns rows")),
    ),
    "extra-describe": (
        Remedy(
            "asyncpg.connect(statement_cache_size=100), the default: a cached statement takes one round trip",
            "asyncpg-cache-on",
            unless=("pooler",),
        ),
    ),
    "prepared-once": (
        Remedy(
            "pass values as parameters $1, not in the text, so that the statement cache finds the statement again",
            "asyncpg-parameters",
            needs=("values in the text",),
        ),
        Remedy(
            "fetch() without prepare(), whose statement the cache keeps; or keep what prepare() returned",
            "asyncpg-keep-prepared",
            needs=("one text",),
        ),
        Remedy(
            "call set_type_codec() in create_pool(init=...), not at each acquire() (setup=...): it clears the statement cache",
            "asyncpg-codec-keeps",
            needs=("one text", "the session is reset"),
        ),
    ),
    "driver-overhead": (
        Remedy(
            "one `async with pool.acquire()` for a unit of work, not one for each query",
            "asyncpg-one-acquire",
            unless=("a savepoint around one statement", "BEGIN directly after BEGIN"),
        ),
    ),
    "cache-thrash": (
        Remedy("asyncpg.connect(statement_cache_size=100), the default, or at least the number of texts in use", "asyncpg-larger-cache"),
    ),
    "fetch-size": (
        Remedy(
            "async for over connection.cursor(query, prefetch=50), the default, or more; fetch(100) instead of fetchrow()",
            "asyncpg-prefetch",
        ),
    ),
    "begin-commit": (Remedy("no transaction() around a single statement: asyncpg commits it by itself", "asyncpg-no-transaction"),),
    "connect": (Remedy("asyncpg.create_pool(), and one pool for the whole process", "asyncpg-pool"),),
    "prepared-leak": (
        Remedy("pass values as parameters $1, not in the text", "asyncpg-parameters-leak", needs=("values in the text",)),
        Remedy("fetch() without prepare(); or keep what prepare() returned", "asyncpg-keep-prepared-leak", needs=("one text",)),
    ),
    "introspection": (
        Remedy(
            "asyncpg.create_pool(): a connection asks once; a cast to text ($1::text::mood) asks nothing. set_type_codec() asks, too",
            "asyncpg-known-types",
            unless=("asked again",),
        ),
        Remedy(
            "call set_type_codec() once for each connection, in create_pool(init=...), not at each acquire() (setup=...)",
            "asyncpg-codec-once",
            needs=("asked again",),
        ),
    ),
    "driver-left": (
        Remedy("fetch(..., timeout=...), or cancel the task: both cancel the statement; terminate() does not", "asyncpg-cancel"),
    ),
    "server-ended": (
        Remedy(
            "asyncpg.create_pool(min_size=0, max_inactive_connection_lifetime=...), shorter than the time-out; "
            "min_size connections stay open, however long they are idle",
            "asyncpg-idle-pool",
            needs=("idle too long",),
        ),
    ),
    "used-after-fatal": (Remedy("asyncpg.create_pool(): it never hands out a connection that has ended", "asyncpg-ended-pool"),),
    "pooler-added": (
        Remedy(
            "asyncpg.connect(server_settings={'client_encoding': 'UTF8'}), as the server reports it, so PgBouncer 1.18 sets it only once",
            "asyncpg-encoding",
        ),
    ),
    "re-parse": (
        Remedy("asyncpg.connect(statement_cache_size=100), the default, keeps statements", "asyncpg-cache-keeps", unless=("pooler",)),
    ),
}
DRIVER: Final = Client(NAME, evidence, REMEDIES, introspection=_INTROSPECTION, drawn_names=DRAWN_NAMES)
