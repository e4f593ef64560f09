"""r2dbc-postgresql: certain from its start-up packet alone, or from the type look-up after it.

StartupMessage without SSLRequest: user, database, application_name, client_encoding=utf8 in small
letters, DateStyle=ISO, extra_float_digits=2, TimeZone of the JVM, then the settings in `options`.
Two Queries follow on every connection, `SHOW TRANSACTION ISOLATION LEVEL` and the OIDs of hstore,
geometry and vector. A query with values is `PBDECS`, then `BDECS`: the portal `B_<n>` is closed in
the same flight, the statement is `S_<n>`, both counted from 0. One without values is a Query.
BEGIN, COMMIT and ROLLBACK are Queries. With a fetch size `PBDEH`, then `EH`, and `CS` at the end.

Seen with r2dbc-postgresql 1.1.3, r2dbc-pool 1.0.2.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace.identify.drivers.client import Client
from pgtrace.identify.drivers.evidence import Evidence, first
from pgtrace.identify.remedies import Remedy

NAME: Final = "r2dbc-postgresql"
_STARTUP: Final = ["user", "database", "application_name", "client_encoding", "DateStyle", "extra_float_digits", "TimeZone"]
_TYPES: Final = re.compile(r"\ASELECT oid, \* FROM pg_catalog\.pg_type WHERE typname IN \('hstore','geometry'")
_PORTAL: Final = re.compile(r"\AB_\d+\Z")


def evidence(seen: Evidence) -> tuple[str, ...]:
    """The evidence for r2dbc-postgresql."""
    found: list[str] = []
    if [name for name, _ in seen.startup_parameters[:7]] == _STARTUP and ("client_encoding", "utf8") in seen.startup_parameters:
        found.append("application_name, client_encoding=utf8, DateStyle, extra_float_digits, TimeZone in the start-up packet")
    if first(_TYPES, seen.queries) is not None:
        found.append("the look-up of hstore, geometry and vector")
    if found and first(_PORTAL, seen.portal_names) is not None:
        found.append("portal names B_<n>")
    return tuple(found)


REMEDIES: Final = {
    "pooler-26000": (Remedy("preparedStatementCacheQueries=0; or PgBouncer 1.21 or later with max_prepared_statements > 0"),),
    "pooler-42P05": (Remedy("preparedStatementCacheQueries=0; or PgBouncer 1.21 or later with max_prepared_statements > 0"),),
    "n+1": (
        Remedy("WHERE column = ANY($1) with an array to read; INSERT ... SELECT unnest($1) to write (Statement.add() waits for each row)"),
    ),
    "connect": (Remedy("r2dbc-pool"),),
    "re-parse": (Remedy("preparedStatementCacheQueries=-1, the default, keeps statements", unless=("pooler",)),),
}
DRIVER: Final = Client(NAME, evidence, REMEDIES)
