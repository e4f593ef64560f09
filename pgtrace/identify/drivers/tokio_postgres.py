"""tokio-postgres for Rust, and drivers on top of it: client_encoding comes first in the start-up
packet.

StartupMessage: client_encoding=UTF8 (without quotes: those are asyncpg's), user, database, then
options and application_name. No SSLRequest unless the program passes a TLS connector. Types it does
not know are looked up with its own text.

Statements `s<n>`, portals `p<n>`, one counter for all, per process. A query given as text is `PDS ·
BES` and a Close that the driver does not wait for, `CS`, alone or before the next messages; a
prepared one `BES`; query_typed `PBDES` without a name, whose Describe is of the statement. Futures
polled together are one round trip: `BES×3`. Transactions are `START TRANSACTION` ... `COMMIT`;
savepoints as given, or `sp_<depth>`.

The `postgres` crate and deadpool-postgres look the same on the wire, and so does psqlpy, except for
the habits in its module.

Seen with tokio-postgres 0.7.18, and inside psqlpy 0.13.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace.identify.drivers.client import Client
from pgtrace.identify.drivers.evidence import Evidence, first
from pgtrace.identify.drivers.names import DrawnNames
from pgtrace.identify.remedies import Remedy

NAME: Final = "tokio-postgres"
DRAWN_NAMES: Final = DrawnNames(re.compile(r"[sp](\d+)"), distinct=False)
"""The generated part is a counter of the process."""
_NAMES: Final = re.compile(r"\As\d+\Z")
_TYPE: Final = re.compile(r"\ASELECT t\.typname, t\.typtype, t\.typelem, r\.rngsubtype, t\.typbasetype, n\.nspname, t\.typrelid\n")


def evidence(seen: Evidence) -> tuple[str, ...]:
    """The evidence for tokio-postgres."""
    found: list[str] = []
    if begins_with_encoding(seen):
        found.append("client_encoding is UTF8, before the user")
    if first(_TYPE, seen.queries) is not None:
        found.append("its query for a type")
    if found and first(_NAMES, seen.statement_names) is not None:
        found.append("statement names s<n>")
    if found and "START TRANSACTION" in seen.queries:
        found.append("START TRANSACTION, not BEGIN")
    return tuple(found)


def begins_with_encoding(seen: Evidence) -> bool:
    """Whether the start-up packet is that of tokio-postgres or a driver on top of it."""
    names = [name for name, _ in seen.startup_parameters]
    return seen.startup_parameters[:1] == (("client_encoding", "UTF8"),) and names[1:2] == ["user"]


REMEDIES: Final = {
    "pooler-26000": (Remedy("query_typed(), which prepares nothing; or PgBouncer 1.21 or later with max_prepared_statements > 0"),),
    "pooler-42P05": (Remedy("query_typed(), which prepares nothing; or PgBouncer 1.21 or later with max_prepared_statements > 0"),),
    "n+1": (Remedy("WHERE column = ANY($1) with a slice to read; futures polled together (join_all) are sent together"),),
    "extra-describe": (Remedy("Client::prepare() once, or query_typed(): one round trip"),),
    "prepared-once": (Remedy("Client::prepare() once and pass the Statement, or query_typed(); deadpool-postgres: prepare_cached()"),),
    "connect": (Remedy("deadpool-postgres or bb8"),),
    "prepared-leak": (Remedy("a Statement is closed when its last clone is dropped: do not keep them all"),),
    "re-parse": (Remedy("Client::prepare() once and pass the Statement", unless=("pooler",)),),
}
DRIVER: Final = Client(NAME, evidence, REMEDIES, drawn_names=DRAWN_NAMES)
