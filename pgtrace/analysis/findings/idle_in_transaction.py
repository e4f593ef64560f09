"""idle-in-transaction: the application pauses inside a transaction block, which holds its locks, its snapshot and its server connection meanwhile.

Told by the status: time between the end of one round trip and the beginning of the next while the status is T or E, IDLE_NS or more at once. It costs no round
trip.
"""

from __future__ import annotations

from typing import Final

from pgtrace.analysis.findings.kind import Kind, Note, Seen, Step, Watch

IDLE_NS: Final = 1_000_000_000


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._before: Step | None = None

    def row(self, step: Step) -> None:
        before, self._before = self._before, step
        pause = step.pause_ns
        if before is None or pause is None or pause < IDLE_NS or step.shape.status_before not in ("T", "E") or not step.counts:
            return
        note = self.seen.note(KIND)
        note.times += 1
        note.amount += pause
        note.show(before.place, f"then {pause / 1e9:.1f} s without a message, status {step.shape.status_before}")
        note.show(step.place, "goes on")
        self.seen.row_of(step.place, KIND)

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
    number=lambda note: round(note.amount / 1e9),
    remedies={
        "": "do slow work before BEGIN or after COMMIT; idle_in_transaction_session_timeout in the server bounds it",
        "psycopg": "autocommit=True, and transaction() only around the statements: without it the first SELECT opens a block that lasts until commit()",
        "psycopg2": "connection.autocommit = True, or commit() as soon as the statements are done: the first SELECT opens a block",
        "pg8000": "connection.autocommit = True, or commit() as soon as the statements are done",
        "sqlalchemy": "commit or close the session before slow work: its first SELECT opens a transaction",
        "django": "no ATOMIC_REQUESTS for views that wait for others; atomic() only around the statements",
    },
)
