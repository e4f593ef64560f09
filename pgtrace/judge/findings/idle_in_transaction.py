"""idle-in-transaction: the application pauses inside a transaction block, which holds its locks,
its snapshot and its server connection meanwhile.

Told by the status: time between the end of one round trip and the beginning of the next, or the end
of the session or of the capture, while the status is T or E, IDLE_NS or more at once; and any time
that the server itself ended for being too long. It costs no round trip.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.remedies import Remedy
from pgtrace.judge.findings.kind import Kind, Note, Seen, Step, Watch

IDLE_NS: Final = 1_000_000_000
_TIMED_OUT: Final = frozenset({"25P03", "25P04"})
"""idle_in_transaction_session_timeout and transaction_timeout."""


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._before: Step | None = None

    def row(self, step: Step) -> None:
        before, self._before = self._before, step
        pause = step.pause_ns
        if pause is not None and pause >= IDLE_NS and step.counts:
            self._idle(before, step.shape.status_before, pause, step.place, "goes on")

    def ended(self, place: int, pause_ns: int | None, words: str) -> None:
        before, self._before = self._before, None
        timed_out = words in _TIMED_OUT
        if before is not None and before.counts and pause_ns is not None and (pause_ns >= IDLE_NS or timed_out):
            self._idle(before, before.shape.status, pause_ns, place, f"ended by the server with {words}" if timed_out else words)

    def _idle(self, before: Step | None, status: str, pause_ns: int, place: int, words: str) -> None:
        if before is None or status not in ("T", "E"):
            return
        note = self.seen.note(KIND)
        note.times += 1
        note.amount += pause_ns
        note.show(before.place, f"then {pause_ns / 1e9:.1f} s without a message, status {status}")
        note.show(place, words)
        self.seen.row_of(place, KIND)

    def lost(self) -> None:
        self._before = None


def _what(note: Note) -> str:
    times = "once" if note.times == 1 else f"{note.times} times"
    return f"a transaction waited for its application {times}, {note.amount / 1e9:.1f} s in all"


KIND: Final = Kind(
    name="idle-in-transaction",
    unit="s idle",
    why="Locks, the snapshot that keeps VACUUM from its work, and the pooler's server connection are held while the application does something else.",
    watch=_Watch,
    what=_what,
    told=lambda note: note.times > 0,
    number=lambda note: max(1, round(note.amount / 1e9)),
    remedies=(Remedy("do slow work before BEGIN or after COMMIT; idle_in_transaction_session_timeout in the server bounds it"),),
)
