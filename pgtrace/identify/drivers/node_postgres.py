"""node-postgres (`pg`): a start-up packet that ends in client_encoding, and `n=*` in SCRAM.

StartupMessage, without SSLRequest unless ssl is set: user, database, application_name, replication,
statement_timeout, lock_timeout, idle_in_transaction_session_timeout, options, each if set, and
client_encoding=UTF8 last. Nothing is asked at set-up. A query without values is a Query; one with
values is `PBDES` each time, unnamed, without type OIDs, values and results as text; with a `name`
it is Parsed once, then `BDES`. With `pipeline: true` `PBDES×n`. pg-cursor is `PBDHEH`, then `EH`
and `CS`, its portals `C_<n>`; `rows` is `PBDEH`, then `EH` and `S`.

libpq sends the same packet if client_encoding is set; the length of the SCRAM message differs
(`n=*` for an empty user name). If the server did not ask for SCRAM, the packet without SSLRequest
and a query of the form above are needed.

Seen with pg 8.23.1, pg-pool, pg-cursor 2.22, pg-copy-streams 7.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace.describe import notation
from pgtrace.identify.drivers.client import Client
from pgtrace.identify.drivers.evidence import Evidence, first
from pgtrace.identify.remedies import Remedies, Remedy

NAME: Final = "node-postgres"
_ORDER: Final = (
    "user", "database", "application_name", "replication", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout",
    "options",
    "client_encoding",
)  # fmt: skip
_TIMEOUTS: Final = _ORDER[4:7]
_SCRAM: Final = 33
"""The length of `n,,n=*,r=` and 24 characters."""
_PARAMETER: Final = re.compile(r"\$\d")
"""A query without values is a Query."""
_CURSOR: Final = re.compile(r"\AC_\d+\Z")


def evidence(seen: Evidence) -> tuple[str, ...]:
    """The evidence for node-postgres."""
    names = [name for name, _ in seen.startup_parameters]
    if not _is_packet(names) or seen.startup_parameters[-1] != ("client_encoding", "UTF8"):
        return ()
    sent = seen.sent
    found: list[str] = []
    if seen.scram_bytes == _SCRAM:
        found.append("n=* in SCRAM")
    if any(name in names for name in _TIMEOUTS):
        found.append("timeouts before client_encoding")
    if sent["PBDHEH"] and first(_CURSOR, seen.portal_names) is not None:
        found.append("pg-cursor's Describe Flush before Execute Flush, portal names C_<n>")
    untyped = bool(seen.parameter_types) and not any(seen.parameter_types) and first(_PARAMETER, seen.queries) is not None
    if untyped and not seen.scram_bytes and notation.SSL not in seen.first_codes and any(one.startswith("PBDES") for one in sent):
        found.append("Parse Bind Describe Execute without types, on a packet that libpq would begin with SSLRequest")
    return (*found, "client_encoding=UTF8 ends the start-up packet") if found else ()


def _is_packet(names: list[str]) -> bool:
    known = all(name in _ORDER for name in names)
    return known and names[:2] == ["user", "database"] and sorted(names, key=_ORDER.index) == names


REMEDIES: Final[Remedies] = {
    "n+1": (
        Remedy("WHERE column = ANY($1) with an array to read", "node-postgres-any", needs=("reads",)),
        Remedy("INSERT ... SELECT unnest($1) to write", "node-postgres-unnest", needs=("writes",)),
    ),
    "connect": (Remedy("new Pool() once, pool.query() instead of new Client() for each request", "node-postgres-pool"),),
    "prepared-leak": (
        Remedy(
            "use one name per text: { name, text, values }; a named statement lives as long as its connection",
            "node-postgres-one-name",
            needs=("one text",),
        ),
    ),
    "re-parse": (
        Remedy(
            "client.query({name: '...', text, values}): a named query is parsed once per connection",
            "node-postgres-named",
            unless=("pooler",),
        ),
    ),
}
DRIVER: Final = Client(NAME, evidence, REMEDIES)
