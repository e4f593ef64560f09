"""pipeline-error: one statement of a pipeline fails, and the server discards the next ones up to
the Sync.

Recognised by an ErrorResponse in a round trip of several executions, with messages skipped after
it. Outside a block, statements that ran earlier in the same Sync are rolled back, too.
"""

from __future__ import annotations

from typing import Final

from pgtrace.describe import notation
from pgtrace.identify.remedies import Remedy
from pgtrace.judge.findings.kind import FAILED, Kind, Note, Step, Watch, failures

_ENDS: Final = frozenset(b"CIs")
DUPLICATE: Final = "a duplicate"
"""A fact: ON CONFLICT would have kept the statement from failing, if it is an INSERT."""
DUPLICATES: Final = frozenset({"23505", "23P01"})
"""Of a unique constraint and an exclusion constraint: ON CONFLICT knows no others."""


class _Watch(Watch):
    def row(self, step: Step) -> None:
        skipped = step.shape.received.count(notation.SKIP)
        if not skipped or not step.shape.errors or not step.counts or step.shape.depth < 2:
            return
        before = step.shape.received.partition(b"E")[0]
        failed = sum(byte in _ENDS for byte in before) + 1
        note = self.seen.note(KIND, step.sqlstate)
        note.times += 1
        if step.sqlstate in DUPLICATES:
            note.fact(DUPLICATE)
        note.amount += skipped
        note.words = note.words or f"{step.label.error[:100]}: execution {failed} of {step.shape.depth}"
        note.show(step.place, f"execution {failed} of {step.shape.depth} fails, {skipped} skipped up to the Sync")
        step.explain(note)
        self.seen.row_of(step.place, KIND)


def _what(note: Note) -> str:
    return f"{note.words}; {note.amount} after such errors skipped up to the Sync"


KIND: Final = Kind(
    name="pipeline-error",
    unit=FAILED,
    why="After an error the server discards everything up to the next Sync. Outside a transaction block, everything since the "
    "previous Sync is rolled back.",
    watch=_Watch,
    what=_what,
    is_reported=lambda note: note.times > 0,
    number=lambda note: note.times,
    cares=failures,
    remedies=(
        Remedy("send a Sync after each statement that may fail; or use INSERT ... ON CONFLICT", needs=(DUPLICATE,)),
        Remedy("send a Sync after each statement that may fail; or check its values first", unless=(DUPLICATE,)),
    ),
)
