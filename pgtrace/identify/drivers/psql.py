"""psql: application_name, and the catalog queries of its backslash commands.

libpq's start-up packet with application_name=psql (unless PGAPPNAME says otherwise; client_encoding
only on a terminal). The name is evidence of psql without SSLRequest too, with sslmode=disable.
Simple queries as typed, with their semicolon; `\\bind` is an unnamed `PBDES`, `\\parse` a named
statement, `\\gdesc` `PS · DS · Q`. The queries of `\\d` and the like have their own form.

Seen with psql 15 and 18.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace.identify.drivers.client import Client
from pgtrace.identify.drivers.evidence import Evidence, first
from pgtrace.identify.remedies import Remedy

NAME: Final = "psql"
_BACKSLASH: Final = re.compile(r'SELECT [a-z]+\.\w+ as "(?:Schema|Name)",\n  ')


def evidence(seen: Evidence) -> tuple[str, ...]:
    """The evidence for psql."""
    found: list[str] = []
    if ("application_name", "psql") in seen.startup_parameters and seen.has_libpq_packet:
        found.append("application_name is psql, in libpq's start-up packet")
    if first(_BACKSLASH, seen.queries) is not None:
        found.append("catalog queries of backslash commands")
    return tuple(found)


REMEDIES: Final = {
    "n+1": (Remedy("use one statement for all values, or \\copy to write"),),
    "connect": (Remedy("run several commands with one psql -c ... -c ..., or -f"),),
}
DRIVER: Final = Client(NAME, evidence, REMEDIES)
