"""aborted-transaction: statements sent into a transaction block that an error has already aborted;
each fails with 25P02.

Recognised by the SQLSTATE in a block with status E. The evidence begins with the error that aborted
the transaction. Each such round trip is wasted.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.remedies import Remedy
from pgtrace.judge.findings.kind import FAILED, Kind, Note, Seen, Step, Watch, failures
from pgtrace.judge.findings.pipeline_error import DUPLICATE, DUPLICATES

_ABORTED: Final = "25P02"


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._cause: Step | None = None
        self._shown = False

    def row(self, step: Step) -> None:
        if step.shape.errors and step.sqlstate == _ABORTED and step.shape.status_before == "E":
            if step.counts:
                self._report(step)
        elif step.shape.errors and step.shape.status_before != "E":
            self._cause, self._shown = step, False

    def lost(self) -> None:
        self._cause = None

    def _report(self, step: Step) -> None:
        cause = self._cause.sqlstate if self._cause is not None else ""
        note = self.seen.note(KIND, cause)
        if self._cause is not None and not self._shown:
            self._shown = True
            note.show(self._cause.place, f"{cause} aborts the transaction")
            self.seen.row_of(self._cause.place, KIND)
        if cause in DUPLICATES:
            note.fact(DUPLICATE)
        note.cost += 1
        note.times += 1
        note.show(step.place, "sent anyway: 25P02")
        step.explain(note, _ABORTED)
        self.seen.row_of(step.place, KIND)


def _what(note: Note) -> str:
    cause = f"{note.subject} aborted it" if note.subject else "an error aborted it"
    return f"{note.times} statement{'' if note.times == 1 else 's'} sent into a transaction after {cause}: 25P02"


KIND: Final = Kind(
    name="aborted-transaction",
    unit=FAILED,
    why="After an error, a block accepts only ROLLBACK or ROLLBACK TO a savepoint. Until then each statement fails and wastes a "
    "round trip.",
    watch=_Watch,
    what=_what,
    is_reported=lambda note: note.times > 0,
    number=lambda note: note.times,
    cares=failures,
    remedies=(
        Remedy(
            "roll back at the first error; or set a savepoint before a statement that may fail",
            tried="roll-back",
            clients=("pg8000",),
        ),
        Remedy(
            "use INSERT ... ON CONFLICT, which does not fail for a duplicate", needs=(DUPLICATE,), tried="on-conflict", clients=("pg8000",)
        ),
    ),
)
