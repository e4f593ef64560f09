"""pgjdbc: certain from its start-up packet alone, in every mode.

StartupMessage after SSLRequest: user, database, client_encoding=UTF8, DateStyle=ISO, TimeZone of
the JVM; 42.5 adds extra_float_digits=2, and the rest of what the URL sets follows (search_path,
options). Then `SET application_name = ...` as a Query (42.5 and before: two extended queries, with
extra_float_digits first). A query is `PBDES`, unnamed, with type OIDs; from its 5th execution as
`S_<n>`, then `BES` with binary results. BEGIN is a Query sent in front of the first statement
without waiting, `QPBDES`; COMMIT and ROLLBACK are `PBES`, named at once. With a fetch size the
portal is `C_<n>`, its Close sent with the next query. preferQueryMode=simple sends Queries with the
values written into the SQL; prepareThreshold=0 names nothing.

Savepoints are `JDBC_SAVEPOINT_<n>`, and with autosave `PGJDBC_AUTOSAVE`. They are certain, too, if
the beginning was not seen.

Seen with pgjdbc 42.7.14 and 42.5.6: all query modes, prepareThreshold 0, 1 and 5, fetch size,
autosave, readOnly, HikariCP.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace.identify.drivers.client import Client
from pgtrace.identify.drivers.evidence import Evidence, first
from pgtrace.identify.remedies import Remedies, Remedy

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


_NEWER_POOLER: Final = "PgBouncer 1.21 or later with max_prepared_statements > 0"
REMEDIES: Final[Remedies] = {
    "pooler-26000": (Remedy("prepareThreshold=0 in the URL", "pgjdbc-threshold"), Remedy(_NEWER_POOLER, "pgjdbc-newer")),
    "pooler-42P05": (Remedy("prepareThreshold=0 in the URL", "pgjdbc-threshold-42P05"), Remedy(_NEWER_POOLER, "pgjdbc-newer-42P05")),
    "pipeline-error": (Remedy("INSERT ... ON CONFLICT in the batch", "pgjdbc-on-conflict", needs=("a duplicate",)),),
    "aborted-transaction": (
        Remedy("connection.rollback() at the first error", "pgjdbc-rollback"),
        Remedy("autosave=always in the URL: a savepoint before each statement", "pgjdbc-autosave"),
    ),
    "n+1": (
        Remedy("WHERE column = ANY(?) with Connection.createArrayOf() to read", "pgjdbc-any", needs=("reads",)),
        Remedy("addBatch() and executeBatch() to write, with reWriteBatchedInserts=true in the URL", "pgjdbc-batch", needs=("writes",)),
    ),
    "prepared-once": (
        Remedy("keep the PreparedStatement; values as parameters; prepareThreshold=5, the default, names nothing before the fifth run"),
    ),
    "driver-overhead": (
        Remedy(
            "HikariCP: no connectionTestQuery; isValid() is called only after aliveBypassWindowMs",
            "pgjdbc-pool-checks",
            unless=("a savepoint around one statement",),
        ),
    ),
    "begin-commit": (Remedy("setAutoCommit(true), the default; BEGIN is sent with the first statement, COMMIT is not"),),
    "fetch-size": (Remedy("setFetchSize(100) or more, or defaultRowFetchSize in the URL", "pgjdbc-fetch-size"),),
    "connect": (Remedy("HikariCP or another DataSource that pools", "pgjdbc-pool"),),
    "prepared-leak": (Remedy("pass values as parameters ?, not in the text", "pgjdbc-parameters-leak", needs=("values in the text",)),),
    "re-parse": (
        Remedy(
            "prepareThreshold=5, the default, prepares from the fifth execution of one text",
            "pgjdbc-prepares",
            unless=("pooler", "types alternate", "prepares"),
        ),
        Remedy(
            "a PreparedStatement instead of a Statement, which is parsed each time",
            "pgjdbc-no-statement",
            needs=("prepares",),
            unless=("pooler", "types alternate"),
        ),
        Remedy(
            "use one setter per parameter: setInt() and setLong() in turn make two statements, parsed again each time",
            "pgjdbc-one-setter",
            needs=("types alternate",),
        ),
    ),
}
DRIVER: Final = Client(NAME, evidence, REMEDIES)
