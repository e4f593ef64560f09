"""pooler-wait: round trips wait in the pooler for a server connection.

Needs both sides of a pooler: the wait lasts from the beginning of a round trip to the first message
that the pooler sends to the server for it. Waits of WAIT_NS or more count, except for a
connection's first round trip, for which the pooler may have to open a server connection. Reported
from TIMES of them.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.remedies import DEMO, Remedy
from pgtrace.judge.findings.kind import Kind, Note, Step, Watch, in_seconds, seconds, times

WAIT_NS: Final = 5_000_000
TIMES: Final = 5


class _Watch(Watch):
    def row(self, step: Step) -> None:
        joins = self.seen.joins
        waited_ns = joins.before_ns(step.place) if joins is not None else None
        if waited_ns is None or waited_ns < WAIT_NS or not self.seen.round_trips or not step.counts:
            return
        note = self.seen.note(KIND)
        note.times += 1
        note.amount += waited_ns
        note.show(step.place, f"{seconds(waited_ns)} until the pooler asked a server")
        self.seen.row_of(step.place, KIND)


def _what(note: Note) -> str:
    return f"waited in the pooler for a server connection {times(note.times)}, {seconds(note.amount)} in all"


KIND: Final = Kind(
    name="pooler-wait",
    unit="s waited",
    why="All server connections of the pool are in use, by other drivers or by transactions that wait for their application.",
    watch=_Watch,
    what=_what,
    is_reported=lambda note: note.times >= TIMES,
    number=lambda note: in_seconds(note.amount),
    remedies=(
        Remedy(
            "use a larger pool (PgBouncer's default_pool_size), if the server can take it; or make transactions shorter",
            tried="larger-pool-behind",
            clients=DEMO,
        ),
    ),
    of_joins=True,
)
