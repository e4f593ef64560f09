"""connect: connections that are opened for a statement or two, or for none, so that connecting
costs more than the work.

Recognised by connections that have ended after at most FEW statements, CONNECTIONS of them with one
driver. BEGIN, COMMIT, SET, pings and resets do not count as work. The cost is the set-up round
trips; TCP and TLS handshakes come on top, and are not counted.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.remedies import Remedy
from pgtrace.judge.findings.driver_overhead import is_ping, is_reset
from pgtrace.judge.findings.kind import ROUND_TRIPS, Kind, Note, Seen, Step, Watch, counted

FEW: Final = 3
CONNECTIONS: Final = 5
_AROUND: Final = frozenset({"BEGIN", "START TRANSACTION", "COMMIT", "ROLLBACK", "SET", "DEALLOCATE", "DEALLOCATE ALL"})
"""Tags of commands around the work."""


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._work = 0
        self._told = False

    def row(self, step: Step) -> None:
        if self._work <= FEW and not (is_ping(step) or is_reset(step) or _AROUND.issuperset(step.shape.tags)):
            self._work += step.shape.depth

    def settle(self) -> None:
        connection = self.seen.connection
        if self._told or not self.seen.over or not self.seen.counts or not self.seen.setup or self._work > FEW:
            return
        if connection.kind != "session" or connection.backend_pid is None or connection.was_put_aside or connection.fatal:
            return  # the server ended it, so its size says nothing
        self._told = True
        note = self.seen.note(KIND)
        note.times += 1
        note.cost += self.seen.setup
        note.amount += self._work
        if not self._work:
            note.fact("no work")
        note.show(self.seen.first, f"{self.seen.setup} set-up round trips for {counted(self._work, 'statement')}")


def _what(note: Note) -> str:
    unused = note.facts["no work"]
    idle = f"; {unused} of them ran nothing" if unused and note.amount else ""
    work = counted(note.amount, "statement") if note.amount else "nothing"
    return f"{note.times} connections for {work}: connecting took {counted(note.cost, 'round trip')}{idle}"


KIND: Final = Kind(
    name="connect",
    unit=ROUND_TRIPS,
    why="Each connection costs its set-up round trips, a handshake, and a server process, before the first query; a pool pays once.",
    watch=_Watch,
    what=_what,
    told=lambda note: note.times >= CONNECTIONS,
    remedies=(Remedy("a pool of long-lived connections, in the application or in front of the server"),),
)
