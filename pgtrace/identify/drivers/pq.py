"""pq, Go's lib/pq: two settings that it always sends, and every query parsed again.

StartupMessage: user, database, options and application_name if set, then always
client_encoding=UTF8 and datestyle=`ISO, MDY`. Until 1.10 they came in any order, with
extra_float_digits=2. libpq sends the last two with these values as well, if the environment sets
them. It asks for encryption first, as pq does with sslmode=require (its default) or prefer. So
after an SSLRequest one of pq's own habits must be seen, too:

- a query is `PDS · BES` with an unnamed statement, each time; libpq never puts Describe after
  Parse, nor Execute after Bind;
- prepared statements are called `1`, `2`, per connection, and closed by `CS`;
- BEGIN says READ WRITE or READ ONLY; Ping is the Query `;`.

With binary_parameters=yes a query is `PBDES`. COPY is by Query, `COPY "item" ("id", "name") FROM
STDIN`. A Listener is a connection of Queries.

Seen with pq 1.12 and 1.10.9, with binary_parameters and without.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace.describe import notation
from pgtrace.identify.drivers.client import Client
from pgtrace.identify.drivers.evidence import Evidence, first
from pgtrace.identify.remedies import Remedy

NAME: Final = "pq"
_ALWAYS: Final = (("client_encoding", "UTF8"), ("datestyle", "ISO, MDY"))
_BEGIN: Final = re.compile(r"\ABEGIN(?: ISOLATION LEVEL [A-Z ]+)? READ (?:WRITE|ONLY)\Z")
_NUMBER: Final = re.compile(r"\A\d+\Z")


def evidence(seen: Evidence) -> tuple[str, ...]:
    """The evidence for pq."""
    if any(always not in seen.startup_parameters for always in _ALWAYS):
        return ()
    habits = _habits(seen)
    if notation.SSL in seen.first_codes and not habits:
        return ()
    return ("client_encoding is UTF8 and datestyle is ISO, MDY", *habits)


def _habits(seen: Evidence) -> list[str]:
    found: list[str] = []
    if seen.sent["PDS"] and seen.sent["BES"]:
        found.append("Parse Describe Sync, then Bind Execute Sync")
    if first(_NUMBER, seen.statement_names) is not None:
        found.append("statement names 1, 2, ...")
    if first(_BEGIN, seen.queries) is not None:
        found.append("BEGIN with READ WRITE or READ ONLY")
    if ";" in seen.queries:
        found.append("Ping is the query ;")
    return found


REMEDIES: Final = {
    "n+1": (Remedy("WHERE column = ANY($1) with pq.Array() to read; pq.CopyIn() to write"),),
    "extra-describe": (Remedy("binary_parameters=yes sends Parse, Bind and Execute together; db.Prepare() keeps the statement"),),
    "prepared-once": (Remedy("db.Prepare() once and keep the *sql.Stmt"),),
    "begin-commit": (Remedy("db.Exec() or db.Query() instead of db.Begin() for a single statement"),),
    "connect": (Remedy("one sql.DB for the whole process, with SetMaxIdleConns above the default of 2"),),
    "split-unnamed": (Remedy("binary_parameters=yes sends Parse, Bind and Execute together"),),
    "re-parse": (Remedy("db.Prepare() once and keep the *sql.Stmt"),),
}
DRIVER: Final = Client(NAME, evidence, REMEDIES)
