"""postgres.js (`postgres`): its start-up packet, its look-up of array types, its statement names.

StartupMessage, without SSLRequest unless ssl is set: user, database, client_encoding=UTF8,
application_name=postgres.js (or as configured), then the settings in `connection`. The first query
of every connection is preceded by a SELECT of all array types from pg_type, unless fetch_types is
off. Statement names are 8 to 12 characters generated for each connection and a counter:
`9er8hxj4kyj1`, `9er8hxj4kyj2`. A query with values is `PDH · BES` the first time, then `BES`; one
without `PDBES`. With prepare: false they are unnamed, and `PDH · BES` each time. `.cursor()` is
`PDBEH`, then `EH`, and `S`. `begin` is a Query with a blank after it.

Seen with postgres.js 3.4.9: prepare and fetch_types on and off, cursors, savepoints, listen, COPY.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace.identify.drivers.client import Client
from pgtrace.identify.drivers.evidence import Evidence, first
from pgtrace.identify.drivers.names import DrawnNames
from pgtrace.identify.remedies import Remedy

NAME: Final = "postgres.js"
_STARTUP: Final = ["user", "database", "client_encoding", "application_name"]
_TYPES: Final = re.compile(
    r"\A\s+select b\.oid, b\.typarray\s+from pg_catalog\.pg_type a\s+left join pg_catalog\.pg_type b on b\.oid = a\.typelem"
)
_STATEMENT: Final = re.compile(r"\A[0-9a-z]{5,13}[1-9]\d*\Z")
DRAWN_NAMES: Final = DrawnNames(re.compile(r"([0-9a-z]{5,13}[1-9]\d*)"), distinct=False)


def evidence(seen: Evidence) -> tuple[str, ...]:
    """The evidence for postgres.js."""
    parameters = seen.startup_parameters
    packet = [name for name, _ in parameters[:4]] == _STARTUP and parameters[2][1] == "UTF8"
    found: list[str] = []
    if packet and parameters[3][1] == "postgres.js":
        found.append("application_name is postgres.js, after client_encoding")
    if first(_TYPES, seen.queries) is not None:
        found.append("the look-up of array types")
    if packet and first(_STATEMENT, seen.statement_names) is not None:
        found.append("statement names of drawn characters and a counter")
    if packet and any(one.startswith(("PDB", "PDH")) for one in seen.sent):
        found.append("Describe before Bind")
    return tuple(found)


REMEDIES: Final = {
    "pooler-26000": (Remedy("prepare: false; or PgBouncer 1.21 or later with max_prepared_statements > 0"),),
    "pooler-42P05": (Remedy("prepare: false; or PgBouncer 1.21 or later with max_prepared_statements > 0"),),
    "n+1": (
        Remedy(
            "WHERE column IN ${sql(values)} to read; sql`insert into ... ${sql(rows)}` to write; queries not awaited one by one "
            "are sent together"
        ),
    ),
    "extra-describe": (Remedy("prepare: true, the default, keeps statements", unless=("pooler",)),),
    "prepared-once": (Remedy("values as ${value}, not in sql.unsafe() text", needs=("values in the text",)),),
    "connect": (Remedy("postgres() once for the whole process; idle_timeout and max_lifetime unset"),),
    "prepared-leak": (Remedy("values as ${value}; prepare: false for texts that the program assembles", needs=("values in the text",)),),
    "re-parse": (Remedy("prepare: true, the default, keeps statements", unless=("pooler",)),),
}
DRIVER: Final = Client(NAME, evidence, REMEDIES, introspection=_TYPES, drawn_names=DRAWN_NAMES)
