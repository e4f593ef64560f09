"""used-after-fatal: the server has said FATAL and ended the session, and the driver still sends
statements.

Told by round trips that opened after the FATAL error was handed on. What crosses it on the way is
none: CROSSES_NS. An idle connection of a pool notices at its next use; how long after that was is
said.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.remedies import Remedy
from pgtrace.judge.findings.kind import FAILED, Kind, Note, Step, Watch, nothing, times

CROSSES_NS: Final = 5_000_000


class _Watch(Watch):
    def used_after(self, fatal: Step, step: Step) -> None:
        after_ns = step.opened_ns - fatal.opened_ns - fatal.duration_ns
        if after_ns < CROSSES_NS or not step.counts:
            return
        note = self.seen.note(KIND, fatal.sqlstate)
        note.times += 1
        note.amount = max(note.amount, after_ns)
        if note.times == 1:
            note.show(fatal.place, "the server ends the session")
        note.show(step.place, f"sent {_span(after_ns)} later: nobody answers")
        self.seen.row_of(step.place, KIND)


def _span(ns: int) -> str:
    return f"{ns / 1e9:.1f} s" if ns >= 1e9 else f"{ns / 1e6:.0f} ms"


def _what(note: Note) -> str:
    return f"used {times(note.times)} after the server had ended the session with {note.subject}, up to {_span(note.amount)} later"


KIND: Final = Kind(
    name="used-after-fatal",
    unit=FAILED,
    why="After a FATAL error the session is over; a pool that does not look hands it out all the same, and the next statement fails.",
    watch=_Watch,
    what=_what,
    told=lambda note: note.times > 0,
    number=lambda note: note.times,
    cares=nothing,
    remedies=(Remedy("let the pool check a connection that was idle, or try a statement again on a new connection where that is safe"),),
)
