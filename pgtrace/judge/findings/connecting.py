"""connect: connections that are opened for a query or two, so that connecting costs more than the
work.

Recognised by connections that have ended after at most FEW round trips, CONNECTIONS of them with
one driver. The cost is their set-up round trips; TCP and TLS handshakes come on top and are not
counted.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.remedies import Remedy
from pgtrace.judge.findings.kind import ROUND_TRIPS, Kind, Note, Seen, Step, Watch

FEW: Final = 3
CONNECTIONS: Final = 5


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._steps = 0
        self._counted = False
        self._told = False

    def row(self, step: Step) -> None:
        self._steps += 1
        self._counted = self._counted or step.counts

    def settle(self) -> None:
        if self._told or not self.seen.over or not self._counted or not self.seen.setup or self._steps > FEW:
            return
        self._told = True
        note = self.seen.note(KIND)
        note.times += 1
        note.cost += self.seen.setup
        note.amount += self._steps
        note.show(self.seen.first, f"{self.seen.setup} set-up round trips for {self._steps} that do work")


def _what(note: Note) -> str:
    return f"{note.times} connections for {note.amount} round trips: connecting took {note.cost} of {note.cost + note.amount}"


KIND: Final = Kind(
    name="connect",
    unit=ROUND_TRIPS,
    why="Each connection costs its set-up round trips, a handshake, and a server process, before the first query; a pool pays once.",
    watch=_Watch,
    what=_what,
    told=lambda note: note.times >= CONNECTIONS,
    remedies=(Remedy("a pool of lasting connections, in the application or in front of the server"),),
)
