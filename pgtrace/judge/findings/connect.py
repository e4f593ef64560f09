"""connect: connections are opened for one or two statements, or for none, so connecting costs more
than the work.

Reported if CONNECTIONS connections of one driver ended after at most FEW statements. BEGIN, COMMIT,
SET, pings and resets do not count as work, nor do the queries that a layer sends on each engine's
first connection. The cost is the set-up round trips. TCP and TLS handshakes cost more time, but are
not counted.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify import layers
from pgtrace.identify.remedies import DEMO, Remedy
from pgtrace.judge.findings.driver_overhead import is_ping, is_reset
from pgtrace.judge.findings.kind import ROUND_TRIPS, ByText, Kind, Note, Seen, Step, Watch, counted

FEW: Final = 3
APART: Final = "apart"
"""A fact: the connection was opened after another had ended."""
_OPENED: Final = "first of an engine"
"""A fact: a layer sent the queries of an engine's first connection."""
_OPENING: Final = "round trips of that"
_LOOKED_AT: Final = 50
"""How many earlier connections _is_apart() looks at."""
_FEWER: Final = Remedy(
    "open fewer connections: one pool for the whole process, with a smaller minimum, that opens them when it needs them",
    tried="fewer-at-once",
    clients=DEMO,
)
CONNECTIONS: Final = 5
_AROUND: Final = frozenset(
    {"BEGIN", "START TRANSACTION", "COMMIT", "ROLLBACK", "SET", "DEALLOCATE", "DEALLOCATE ALL", "SAVEPOINT", "RELEASE"}
)
"""Tags of commands that do no work themselves."""


@ByText
def _is_opening(sql: str) -> bool:
    return layers.is_opening(sql)


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._work = 0
        self._opening = 0
        """Round trips with the queries that a layer sends on an engine's first connection."""
        self._is_reported = False

    def row(self, step: Step) -> None:
        shape = step.shape
        # a statement that failed or is suspended has no tag
        is_around = bool(shape.tags) and _AROUND.issuperset(shape.tags)
        if self._work > FEW or is_around or is_ping(step, self.seen.before) or is_reset(step):
            return
        if _is_opening(step):
            self._opening += 1
        else:
            self._work += shape.depth

    def rests(self, step: Step) -> bool:
        return self._work > FEW

    def settle(self) -> None:
        connection = self.seen.connection
        if self._is_reported or not self.seen.over or not self.seen.counts or not self.seen.setup or self._work > FEW:
            return
        if connection.kind != "session" or connection.backend_pid is None or connection.was_put_aside or connection.fatal:
            return  # the server ended it, so its few statements prove nothing
        self._is_reported = True
        note = self.seen.note(KIND)
        note.times += 1
        note.cost += self.seen.setup
        note.amount += self._work
        if not self._work:
            note.fact("no work")
        if self._is_apart():
            note.fact(APART)
        if self._opening:
            note.fact(_OPENED)
            note.facts[_OPENING] += self._opening
        note.show(self.seen.first, f"{counted(self.seen.setup, 'set-up round trip')} for {counted(self._work, 'statement')}")

    def _is_apart(self) -> bool:
        """Whether an earlier connection of the same driver had ended when it opened."""
        connection, connections = self.seen.connection, self.seen.trace.connections
        earlier = connections[max(0, connection.index - _LOOKED_AT) : connection.index]
        return any(one.driver == connection.driver and one.ended_ns is not None and one.ended_ns <= connection.opened_ns for one in earlier)


def _what(note: Note) -> str:
    unused = note.facts["no work"]
    idle = f"; {unused} of them ran nothing" if unused and note.amount else ""
    work = counted(note.amount, "statement") if note.amount else "nothing"
    opening = f", and the first queries of {note.facts[_OPENED]} engines {note.facts[_OPENING]} more" if note.facts[_OPENED] > 1 else ""
    together = "" if note.facts[APART] else ", all open at the same time"
    return f"{note.times} connections for {work}{together}: connecting took {counted(note.cost, 'round trip')}{opening}{idle}"


KIND: Final = Kind(
    name="connect",
    unit=ROUND_TRIPS,
    of_setup=True,
    why="Each connection costs set-up round trips, a handshake and a server process before its first query. A pool pays that once.",
    watch=_Watch,
    what=_what,
    is_reported=lambda note: note.times >= CONNECTIONS,
    remedies=(Remedy("use a pool of long-lived connections, in the application or in front of the server"),),
    first=(_FEWER,),
    is_first=lambda note: not note.facts[APART],
)
