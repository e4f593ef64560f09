"""pg8000: a Flush after every message, then a Sync.

StartupMessage: user, database, then application_name or replication if asked for, in libpq's order.
A query with parameters, and COMMIT and ROLLBACK of the DB-API module, are three round trips, `PHS ·
DHS · BHEHS`, with an unnamed statement and no parameter formats; native prepare() is `PHDHS`, its
statements `pg8000_statement_<n>`. A query without parameters is a Query; a transaction begins with
`begin transaction` in lower case.

Seen with pg8000 1.31.6, DB-API and native.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace.identify.drivers.client import Client
from pgtrace.identify.drivers.evidence import Evidence, first
from pgtrace.identify.remedies import Remedies, Remedy

NAME: Final = "pg8000"
_NAMES: Final = re.compile(r"\Apg8000_statement_\d+\Z")
_FLIGHTS: Final = ("BHEHS", "PHS", "DHS", "PHDHS")


def evidence(seen: Evidence) -> tuple[str, ...]:
    """The evidence for pg8000."""
    found: list[str] = []
    if first(_NAMES, seen.statement_names) is not None:
        found.append("statement names pg8000_statement_<n>")
    flights = [flight for flight in _FLIGHTS if seen.sent[flight]]
    if flights:
        found.append(f"a Flush after each message: {', '.join(flights)}")
    if found and "begin transaction" in seen.queries:
        found.append("begin transaction in lower case")
    return tuple(found)


REMEDIES: Final[Remedies] = {
    "n+1": (
        Remedy("WHERE column = ANY(%s) with a list to read", "pg8000-any", needs=("reads",)),
        Remedy(
            "INSERT ... SELECT unnest(%s) to write (executemany() waits for each row)",
            "pg8000-unnest",
            needs=("writes",),
            unless=("changes rows",),
        ),
        Remedy(
            "UPDATE ... FROM unnest(%s), or DELETE ... WHERE column = ANY(%s) (executemany() waits for each row)",
            "pg8000-unnest-update",
            needs=("changes rows",),
        ),
    ),
    "extra-describe": (Remedy("Connection.prepare() of pg8000.native keeps the statement; the DB-API cannot", "pg8000-prepare"),),
    "begin-commit": (Remedy("connection.autocommit = True for single statements", "pg8000-autocommit"),),
    "connect": (Remedy("SQLAlchemy's QueuePool over pg8000", "pg8000-pool"),),
    "idle-in-transaction": (Remedy("connection.autocommit = True, or commit() as soon as the statements are done", "pg8000-short-blocks"),),
    "driver-left": (
        Remedy("a statement_timeout shorter than connect(timeout=...): pg8000 sends no CancelRequest", "pg8000-statement-timeout"),
    ),
    "pooler-26000": (
        Remedy(
            "a transaction around the query (autocommit = False): its Parse and its Bind are separate round trips",
            "pg8000-unnamed-in-transaction",
            needs=("unnamed",),
        ),
        Remedy(
            "Connection.run() of pg8000.native, not prepare(), in a transaction", "pg8000-prepares-nothing", unless=("unnamed", "EXECUTE")
        ),
    ),
    "pooler-42P05": (Remedy("Connection.run() of pg8000.native, not prepare(), in a transaction", "pg8000-prepares-nothing-42P05"),),
    "split-unnamed": (Remedy("behind a pooler, put a transaction around the query (autocommit = False)", "pg8000-transaction"),),
}
DRIVER: Final = Client(NAME, evidence, REMEDIES)
