"""pooler-added: the pooler sends statements of its own to the server, again and again.

Needs both sides of a pooler: it is a round trip behind the pooler that no driver asked for. It is
attributed to the driver of the next round trip. PgBouncer 1.18 with asyncpg sends SET
client_encoding each time the server connection changes, because it compares asyncpg's setting
('utf-8', including the quotes) with the server's (UTF8). Reported from TIMES of them, if they are
at least one in twenty of the server's round trips.
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
    is_reported=lambda note: note.times >= TIMES and note.times * ONE_IN >= note.amount,
    cares=nothing,
    remedies=(Remedy("use a newer pooler: PgBouncer 1.24 does this once per server connection"),),
)
