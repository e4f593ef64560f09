"""sqlx for Rust: three settings in its start-up packet, its own names, and a Close after every
Execute.

StartupMessage: user, database, then DateStyle=`ISO, MDY`, client_encoding=UTF8, TimeZone=UTC in
this order, then extra_float_digits=2, application_name and options as set. SSLRequest goes before
(sslmode=prefer) only where sqlx was built with TLS. Statements `sqlx_s_<n>` per connection,
savepoints `_sqlx_savepoint_<n>`; with persistent(false) the statement is unnamed.

A query is `PDS · BECS`, later `BECS`: it closes the unnamed portal. 100 statements are kept;
closing the oldest to make room is a round trip, `CS`. With statement_cache_capacity(0) the names
stay, and no statement is closed. Its ping is a Sync alone: the pool sends one before and one after
every use.

Seen with sqlx 0.9.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace.identify.drivers.client import Client
from pgtrace.identify.drivers.evidence import Evidence, first
from pgtrace.identify.remedies import Remedies, Remedy

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


_NEWER_POOLER: Final = "PgBouncer 1.21 or later with max_prepared_statements > 0"
_OVERLAP: Final = Remedy("query.persistent(false), which helps only while clients do not overlap")
REMEDIES: Final[Remedies] = {
    "pooler-26000": (Remedy(_NEWER_POOLER, "sqlx-newer"), _OVERLAP),
    "pooler-42P05": (Remedy(_NEWER_POOLER, "sqlx-newer-42P05"), _OVERLAP),
    "n+1": (
        Remedy("WHERE column = ANY($1) with a Vec to read", "sqlx-any", needs=("reads",)),
        Remedy("INSERT ... SELECT * FROM UNNEST($1, $2) to write", "sqlx-unnest", needs=("writes",)),
    ),
    "extra-describe": (Remedy("query.persistent(true), the default, keeps the statement", "sqlx-persistent", unless=("pooler",)),),
    "prepared-once": (
        Remedy("values bound, not in the text", "sqlx-bound", needs=("values in the text",)),
        Remedy("statement_cache_capacity(100), the default: with 0 nothing is ever closed", "sqlx-capacity", needs=("one text",)),
    ),
    "driver-overhead": (
        Remedy("one acquire(), or one transaction, for a unit of work", "sqlx-one-acquire", unless=("a savepoint around one statement",)),
        Remedy("PoolOptions::test_before_acquire(false) saves one of two Syncs per use", unless=("a savepoint around one statement",)),
    ),
    "connect": (Remedy("one PgPool for the whole process", "sqlx-pool"),),
    "prepared-leak": (Remedy("bind() values, not in the text", "sqlx-bound-leak", needs=("values in the text",)),),
    "split-unnamed": (Remedy("behind a pooler, put a transaction around the query", "sqlx-transaction"),),
}
DRIVER: Final = Client(NAME, evidence, REMEDIES)
