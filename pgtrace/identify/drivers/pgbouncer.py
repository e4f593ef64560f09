"""PgBouncer as a client of the server, identified by the names of its prepared statements.

Since 1.21 it prepares its clients' statements under its own names, `PGBOUNCER_<n>`, with one
counter per process. If another client has prepared the statement on this server connection,
Describe is sent without Parse, `DH`. The start-up packet has the database before the user.

Without a prepared statement nothing is certain, because its clients' messages pass through. Then
the client's driver may be identified instead.

Seen with PgBouncer 1.24 and 1.25.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace.identify.drivers.client import Client
from pgtrace.identify.drivers.evidence import Evidence, first
from pgtrace.identify.drivers.names import DrawnNames

NAME: Final = "pgbouncer"
DRAWN_NAMES: Final = DrawnNames(re.compile(r"PGBOUNCER_(\d+)"), distinct=True)
"""The generated part is a counter of the process."""
_STATEMENT: Final = re.compile(r"\APGBOUNCER_\d+\Z")


def evidence(seen: Evidence) -> tuple[str, ...]:
    """The evidence for PgBouncer."""
    if first(_STATEMENT, seen.statement_names) is None:
        return ()
    reverse = [name for name, _ in seen.startup_parameters][:2] == ["database", "user"]
    return ("statement names PGBOUNCER_<n>", *(("the database before the user in the start-up packet",) if reverse else ()))


POOLER: Final = Client(NAME, evidence, drawn_names=DRAWN_NAMES)
