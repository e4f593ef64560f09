"""Hibernate: the aliases of its tables.

Certain: every table has an alias made of its first letter, a number and `_0`, which precedes every
column, without a blank after a comma: `select i1_0.id,i1_0.name from item i1_0 where i1_0.id=$1`.
Inserts, updates and deletes have no alias, and are not evidence. Nor are the queries at the start
(keywords, schema, catalog, isolation), which are JDBC's own.

Transactions are the driver's: pgjdbc sends BEGIN together with the first statement, and COMMIT is a
round trip.

Seen with Hibernate 7.4.15 over pgjdbc 42.7.14.
"""

from __future__ import annotations

import re
from typing import Final

from pgtrace.identify.drivers.client import Client
from pgtrace.identify.drivers.evidence import Evidence, first
from pgtrace.identify.remedies import Remedy

NAME: Final = "hibernate"
_ALIASES: Final = re.compile(r"\Aselect (?:distinct )?([a-z]+\d+_\d+)\.\w[^\n]* from [\w.]+ \1(?: |\Z)")


def evidence(seen: Evidence) -> tuple[str, ...]:
    """The evidence for Hibernate."""
    return ("aliases like i1_0, in select i1_0.id,... from item i1_0",) if first(_ALIASES, seen.queries) is not None else ()


REMEDIES: Final = {
    "n+1": (Remedy("JOIN FETCH or hibernate.default_batch_fetch_size to read; hibernate.jdbc.batch_size to write"),),
    "begin-commit": (Remedy("read without a transaction, or several statements in one"),),
}
LAYER: Final = Client(NAME, evidence, REMEDIES)
