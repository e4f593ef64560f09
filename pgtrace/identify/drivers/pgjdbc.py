"""pgjdbc: its start-up packet alone is certain, in every mode.

StartupMessage after SSLRequest: user, database, client_encoding=UTF8, DateStyle=ISO, TimeZone of
the JVM; 42.5 adds extra_float_digits=2, and the rest of what the URL sets follows (search_path,
options). Then `SET application_name = ...` as a Query (42.5 and before: two extended queries, with
extra_float_digits first). A query is `PBDES`, unnamed, with type OIDs; from its 5th execution as
`S_<n>`, then `BES` with binary results. BEGIN is a Query sent in front of the first statement
without waiting, `QPBDES`; COMMIT and ROLLBACK are `PBES`, named at once. With a fetch size the
portal is `C_<n>`, its Close sent with the next query. preferQueryMode=simple sends Queries with the
values written into the SQL; prepareThreshold=0 names nothing.

Savepoints are `JDBC_SAVEPOINT_<n>`, and with autosave `PGJDBC_AUTOSAVE`: certain too where the
beginning was not seen.

Seen with pgjdbc 42.7.14 and 42.5.6: all query modes, prepareThreshold 0, 1 and 5, fetch size,
autosave, readOnly, HikariCP.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace.identify.drivers.client import Client
from pgtrace.identify.drivers.evidence import Evidence, first
from pgtrace.identify.remedies import Remedy

NAME: Final = "pgjdbc"
_STARTUP: Final = (("client_encoding", "UTF8"), ("DateStyle", "ISO"))
_SAVEPOINT: Final = re.compile(r"(?:\A|; )(?:SAVEPOINT|RELEASE SAVEPOINT|ROLLBACK TO SAVEPOINT) (JDBC_SAVEPOINT_\d|PGJDBC_AUTOSAVE)\b")
_STATEMENT: Final = re.compile(r"\AS_[1-9]\d*\Z")
_PORTAL: Final = re.compile(r"\AC_[1-9]\d*\Z")


def evidence(seen: Evidence) -> tuple[str, ...]:
    """The evidence for pgjdbc."""
    found: list[str] = []
    parameters = seen.startup_parameters
    if (
        [name for name, _ in parameters[:2]] == ["user", "database"]
        and parameters[2:4] == _STARTUP
        and parameters[4:5]
        and parameters[4][0] == "TimeZone"
    ):
        found.append("user, database, client_encoding=UTF8, DateStyle=ISO, TimeZone in the start-up packet")
    savepoint = first(_SAVEPOINT, seen.queries)
    if savepoint is not None:
        found.append(f"savepoint names {savepoint.group(1).rstrip('0123456789')}")
    if found and first(_STATEMENT, seen.statement_names) is not None:
        found.append("statement names S_<n>")
    if found and first(_PORTAL, seen.portal_names) is not None:
        found.append("portal names C_<n>")
    if found and any(sent.startswith("QP") for sent in seen.sent):
        found.append("BEGIN sent ahead of the first statement")
    return tuple(found)


REMEDIES: Final = {
    "pooler-26000": (Remedy("prepareThreshold=0 in the URL; or PgBouncer 1.21 or later with max_prepared_statements > 0"),),
    "pooler-42P05": (Remedy("prepareThreshold=0 in the URL; or PgBouncer 1.21 or later with max_prepared_statements > 0"),),
    "pipeline-error": (Remedy("INSERT ... ON CONFLICT in the batch; BatchUpdateException.getUpdateCounts() tells what failed"),),
    "aborted-transaction": (Remedy("connection.rollback() at the first error; or autosave=conservative"),),
    "n+1": (
        Remedy(
            "WHERE column = ANY(?) with Connection.createArrayOf() to read; addBatch() and executeBatch() to write, "
            "reWriteBatchedInserts=true"
        ),
    ),
    "prepared-once": (
        Remedy("keep the PreparedStatement; values as parameters; prepareThreshold=5, the default, names nothing before the fifth run"),
    ),
    "driver-overhead": (Remedy("HikariCP: no connectionTestQuery; isValid() is asked only after aliveBypassWindowMs"),),
    "begin-commit": (Remedy("setAutoCommit(true), the default; BEGIN travels with the first statement, COMMIT does not"),),
    "fetch-size": (Remedy("setFetchSize(100) or more, or defaultRowFetchSize in the URL"),),
    "connect": (Remedy("HikariCP or another DataSource that pools"),),
    "prepared-leak": (Remedy("values as parameters ?; close() the PreparedStatement; preparedStatementCacheQueries bounds what stays"),),
    "re-parse": (
        Remedy(
            "prepareThreshold=5, the default, prepares from the fifth execution of one PreparedStatement; "
            "preparedStatementCacheQueries=256 keeps them",
            unless=(
                "pooler",
                "types alternate",
            ),
        ),
        Remedy(
            "one setter for one parameter: setInt() and setLong() in turn are two statements, parsed again each time",
            needs=("types alternate",),
        ),
    ),
}
DRIVER: Final = Client(NAME, evidence, REMEDIES)
