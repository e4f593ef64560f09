"""open-portal: a portal is left suspended without a Sync, and the session waits with it.

Until the Sync the implicit transaction is open: its snapshot and locks are held, and what else
wants the connection waits behind the cursor. Told by PortalSuspended outside a transaction block,
behind which no Sync, Close or Execute came for IDLE_NS. Inside a block a cursor may stay open.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.remedies import Remedy
from pgtrace.judge.findings.kind import Kind, Note, Seen, Step, Watch, shown, times

IDLE_NS: Final = 1_000_000_000


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._open: Step | None = None

    def row(self, step: Step) -> None:
        if self._open is not None and step.pause_ns is not None:
            self._left(self._open, step.pause_ns, step.place)
        suspended = step.shape.received[-1:] == b"s" and step.shape.status_before == "I"
        self._open = step if suspended else None

    def ended(self, place: int, pause_ns: int | None, words: str) -> None:
        if self._open is not None and pause_ns is not None:
            self._left(self._open, pause_ns, place)
        self._open = None

    def lost(self) -> None:
        self._open = None

    def _left(self, step: Step, pause_ns: int, place: int) -> None:
        if pause_ns < IDLE_NS or not step.counts:
            return
        note = self.seen.note(KIND, step.key)
        note.times += 1
        note.amount += pause_ns
        note.show(step.place, f"PortalSuspended without a Sync, then {pause_ns / 1e9:.1f} s of nothing")
        note.show(place, "what comes next")
        self.seen.row_of(step.place, KIND)


def _what(note: Note) -> str:
    return f"{shown(note)}: a portal left suspended without a Sync {times(note.times)}, {note.amount / 1e9:.1f} s in all"


KIND: Final = Kind(
    name="open-portal",
    unit="s open",
    why="Without a Sync the implicit transaction stays open, with its snapshot and its locks, and no other query can use the connection.",
    watch=_Watch,
    what=_what,
    told=lambda note: note.times > 0,
    number=lambda note: max(1, round(note.amount / 1e9)),
    remedies=(Remedy("read the cursor to its end, or close it, before doing something else; a connection of its own for a long cursor"),),
)
