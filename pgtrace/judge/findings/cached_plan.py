"""cached-plan: a prepared statement fails because its result type has changed, for example after
ALTER TABLE (0A000, cached plan must not change result type).

Recognised by the SQLSTATE and the server's routine, RevalidateCachedQuery: error texts may be
translated, and 0A000 has other uses. The statement fails each time until its name is dropped.
Outside a transaction, some drivers drop it and try again.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.remedies import DEMO, Remedy
from pgtrace.judge.findings.kind import FAILED, Kind, Note, Step, Watch, failures, shown, times

_STATE: Final = "0A000"
_ROUTINE: Final = "RevalidateCachedQuery"
_TEXT: Final = "cached plan must not change result type"


class _Watch(Watch):
    def row(self, step: Step) -> None:
        failure = step.failure(_STATE)
        if failure is None or not step.counts or (failure.routine != _ROUTINE and _TEXT not in step.label.error):
            return
        note = self.seen.note(KIND, step.key or step.label.sql[:200])
        note.times += 1
        if step.shape.status_before != "I":
            note.fact("in a block")
        note.show(step.place, f"{failure.name or 'the statement'} was planned before the change")
        step.explain(note, _STATE)
        self.seen.row_of(step.place, KIND)


def _what(note: Note) -> str:
    return (
        f"{shown(note)}: fails {times(note.times)}: its result type has changed since it was prepared, "
        "and it keeps failing until it is dropped"
    )


KIND: Final = Kind(
    name="cached-plan",
    unit=FAILED,
    why="A prepared statement keeps its result columns. If ALTER TABLE or another search_path changes them, the server refuses to run it.",
    watch=_Watch,
    what=_what,
    is_reported=lambda note: note.times > 0,
    number=lambda note: note.times,
    cares=failures,
    remedies=(
        Remedy(
            "list the columns instead of SELECT *; after a migration, drop prepared statements or reconnect",
            tried="columns-named",
            clients=DEMO,
        ),
    ),
)
