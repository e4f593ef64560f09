"""psycopg2 (and aiopg on top of it): libpq's start-up packet, simple queries only, values written
into the SQL by the client.

Certain, because only psycopg2 writes these forms:

- timestamps with a T and a cast, `'2026-01-02T03:04:05'::timestamp`, and `'1 days 0.000000
  seconds'::interval`;
- named cursors: `DECLARE "x" CURSOR WITHOUT HOLD FOR ...` (psycopg 3 has no WITHOUT HOLD);
- copy_from and copy_to: `COPY "t" FROM stdin WITH DELIMITER AS ...`; the look-up of hstore's OID
  (SQLAlchemy's first query, and aiopg's in one line);
- lists as `ARRAY[1,2]` in Django's bulk_create, where psycopg 3 writes `'{1,2}'::int2[]`;
- set_session in autocommit: `SET default_transaction_isolation TO '...'`.

Together, if the client certainly uses libpq and sent no extended query: one statement in at least
three texts that differ only in numbers, and either BEGIN as the very first query, in capitals
without a semicolon, or rows without blanks as execute_values writes them. psycopg 3 sends values as
parameters; PDO, which emulates prepared statements, puts numbers in quotes, too. ClientCursor,
PDO's integers bound as such, and SQL put together by hand look the same if a transaction begins
first, so the sentence says so. Django sends such SQL through either psycopg: it sets
client_encoding, and stays unknown unless one of the forms above shows. go-pg and Bun's pgdriver
write values into the SQL too, but they are not libpq (evidence.py). A session that repeats no
statement with other values is byte for byte psycopg 3's, and stays unknown too.

Seen with psycopg2 2.9.13, libpq 15.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace import sqltext
from pgtrace.identify.drivers.client import Client
from pgtrace.identify.drivers.evidence import Evidence, first
from pgtrace.identify.remedies import Remedies, Remedy

NAME: Final = "psycopg2"
AIOPG_LOOK_UP: Final = "SELECT t.oid, typarray FROM pg_type t JOIN pg_namespace ns ON typnamespace = ns.oid WHERE typname = 'hstore';"
"""aiopg's first query; aiopg always uses psycopg2."""
_FORMS: Final = (
    (re.compile(r"'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:[+-]\d\d:\d\d)?'::timestamp"),
     "timestamps written 'YYYY-MM-DDThh:mm:ss'::timestamp"),
    (re.compile(r"'-?\d+ days -?\d+\.\d{6} seconds'::interval"), "intervals written '1 days 0.000000 seconds'::interval"),
    (re.compile(r'\ADECLARE ".*" (?:SCROLL |NO SCROLL )?CURSOR WITHOUT HOLD FOR '), "named cursors declared WITHOUT HOLD"),
    (re.compile(r"\ACOPY .* (?:FROM stdin|TO stdout) WITH DELIMITER AS '[^']*' NULL AS '"),
     "COPY ... WITH DELIMITER AS ... NULL AS of copy_from and copy_to"),
    (re.compile(rf"\ASELECT t\.oid, \S+\nFROM pg_type t JOIN pg_namespace ns\n|\A{re.escape(AIOPG_LOOK_UP)}\Z"),
     "the look-up of a type's OID"),
    (re.compile(r"\AINSERT INTO \"[^\"]+\" \([^)]*\) SELECT \* FROM UNNEST\(\(ARRAY\["),
     "lists written ARRAY[...] in Django's bulk insert"),
    (re.compile(r"\ASET default_transaction_(?:isolation|read_only|deferrable) TO '"), "SET default_transaction_... of set_session"),
)  # fmt: skip
_OR_CLIENT_CURSOR: Final = "BEGIN without a semicolon before any other query: psycopg's ClientCursor would look the same"
_TIGHT_ROWS: Final = re.compile(r"(?i:\bVALUES) \((?:[^(), ]++,)++[^(), ]++\),\(")
_TEXTS: Final = 3
_NOT_A_DRIVER: Final = ("psql", "pgbench", "pg_dump", "pg_restore", "pg_dumpall")


def evidence(seen: Evidence) -> tuple[str, ...]:
    """The evidence for psycopg2."""
    if not seen.is_libpq or seen.is_extended or seen.application_name in _NOT_A_DRIVER:
        return ()
    found = [sentence for pattern, sentence in _FORMS if first(pattern, seen.queries) is not None]
    statement, texts = seen.rewritten()
    names = [name for name, _ in seen.startup_parameters]
    tight = first(_TIGHT_ROWS, seen.queries) is not None
    if texts >= _TEXTS and seen.is_surely_libpq and "client_encoding" not in names and (seen.begins_with_transaction or tight):
        found.append(f"values written into the SQL: {texts} texts of {sqltext.shorten(statement, 40)}")
        found.append("rows written as execute_values writes them" if tight else _OR_CLIENT_CURSOR)
    return (*found, "libpq's start-up packet, simple queries only") if found else ()


REMEDIES: Final[Remedies] = {
    "aborted-transaction": (Remedy("connection.rollback() at the first error", "psycopg2-rollback"),),
    "n+1": (
        Remedy("WHERE column = ANY(%s) with a list to read", "psycopg2-any", needs=("reads",)),
        Remedy(
            "psycopg2.extras.execute_values() to write (executemany() waits for each row)",
            "psycopg2-execute-values",
            needs=("writes",),
            unless=("returns rows", "changes rows"),
        ),
        Remedy(
            "psycopg2.extras.execute_batch() to update or delete (executemany() waits for each row)",
            "psycopg2-execute-batch",
            needs=("changes rows",),
            unless=("returns rows",),
        ),
        Remedy(
            "psycopg2.extras.execute_values(..., fetch=True) to write with RETURNING",
            "psycopg2-execute-values-fetch",
            needs=("writes", "returns rows"),
        ),
    ),
    "fetch-size": (
        Remedy(
            "iterate over a named cursor, with itersize = 2000, the default; fetchmany(2000) instead of fetchone()", "psycopg2-itersize"
        ),
    ),
    "begin-commit": (Remedy("connection.autocommit = True for single statements", "psycopg2-autocommit"),),
    "connect": (Remedy("psycopg2.pool.ThreadedConnectionPool", "psycopg2-pool"),),
    "driver-left": (Remedy("connection.cancel() before the program leaves: it sends CancelRequest", "psycopg2-cancel"),),
    "idle-in-transaction": (
        Remedy(
            "connection.autocommit = True, or commit() as soon as the statements are done: the first SELECT opens a block",
            "psycopg2-short-blocks",
        ),
    ),
}
DRIVER: Final = Client(NAME, evidence, REMEDIES)
