"""psqlpy, a Python driver on top of tokio-postgres: that driver's start-up packet, with its own
SQL.

Two things distinguish it from tokio-postgres. A transaction ends in `COMMIT;` or `ROLLBACK;`, with
a semicolon, although it began with `START TRANSACTION` without one. And `prepared=False` parses
under a name, deallocates it by a Query `DEALLOCATE PREPARE s<n>`, and sends `CSPBDES`. A session
with neither is identified as tokio-postgres. Statements are kept: a query is `PDS · BES`, later
`BES`. A connection mostly ends without Terminate.

Seen with psqlpy 0.13.1.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace.identify.drivers.client import Client
from pgtrace.identify.drivers.evidence import Evidence, first
from pgtrace.identify.drivers.tokio_postgres import DRAWN_NAMES, begins_with_encoding
from pgtrace.identify.remedies import Remedy

NAME: Final = "psqlpy"
_DEALLOCATE: Final = re.compile(r"\ADEALLOCATE PREPARE s\d+\Z")


def evidence(seen: Evidence) -> tuple[str, ...]:
    """The evidence for psqlpy."""
    if not begins_with_encoding(seen):
        return ()
    found: list[str] = []
    if first(_DEALLOCATE, seen.queries) is not None:
        found.append("DEALLOCATE PREPARE s<n> for each statement not to be kept")
    if any(query.startswith("START TRANSACTION") for query in seen.queries) and {"COMMIT;", "ROLLBACK;"} & {*seen.queries}:
        found.append("START TRANSACTION, then COMMIT or ROLLBACK with a semicolon")
    return (*found, "tokio-postgres' start-up packet") if found else ()


REMEDIES: Final = {
    "pooler-26000": (
        Remedy("PgBouncer 1.21 or later with max_prepared_statements > 0; prepared=False does not help, because it also uses a name"),
    ),
    "pooler-42P05": (
        Remedy("PgBouncer 1.21 or later with max_prepared_statements > 0; prepared=False does not help, because it also uses a name"),
    ),
    "n+1": (Remedy("WHERE column = ANY($1) with a list to read; execute_many() to write"),),
    "prepared-once": (
        Remedy("pass values as parameters", needs=("values in the text",)),
        Remedy("prepared=True, the default, keeps statements", needs=("one text",)),
    ),
}
DRIVER: Final = Client(NAME, evidence, REMEDIES, drawn_names=DRAWN_NAMES)
