"""Rails' ActiveRecord: four settings on every connection, and its own look-up of types.

Certain:

- each connection begins with the Queries `SET client_min_messages TO 'warning'`, `SET
  standard_conforming_strings = on`, `SET intervalstyle = iso_8601` and `SET SESSION timezone TO
  'UTC'`, a round trip each;
- the look-up of types, `SELECT t.oid, t.typname, t.typelem, t.typdelim, t.typinput, r.rngsubtype,
  ... FROM pg_type as t LEFT JOIN pg_range as r`.

Together with one of these: `SELECT "item".* FROM "item" WHERE "item"."id" = $1 LIMIT $2`;
statements named `a<n>`, each prepared in a round trip of its own, `PS · BDES`, and dropped by
DEALLOCATE. The catalog queries at the first use of a model are sent once per process.

Seen with ActiveRecord 6.1.7 over ruby-pg 1.4.5.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace.identify.drivers.client import Client
from pgtrace.identify.drivers.evidence import Evidence, first
from pgtrace.identify.remedies import Remedy

NAME: Final = "rails"
_SETTINGS: Final = frozenset(
    {"SET client_min_messages TO 'warning'", "SET standard_conforming_strings = on", "SET intervalstyle = iso_8601"}
)
_TYPES: Final = "SELECT t.oid, t.typname, t.typelem, t.typdelim, t.typinput, r.rngsubtype,"
_STAR: Final = re.compile(r'\ASELECT "([^"]+)"\.\* FROM "\1"')
_STATEMENT: Final = re.compile(r"\Aa\d+\Z")


def evidence(seen: Evidence) -> tuple[str, ...]:
    """The evidence for ActiveRecord."""
    found: list[str] = []
    if _SETTINGS.issubset(seen.queries):
        found.append("its settings: SET client_min_messages, standard_conforming_strings, intervalstyle")
    if any(query.startswith(_TYPES) for query in seen.queries):
        found.append("its look-up of types in pg_type and pg_range")
    if found and first(_STAR, seen.queries) is not None:
        found.append('whole rows as "item".*')
    if found and first(_STATEMENT, seen.statement_names) is not None:
        found.append("statement names a<n>")
    return tuple(found)


REMEDIES: Final = {
    "pooler-26000": (Remedy("prepared_statements: false in database.yml"),),
    "pooler-42P05": (Remedy("prepared_statements: false in database.yml"),),
    "n+1": (Remedy("includes() or preload() to read; insert_all to write"),),
    "prepared-once": (
        Remedy("bound values (where(id: value)), so that the statement cache finds them again", needs=("values in the text",)),
    ),
    "begin-commit": (Remedy("save outside transaction do; insert_all and update_all send one statement"),),
    "prepared-leak": (
        Remedy("bound values; statement_limit in database.yml limits the number of statements", needs=("values in the text",)),
    ),
    "re-parse": (Remedy("prepared_statements: true in database.yml, the default", unless=("pooler",)),),
}
LAYER: Final = Client(NAME, evidence, REMEDIES)
