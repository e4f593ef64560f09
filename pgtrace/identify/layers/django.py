"""Django: client_encoding in the start-up packet, and SQL in which every name is quoted and every
column has its table.

Certain, because only Django writes these forms:

- `SELECT COUNT(*) AS "__count"` of count(), `SELECT 1 AS "a" FROM ... LIMIT 1` of exists();
- savepoints `"s<thread>_x<n>"`, cursors `"_django_curs_<thread>_sync_<n>"`, its tables
  `"django_migrations"`, `"django_session"`, `"django_content_type"`;
- bulk_create: `INSERT INTO "item" (...) SELECT * FROM UNNEST((...)` (from 5.2).

Together: libpq's start-up packet with client_encoding=UTF8, which Django always sets, and `SELECT
"item"."id", "item"."name" FROM "item"`. Rails selects `"items".*`, peewee and TypeORM give each
table an alias, SQLAlchemy breaks the line.

With psycopg and psycopg2 alike, the client writes values into the SQL and sends each query as a
Query, in autocommit, so it is rarely clear which of the two it is. BEGIN and COMMIT come from
atomic(). With Django's own pool (psycopg only) the SQL is the same.

Seen with Django 5.2 over psycopg 3.3.9 and psycopg2 2.9.13.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace.identify.drivers.client import Client
from pgtrace.identify.drivers.evidence import Evidence, first
from pgtrace.identify.remedies import Remedy

NAME: Final = "django"
_FORMS: Final = (
    (re.compile(r'\ASELECT COUNT\(\*\) AS "__count" FROM '), 'count() written COUNT(*) AS "__count"'),
    (re.compile(r'\ASELECT 1 AS "a" FROM "[^\n]* LIMIT 1\Z'), 'exists() written SELECT 1 AS "a" ... LIMIT 1'),
    (re.compile(r'\A(?:SAVEPOINT|RELEASE SAVEPOINT|ROLLBACK TO SAVEPOINT) "s\d+_x\d+"'), 'savepoint names "s<thread>_x<n>"'),
    (re.compile(r'\ADECLARE "_django_curs_'), "cursor names _django_curs_<thread>_sync_<n>"),
    (re.compile(r' (?:FROM|INTO) "django_(?:migrations|session|content_type|admin_log|site)"'), "Django's own tables"),
    (re.compile(r'\AINSERT INTO "[^"]+" \([^)]*\) SELECT \* FROM UNNEST\(\('), "bulk_create() written INSERT ... SELECT * FROM UNNEST"),
)  # fmt: skip
_QUALIFIED: Final = re.compile(
    r'\ASELECT (?:DISTINCT )?"([^"]+)"\."[^"]+"(?: AS "[^"]+")?(?:, "[^"]+"\."[^"]+"(?: AS "[^"]+")?)*+'
    r' FROM "\1"(?: (?:WHERE|ORDER|LIMIT|INNER|LEFT|FOR) |\Z)'
)


def evidence(seen: Evidence) -> tuple[str, ...]:
    """The evidence for Django."""
    queries = tuple(query for query in seen.queries if '"' in query)
    if not queries:
        return ()
    found = [sentence for pattern, sentence in _FORMS if first(pattern, queries) is not None]
    encoded = seen.is_libpq and ("client_encoding", "UTF8") in seen.startup_parameters
    if (found or encoded) and first(_QUALIFIED, queries) is not None:
        found.append('every column with its table, quoted: "item"."id"')
    if found and encoded:
        found.append("client_encoding=UTF8 in libpq's start-up packet")
    return tuple(found)


REMEDIES: Final = {
    "pooler-26000": (Remedy("no server_side_binding; DISABLE_SERVER_SIDE_CURSORS"),),
    "pooler-42P05": (Remedy("no server_side_binding; DISABLE_SERVER_SIDE_CURSORS"),),
    "aborted-transaction": (Remedy("atomic() around a statement that may fail is a savepoint; do not catch its error inside the block"),),
    "n+1": (Remedy("select_related(), prefetch_related() or in_bulk() to read; bulk_create(), bulk_update() to write"),),
    "begin-commit": (
        Remedy("no ATOMIC_REQUESTS and no atomic() around a single statement; get_or_create() and bulk_create() begin one themselves"),
    ),
    "connect": (Remedy("CONN_MAX_AGE above 0, or OPTIONS: {'pool': True}: the default connects for each request"),),
    "idle-in-transaction": (Remedy("no ATOMIC_REQUESTS for views that wait for others; atomic() only around the statements"),),
    "re-parse": (Remedy("OPTIONS: {'server_side_binding': True} and prepare_threshold", unless=("pooler",)),),
}
LAYER: Final = Client(NAME, evidence, REMEDIES)
