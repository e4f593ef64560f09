"""begin-commit: BEGIN and COMMIT take a round trip each around a single statement, which is a
transaction by itself.

Recognised by the transaction status: one round trip only opens a block, one runs a single statement
in it, and one commits. Reported from TIMES of them on one connection. A BEGIN that is sent together
with the statement costs nothing, and is not counted. An empty statement is a check: see
driver-overhead.

Not reported if the statement would behave differently on its own: the block has options (an
isolation level, READ ONLY); the statement takes a lock, a cursor or a savepoint that needs the
transaction; or the block is rolled back or prepared for two-phase commit.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.remedies import Remedy
from pgtrace.judge import texts
from pgtrace.judge.findings.introspection import is_own
from pgtrace.judge.findings.kind import ROUND_TRIPS, Kind, Note, Seen, Step, Watch

TIMES: Final = 3


_NEEDS_BLOCK: Final = frozenset({"DECLARE CURSOR", "SAVEPOINT", "LOCK TABLE", "SET", "SET CONSTRAINTS", "PREPARE TRANSACTION"})


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._block: list[Step] = []
        self._executions = 0
        self._found: list[list[Step]] = []
        self._times = 0

    def row(self, step: Step) -> None:
        before, after = step.shape.status_before, step.shape.status
        if before == "I" and after == "T" and step.shape.depth == 1 and not step.rows:
            self._block, self._executions = [step], 0
        elif not self._block:
            return
        elif before == "T" and after == "T" and not step.shape.errors:
            self._executions += step.shape.depth
            if self._executions > 1:
                self.lost()
            elif step.shape.depth and step.sends("B") + step.sends("Q"):
                self._block.append(step)
        else:
            block = [*self._block, step]
            self.lost()
            if (
                before == "T"
                and after == "I"
                and step.shape.depth == 1
                and not step.shape.errors
                and len(block) == 3
                and not block[1].is_empty
                and self._is_like_none(block)
            ):
                self._report(block)

    def lost(self) -> None:
        self._block, self._executions = [], 0

    def _is_like_none(self, block: list[Step]) -> bool:
        """Whether the statement would do the same without the block."""
        begin, statement, end = block
        if end.shape.block_end == "ROLLBACK" or not _NEEDS_BLOCK.isdisjoint((*statement.shape.tags, *end.shape.tags)):
            return False
        if texts.begins_with_options(begin.label.sql):
            return False
        sql = statement.label.sql
        return not (
            is_own(self.seen, sql)
            or texts.locks(sql)
            or texts.has(sql, "SET", "LOCAL")
            or texts.has(sql, "ON", "COMMIT")
            or "SET_CONFIG" in texts.called(sql)
            or statement.shape.portal
        )

    def _report(self, block: list[Step]) -> None:
        if not all(step.counts for step in block):
            return
        self._times += 1
        self._found.append(block)
        if self._times < TIMES:
            return
        note = self.seen.note(KIND)
        for begin, statement, commit in self._found:
            note.cost += 2
            note.times += 1
            for step, words in ((begin, "opens a block"), (statement, "the one statement"), (commit, "ends it")):
                note.show(step.place, words)
                self.seen.row_of(step.place, KIND)
        self._found.clear()


def _what(note: Note) -> str:
    return f"{note.times} transactions of one statement: each is a transaction by itself, so BEGIN and COMMIT only add round trips"


KIND: Final = Kind(
    name="begin-commit",
    unit=ROUND_TRIPS,
    why="A single statement is atomic by itself; BEGIN and COMMIT around it cost two more round trips.",
    watch=_Watch,
    what=_what,
    cares=lambda shape: "T" in (shape.status_before, shape.status),
    is_counted=lambda shape: shape.status_before == shape.status,
    remedies=(Remedy("use autocommit for single statements"),),
)
