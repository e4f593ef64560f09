"""no-effect: SET LOCAL, SET TRANSACTION or SET CONSTRAINTS outside of a transaction block, which
the server accepts and ignores.

Recognised by the tag of the command and the server's warning 25P01, in a round trip that runs
nothing else: in a pipeline, what follows before the Sync is still in the same transaction. A COMMIT
or ROLLBACK outside of a block gets the same warning, but changes nothing that a program relies on.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.remedies import DEMO_OR_UNKNOWN, Remedy
from pgtrace.judge.findings.kind import FAILED, Kind, Note, Step, Watch, shown, times
from pgtrace.trace.row import Shape

_NO_TRANSACTION: Final = "25P01"
_SETS: Final = frozenset({"SET", "SET CONSTRAINTS"})


class _Watch(Watch):
    def row(self, step: Step) -> None:
        if not step.counts:
            return
        note = self.seen.note(KIND, step.key)
        note.times += 1
        note.show(step.place, "warning 25P01: there is no transaction, and it is over at once")
        self.seen.row_of(step.place, KIND)


def _cares(shape: Shape) -> bool:
    """Whether it sets something for a transaction that is not there."""
    return _NO_TRANSACTION in shape.warnings and not _SETS.isdisjoint(shape.tags) and shape.depth == 1 and shape.statements == 1


def _what(note: Note) -> str:
    return f"{shown(note)}: without effect {times(note.times)}, because no transaction was open"


KIND: Final = Kind(
    name="no-effect",
    unit=FAILED,
    why="Such a setting lasts until the end of the transaction. Outside of a block that is the end of the statement itself; the server "
    "only warns, and the program continues without the setting.",
    watch=_Watch,
    what=_what,
    is_reported=lambda note: note.times > 0,
    number=lambda note: note.times,
    cares=_cares,
    remedies=(
        Remedy(
            "send it after BEGIN, in the transaction that needs it; without a pooler, SET without LOCAL keeps it for the session",
            tried="set-in-transaction",
            clients=DEMO_OR_UNKNOWN,
        ),
    ),
)
