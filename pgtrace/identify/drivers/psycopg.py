"""psycopg 3: libpq's start-up packet, and extended queries that carry the types of Python values.

Certain:

- statements, and savepoints in quotes, called `_pg3_<n>` (per connection; from the 6th execution,
  at once in executemany);
- Parse of an unnamed statement with type OIDs chosen by each value (int2 for 1, int8 for 10**10, 0
  for str): other users of libpq send none;
- a server-side cursor is DECLARE by `PBDES`, then `DS` to describe its portal;
- TypeInfo.fetch asks `... to_regtype($1)` with its own text;
- a COPY that fails in the program ends with CopyFail `error from Python: RuntimeError - stop`,
  which the server repeats;
- ClientCursor writes `'{1,2}'::int2[]`, `'1 day 0:00:00'::interval`, and timestamps with a blank
  before the time and a cast after it.

Together: `PBDES` (in a pipeline `PBDE×n S`) on libpq's start-up packet, with BEGIN and COMMIT in
capitals without a semicolon, and type OIDs that other users of libpq do not send. If all parameters
are strings, ruby-pg's exec_params and PDO without prepares send exactly the same bytes: OID 0 for
each.

A statement without parameters is a simple Query. A session of only such Queries is byte for byte
the same as with psycopg2 (start-up, SCRAM nonce length, BEGIN, Terminate and COPY were compared),
so it stays unknown.

Seen with psycopg 3.3.9, libpq 18.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace.identify.drivers.client import Client
from pgtrace.identify.drivers.evidence import Evidence, first
from pgtrace.identify.remedies import Remedies, Remedy

NAME: Final = "psycopg"
_STATEMENT: Final = re.compile(r"\A_pg3_\d+\Z")
_SAVEPOINT: Final = re.compile(r'\A(?:SAVEPOINT|RELEASE|ROLLBACK TO) "_pg3_\d+"')
_DECLARE: Final = re.compile(r'\ADECLARE ".*" (?:SCROLL |NO SCROLL )?CURSOR (?:WITH HOLD )?FOR ')
_TYPE_INFO: Final = re.compile(r"typarray AS array_oid,\s+oid::regtype::text AS regtype")
_CLIENT_CURSOR: Final = re.compile(
    r"'\{[^']*\}'::int[248]\[\]|'-?\d+ days? -?\d+:\d\d:\d\d(?:\.\d+)?'::interval|"
    r"'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?(?:[+-]\d\d:\d\d)?'::timestamp"
)
_COPY_FAILED: Final = re.compile(r"\berror from Python: [\w.<>]+ - ")
_INT2: Final = 21
_PYTHON_TYPES: Final = frozenset({20, 23, 701, 1082, 1083, 1114, 1184, 1186, 1700, 2950})
"""The OIDs of int8 int4 float8 date time timestamp timestamptz interval numeric uuid."""
_EXTENDED: Final = ("PBDES", "PBDE×", "PBDESH")


def evidence(seen: Evidence) -> tuple[str, ...]:
    """The evidence for psycopg 3."""
    found: list[str] = []
    if first(_STATEMENT, seen.statement_names) is not None:
        found.append("statement names _pg3_<n>")
    if first(_SAVEPOINT, seen.queries) is not None:
        found.append('savepoint names "_pg3_<n>"')
    if first(_COPY_FAILED, seen.copy_failures) is not None:
        found.append("a failed COPY ends with 'error from Python: ...'")
    if seen.is_libpq:
        found += _habits(seen)
    if found and seen.is_libpq:
        found.append("libpq's start-up packet")
    return tuple(found)


def _habits(seen: Evidence) -> list[str]:
    sent = seen.sent
    found: list[str] = []
    if any(_INT2 in types for types in seen.parameter_types):
        found.append("Parse names the type of each value, int2 for small integers")
    if sent["PBDES"] and sent["DS"] and first(_DECLARE, seen.queries) is not None:
        found.append("cursors by DECLARE in an extended query, then Describe of the portal")
    if first(_TYPE_INFO, seen.queries) is not None:
        found.append("TypeInfo's query for types")
    if first(_CLIENT_CURSOR, seen.queries) is not None:
        found.append("values written into the SQL as ClientCursor writes them")
    typed = any(_PYTHON_TYPES.intersection(types) for types in seen.parameter_types)
    if typed and any(one.startswith(_EXTENDED) for one in sent) and seen.has_bare_transactions:
        found.append("Parse Bind Describe Execute with the types of Python values for each query, unnamed; BEGIN without a semicolon")
    return found


_RESET: Final = "use RESET ALL instead of DISCARD ALL or DEALLOCATE ALL"
_KEEP_TABLES: Final = "use temporary tables with ON COMMIT DROP, or TRUNCATE, instead of DROP and ALTER"
_NEWER_POOLER: Final = "PgBouncer 1.21 or later with max_prepared_statements > 0"
REMEDIES: Final[Remedies] = {
    "pooler-26000": (
        Remedy(
            "psycopg.connect(prepare_threshold=None), not 0, which prepares at once",
            "psycopg-prepares-nothing",
            unless=("DEALLOCATE", "EXECUTE"),
        ),
        Remedy(_NEWER_POOLER, "psycopg-newer-pooler", unless=("DEALLOCATE", "EXECUTE")),
        Remedy("use libpq 17 or later, with which psycopg drops statements with Close", "psycopg-libpq-17", needs=("DEALLOCATE",)),
        Remedy("connection.prepared_max=None: nothing is dropped", "psycopg-drops-nothing", needs=("DEALLOCATE",)),
    ),
    "pooler-42P05": (
        Remedy("psycopg.connect(prepare_threshold=None); 0 prepares at once", "psycopg-prepares-nothing-42P05"),
        Remedy(_NEWER_POOLER, "psycopg-newer-pooler-42P05"),
    ),
    "pipeline-error": (
        Remedy("INSERT ... ON CONFLICT in the pipeline", "psycopg-on-conflict", needs=("a duplicate",)),
        Remedy("call Pipeline.sync() after each statement that may fail", "psycopg-sync-each", unless=("a duplicate",)),
    ),
    "aborted-transaction": (
        Remedy("a nested `with connection.transaction()` around code that may fail: it sets a savepoint", "psycopg-savepoint"),
    ),
    "n+1": (
        Remedy("WHERE column = ANY(%s) with a list to read", "psycopg-any", needs=("reads",)),
        Remedy("Cursor.executemany() to write", "psycopg-executemany", needs=("writes",), unless=("returns rows",)),
        Remedy(
            "Cursor.executemany(..., returning=True) to write with RETURNING",
            "psycopg-executemany-returning",
            needs=("writes", "returns rows"),
        ),
    ),
    "prepared-once": (
        Remedy("pass values as parameters %s, not in the text", "psycopg-parameters", needs=("values in the text",)),
        Remedy(
            "commit read-only transactions, or use autocommit=True: ROLLBACK makes psycopg forget its prepared statements",
            "psycopg-no-rollback-once",
            needs=("one text", "rolled back"),
        ),
        Remedy(
            f"{_RESET}, which make psycopg forget its prepared statements",
            "psycopg-reset-once",
            needs=("one text", "all are dropped"),
        ),
        Remedy(
            f"{_KEEP_TABLES}, which make psycopg forget its prepared statements",
            "psycopg-no-drop-once",
            needs=("one text", "after DROP or ALTER"),
        ),
    ),
    "driver-overhead": (
        Remedy(
            "ConnectionPool(check=None), the default",
            "psycopg-no-check",
            unless=("a savepoint around one statement", "BEGIN directly after BEGIN", "the session is reset"),
        ),
    ),
    "fetch-size": (
        Remedy(
            "iterate over a server-side cursor, with itersize = 100, the default, or more; fetchmany(100) instead of fetchone()",
            "psycopg-itersize",
        ),
    ),
    "cache-thrash": (Remedy("connection.prepared_max = 100, the default, or at least the number of texts in use", "psycopg-larger-cache"),),
    "begin-commit": (
        Remedy("psycopg.connect(autocommit=True), and `with connection.transaction()` around several statements", "psycopg-autocommit"),
    ),
    "connect": (Remedy("psycopg_pool.ConnectionPool or AsyncConnectionPool, and one pool for the whole process", "psycopg-pool"),),
    "introspection": (
        Remedy(
            "TypeInfo.fetch() once for the process, and register() without a connection, which applies to all connections",
            "psycopg-known-types",
        ),
    ),
    "driver-left": (Remedy("connection.cancel_safe() before close(): close() cancels nothing", "psycopg-cancel"),),
    "server-ended": (
        Remedy(
            "psycopg_pool.ConnectionPool(min_size=0, max_idle=...), shorter than the time-out; min_size connections stay "
            "open, however long they are idle",
            "psycopg-idle-pool",
            needs=("idle too long",),
        ),
    ),
    "used-after-fatal": (Remedy("ConnectionPool(check=ConnectionPool.check_connection), at a round trip per use", "psycopg-check"),),
    "prepared-leak": (
        Remedy("pass values as parameters %s, not in the text that is prepared", "psycopg-parameters-leak", needs=("values in the text",)),
    ),
    "idle-in-transaction": (
        Remedy(
            "autocommit=True, and transaction() only around the statements: without it the first SELECT opens a block that lasts "
            "until commit()",
            "psycopg-short-blocks",
        ),
    ),
    "re-parse": (
        Remedy(
            "commit read-only transactions, or use autocommit=True: ROLLBACK makes psycopg forget its execution counts and "
            "prepared statements",
            "psycopg-no-rollback",
            needs=("rolled back",),
        ),
        Remedy(
            f"{_RESET}, which make psycopg forget its execution counts and prepared statements", "psycopg-reset", needs=("all are dropped",)
        ),
        Remedy(
            f"{_KEEP_TABLES}, which make psycopg forget its execution counts and prepared statements",
            "psycopg-no-drop",
            needs=("after DROP or ALTER",),
        ),
        Remedy(
            "psycopg.connect(prepare_threshold=5), the default; None prepares nothing, which a pooler may need",
            "psycopg-threshold",
            unless=("pooler", "rolled back", "all are dropped", "after DROP or ALTER"),
        ),
    ),
}
DRIVER: Final = Client(NAME, evidence, REMEDIES, introspection=_TYPE_INFO)
