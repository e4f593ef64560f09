"""pooler-added: the pooler asks the server something of its own, again and again.

Only where both sides of a pooler were recorded: it is a round trip behind the pooler that no driver
asked for. The driver is that of the round trip before which the pooler did it. PgBouncer 1.18 under
asyncpg sends SET client_encoding for each change of the server connection, because it compares what
asyncpg asked for ('utf-8', quotes and all) with what the server reports (UTF8). Reported from TIMES
of them on, and from one in twenty of the server's round trips.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.remedies import Remedy
from pgtrace.judge.findings.kind import ROUND_TRIPS, Kind, Note, Watch, nothing, shown

TIMES: Final = 10
ONE_IN: Final = 20


def _what(note: Note) -> str:
    return f"{shown(note)}: {note.times} times by the pooler itself, {note.times / max(1, note.amount):.0%} of the server's round trips"


KIND: Final = Kind(
    name="pooler-added",
    unit=ROUND_TRIPS,
    why="The driver waits for these statements as it does for its own, and each one keeps a server connection busy.",
    watch=Watch,
    what=_what,
    told=lambda note: note.times >= TIMES and note.times * ONE_IN >= note.amount,
    cares=nothing,
    remedies=(Remedy("use a newer pooler: PgBouncer 1.24 does this once per server connection"),),
)
