"""PDO with pdo_pgsql: its own names for statements and cursors, on libpq's start-up packet.

Certain:

- statements `pdo_stmt_<8 hex digits>` per connection: prepare is `PS`, sent with the first
  execution, which is `BDES`; the end of the statement is a Query, `DEALLOCATE pdo_stmt_...`: three
  round trips for a statement used once;
- scrollable cursors `pdo_crsr_<8 hex digits>`, by DECLARE, FETCH and CLOSE;
- COPY as pgsqlCopyFromArray and pgsqlCopyToArray write it (`COPY t TO STDIN WITH DELIMITER
  E'...'`), and getColumnMeta's `SELECT RELNAME FROM PG_CLASS`.

With ATTR_EMULATE_PREPARES a statement is a Query in which every value is in quotes, even numbers,
unless they were bound as integers. With PGSQL_ATTR_DISABLE_PREPARES it is an unnamed `PBDES`. Other
users of libpq do both, so such a session stays unknown. So does a session of exec() alone, which
sends Queries as written.

Seen with PHP 8.2, libpq 15.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace.identify.drivers.client import Client
from pgtrace.identify.drivers.evidence import Evidence, first
from pgtrace.identify.remedies import Remedy

NAME: Final = "pdo_pgsql"
_STATEMENT: Final = re.compile(r"\Apdo_stmt_[0-9a-f]{8}\Z")
_FORMS: Final = (
    (re.compile(r"\ADEALLOCATE pdo_stmt_[0-9a-f]{8}\Z"), "DEALLOCATE pdo_stmt_<n>"),
    (re.compile(r"\ADECLARE pdo_crsr_[0-9a-f]{8} SCROLL CURSOR WITH HOLD FOR "), "cursor names pdo_crsr_<n>"),
    (re.compile(r"\ACOPY .* (?:FROM|TO) STDIN WITH DELIMITER E'[^']*' NULL AS E'"), "COPY ... STDIN WITH DELIMITER E'...' NULL AS E'...'"),
    (re.compile(r"\ASELECT RELNAME FROM PG_CLASS WHERE OID=\d+\Z"), "getColumnMeta's look-up of a table's name"),
)


def evidence(seen: Evidence) -> tuple[str, ...]:
    """The evidence for PDO."""
    found: list[str] = []
    if first(_STATEMENT, seen.statement_names) is not None:
        found.append("statement names pdo_stmt_<n>")
    found += [sentence for pattern, sentence in _FORMS if first(pattern, seen.queries) is not None]
    return tuple(found)


REMEDIES: Final = {
    "pooler-26000": (Remedy("PDO::ATTR_EMULATE_PREPARES => true; or PgBouncer 1.21 or later with max_prepared_statements > 0"),),
    "pooler-42P05": (Remedy("PDO::ATTR_EMULATE_PREPARES => true; or PgBouncer 1.21 or later with max_prepared_statements > 0"),),
    "aborted-transaction": (
        Remedy("rollBack() before the PDOStatement ends: otherwise its DEALLOCATE fails, and the statement stays in the session"),
    ),
    "n+1": (Remedy("one SELECT with IN (...) to read; INSERT with several rows to write"),),
    "prepared-once": (Remedy("keep the PDOStatement and execute() it again; or PDO::ATTR_EMULATE_PREPARES => true, one Query"),),
    "connect": (Remedy("PDO::ATTR_PERSISTENT => true; or PgBouncer"),),
}
DRIVER: Final = Client(NAME, evidence, REMEDIES)
