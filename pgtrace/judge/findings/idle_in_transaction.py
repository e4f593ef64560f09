"""idle-in-transaction: the application pauses inside a transaction block, which keeps its locks,
its snapshot and its server connection meanwhile.

Recognised by the transaction status: a pause of IDLE_NS or more in status T or E, from the end of
one round trip to the beginning of the next, or to the end of the session or of the capture. A
shorter pause counts if the server ended it with a time-out; the finding is then part of
server-ended. A COPY that waits for data is not idle. The pause costs no round trips.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.remedies import Remedy
from pgtrace.judge import fatals
from pgtrace.judge.findings.kind import PAUSED_NS, Kind, Note, Step, Watch, in_seconds, nothing, seconds, times

IDLE_NS: Final = PAUSED_NS


class _Watch(Watch):
    def paused(self, before: Step, place: int, pause_ns: int, words: str, *, counts: bool) -> None:
        status = before.shape.status
        cause = fatals.cause(self.seen.trace.rows[place].label) if words else ""
        timed_out = cause in fatals.WAITED_IN_BLOCK
        in_copy = before.shape.received[-1:] in (b"G", b"W")
        if not counts or status not in ("T", "E") or in_copy or not (pause_ns >= IDLE_NS or timed_out):
            return
        note = self.seen.note(KIND, cause if timed_out else "")
        note.times += 1
        note.amount += pause_ns
        at_the_end = place == before.place
        until = ", up to the end of the capture" if at_the_end else ""
        note.show(before.place, f"then {seconds(pause_ns)} without a message, status {status}{until}")
        if not at_the_end:
            goes_on = self.seen.trace.rows[place].is_round_trip
            note.show(place, f"ended by the server with {cause}" if timed_out else "continues" if goes_on else words or "the session ends")
        self.seen.row_of(place, KIND)


def _what(note: Note) -> str:
    return f"a transaction waited for its application {times(note.times)}, {seconds(note.amount)} in all"


KIND: Final = Kind(
    name="idle-in-transaction",
    unit="s idle",
    why="The transaction holds its locks, a snapshot that holds back VACUUM, and the pooler's server connection while the application "
    "does something else.",
    watch=_Watch,
    what=_what,
    is_reported=lambda note: note.times > 0,
    number=lambda note: in_seconds(note.amount),
    cares=nothing,
    remedies=(
        Remedy(
            "do slow work before BEGIN or after COMMIT; the server's idle_in_transaction_session_timeout limits such pauses",
            tried="slow-work-outside",
            clients=("asyncpg",),
        ),
    ),
)
