"""open-portal: a portal is left suspended without a Sync, and blocks the session.

Until the Sync, the implicit transaction stays open: its snapshot and locks are held, and nothing
else can use the connection. Recognised by PortalSuspended outside a transaction block, followed by
no Sync, Close or Execute for IDLE_NS. Inside a block a portal may stay open.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.remedies import Remedy
from pgtrace.judge.findings.kind import PAUSED_NS, Kind, Note, Step, Watch, in_seconds, nothing, seconds, shown, times

IDLE_NS: Final = PAUSED_NS


class _Watch(Watch):
    def paused(self, before: Step, place: int, pause_ns: int, words: str, *, counts: bool) -> None:
        suspended = before.shape.received[-1:] == b"s" and before.shape.status_before == "I"
        if not suspended or pause_ns < IDLE_NS or not counts:
            return
        note = self.seen.note(KIND, before.key)
        note.times += 1
        note.amount += pause_ns
        note.show(before.place, f"PortalSuspended without a Sync, then {seconds(pause_ns)} without a message")
        note.show(place, "what comes next")
        self.seen.row_of(before.place, KIND)


def _what(note: Note) -> str:
    return f"{shown(note)}: a portal left suspended without a Sync {times(note.times)}, {seconds(note.amount)} in all"


KIND: Final = Kind(
    name="open-portal",
    unit="s open",
    why="Without a Sync the implicit transaction stays open, with its snapshot and its locks, and no other query can use the connection.",
    watch=_Watch,
    what=_what,
    is_reported=lambda note: note.times > 0,
    number=lambda note: in_seconds(note.amount),
    cares=nothing,
    remedies=(Remedy("read the cursor to its end, or close it, before you do anything else; use a separate connection for a long cursor"),),
)
