"""used-after-fatal: the server has sent FATAL and ended the session, and the driver still sends
statements.

Recognised by round trips that opened more than CROSSES_NS after the FATAL error was passed on; what
was on its way then does not count. An idle connection of a pool notices at its next use; the
finding says how long after.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.remedies import Remedy
from pgtrace.judge.findings.kind import FAILED, Kind, Note, Step, Watch, nothing, seconds, times

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
        note.show(step.place, f"sent {seconds(after_ns)} later: no answer")
        self.seen.row_of(step.place, KIND)


def _what(note: Note) -> str:
    return f"used {times(note.times)} after the server had ended the session with {note.subject}, up to {seconds(note.amount)} later"


KIND: Final = Kind(
    name="used-after-fatal",
    unit=FAILED,
    why="After a FATAL error the session is over. A pool that does not check gives it out anyway, and the next statement fails.",
    watch=_Watch,
    what=_what,
    told=lambda note: note.times > 0,
    number=lambda note: note.times,
    cares=nothing,
    remedies=(Remedy("let the pool check a connection that was idle, or retry a statement on a new connection if that is safe"),),
)
