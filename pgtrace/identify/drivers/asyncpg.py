"""asyncpg: its start-up packet alone is certain, its names too.

StartupMessage: client_encoding first, with quotes inside the value (`'utf-8'`), then user, database, then server_settings. Named statements
`__asyncpg_stmt_<hex>__`, portals and savepoints `__asyncpg_portal_<hex>__`, `__asyncpg_savepoint_<hex>__`; one counter for all, per process. A query is
`PDH · BES`, later `BES`; with statement_cache_size=0 the statement is unnamed and `PDH · PBES`. BEGIN, COMMIT, ROLLBACK with a semicolon. Its pool resets a
connection that is given back by one Query of four statements.

Seen with asyncpg 0.32, with and without SSLRequest, statement cache and server_settings.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace.identify.drivers.evidence import Evidence, first
from pgtrace.identify.drivers.names import DrawnNames

NAME: Final = "asyncpg"
_STARTUP: Final = ("client_encoding", "'utf-8'")
_RESET: Final = "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL"
_NAMES: Final = re.compile(r"__asyncpg_(stmt|portal|savepoint)_[0-9a-f]+__")
DRAWN_NAMES: Final = DrawnNames(re.compile(r"__asyncpg_(?:[a-z]+_)?([0-9a-f]+(?:-[0-9a-f]+){0,4})__"), distinct=True)
"""Numbers of the process, or UUIDs where SQLAlchemy names them."""


def evidence(seen: Evidence) -> tuple[str, ...]:
    """What speaks for asyncpg."""
    found: list[str] = []
    if starts(seen):
        found.append("client_encoding is 'utf-8' with quotes")
    for what, texts in (("statement", seen.statement_names), ("portal", seen.portal_names), ("savepoint", seen.queries)):
        match = first(_NAMES, texts)
        if match is not None:
            found.append(f"{what} names __asyncpg_{match.group(1)}_<hex>__")
    if found and any(sent in ("PDH", "DH") for sent in seen.sent):
        found.append("Parse Describe Flush, then Bind Execute Sync")
    return tuple(found)


def starts(seen: Evidence) -> bool:
    """Whether the connection began as asyncpg begins one."""
    return _STARTUP in seen.startup_parameters


def resets(seen: Evidence) -> bool:
    """Whether a pool of asyncpg's has reset the connection."""
    return starts(seen) and _RESET in seen.queries
