"""sqlx for Rust: three settings in its start-up packet, its own names, and a Close after every
Execute.

StartupMessage: user, database, then DateStyle=`ISO, MDY`, client_encoding=UTF8, TimeZone=UTC in
this order, then extra_float_digits=2, application_name and options as set. SSLRequest goes before
(sslmode=prefer) only where sqlx was built with TLS. Statements `sqlx_s_<n>` per connection,
savepoints `_sqlx_savepoint_<n>`; with persistent(false) the statement is unnamed.

A query is `PDS · BECS`, later `BECS`: it closes the unnamed portal. 100 statements are kept; the
Close of the one that gives way is a round trip, `CS`. With statement_cache_capacity(0) the names
stay, and no statement is closed. Its ping is a Sync alone: the pool sends one before and one after
every use.

Seen with sqlx 0.9.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace.identify.drivers.client import Client
from pgtrace.identify.drivers.evidence import Evidence, first
from pgtrace.identify.remedies import Remedy

NAME: Final = "sqlx"
_SETTINGS: Final = (("DateStyle", "ISO, MDY"), ("client_encoding", "UTF8"), ("TimeZone", "UTC"))
_STATEMENT: Final = re.compile(r"\Asqlx_s_\d+\Z")
_SAVEPOINT: Final = re.compile(r"\A(?:(?:RELEASE|ROLLBACK TO) )?SAVEPOINT _sqlx_savepoint_\d+\Z")


def evidence(seen: Evidence) -> tuple[str, ...]:
    """The evidence for sqlx."""
    found: list[str] = []
    settings = tuple(one for one in seen.startup_parameters if one[0] not in {"user", "database"})
    if settings[: len(_SETTINGS)] == _SETTINGS:
        found.append("DateStyle, client_encoding and TimeZone, in this order")
    if first(_STATEMENT, seen.statement_names) is not None:
        found.append("statement names sqlx_s_<n>")
    if first(_SAVEPOINT, seen.queries) is not None:
        found.append("savepoint names _sqlx_savepoint_<n>")
    if found and seen.sent["BECS"]:
        found.append("Bind Execute Close Sync")
    return tuple(found)


REMEDIES: Final = {
    "pooler-26000": (
        Remedy("PgBouncer 1.21 or later with max_prepared_statements > 0; query.persistent(false) holds only while clients do not overlap"),
    ),
    "pooler-42P05": (
        Remedy("PgBouncer 1.21 or later with max_prepared_statements > 0; query.persistent(false) holds only while clients do not overlap"),
    ),
    "n+1": (Remedy("WHERE column = ANY($1) with a Vec to read; INSERT ... SELECT * FROM UNNEST($1, $2) to write"),),
    "extra-describe": (Remedy("query.persistent(true), the default, keeps the statement", unless=("pooler",)),),
    "prepared-once": (Remedy("values bound, not in the text; query.persistent(false) for what runs once"),),
    "driver-overhead": (
        Remedy("PoolOptions::test_before_acquire(false) saves one of the two; one transaction or acquire() for a unit of work"),
    ),
    "connect": (Remedy("one PgPool for the whole process"),),
    "prepared-leak": (Remedy("bind() values; statement_cache_capacity(100), the default: with 0 nothing is ever closed"),),
    "split-unnamed": (
        Remedy("query.persistent(true) with PgBouncer 1.21 or later and max_prepared_statements > 0; or a transaction around the query"),
    ),
}
DRIVER: Final = Client(NAME, evidence, REMEDIES)
