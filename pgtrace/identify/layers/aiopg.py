"""aiopg: its first query, in one line where psycopg2's own has four.

A connection's first query asks for hstore's OID (unless enable_hstore=False): `SELECT t.oid,
typarray FROM pg_type t JOIN pg_namespace ns ON typnamespace = ns.oid WHERE typname = 'hstore';`.
register_hstore of psycopg2, which SQLAlchemy calls, breaks the same text into lines. Everything
else is psycopg2's, always in autocommit. A time-out closes the connection and cancels nothing, so a
Terminate may follow a Query without an answer.

Seen with aiopg 1.4, psycopg2 2.9.13.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.drivers.client import Client
from pgtrace.identify.drivers.evidence import Evidence
from pgtrace.identify.drivers.psycopg2 import AIOPG_LOOK_UP

NAME: Final = "aiopg"


def evidence(seen: Evidence) -> tuple[str, ...]:
    """The evidence for aiopg."""
    return ("its look-up of hstore's OID, in one line",) if seen.is_libpq and AIOPG_LOOK_UP in seen.queries else ()


LAYER: Final = Client(NAME, evidence)
