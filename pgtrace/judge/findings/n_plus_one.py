"""n+1: one statement run again and again, each time waiting for the answer, where once would do.

Recognised by a run of round trips of one connection with nothing else in between. Each is for the
same one statement (normalised SQL with a parameter or a literal in it) and runs it once. Round
trips that only prepare it do not end the run. The run must stay in one transaction block, or its
pauses must be short: the same statement once a second is a poll, not a loop. It is reported at
REPEATS executions, and costs every execution but the first.

Only statements that could be merged are looked at (their first word says so): FETCH takes a
cursor's next rows, SET changes another setting.
"""

from __future__ import annotations

from typing import Final

from pgtrace import sqltext
from pgtrace.identify.remedies import Remedy
from pgtrace.judge.findings.kind import ROUND_TRIPS, Kind, Note, Seen, Step, Watch, shown

REPEATS: Final = 5
"""Executions in a row that make a loop."""
PAUSE_NS: Final = 50_000_000
"""Outside a block, the longest pause of the application between two of them."""
_FIRST_WORDS: Final = frozenset({"SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "MERGE", "VALUES", "EXECUTE", "CALL", "TABLE"})


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._key = ""
        self._batches: dict[str, bool] = {}
        self._run: list[Step] = []
        self._executions = 0

    def row(self, step: Step) -> None:
        if step.key != self._key or not self._goes_on(step):
            self.lost()
            if self._is_one_of_many(step.key):
                self._key = step.key
            else:
                return
        if not step.shape.depth:
            return
        if step.shape.depth > 1 or step.shape.errors or not (step.sends("B") or step.sends("Q")):
            self.lost()
            return
        self._executions += 1
        if self._executions < REPEATS:
            self._run.append(step)
            return
        for one in (*self._run, step):
            self._tell(one, first=bool(self._run) and one is self._run[0])
        self._run.clear()

    def lost(self) -> None:
        self._key, self._executions = "", 0
        self._run.clear()

    def _goes_on(self, step: Step) -> bool:
        return step.pause_ns is not None and (step.shape.status_before == "T" or step.pause_ns <= PAUSE_NS)

    def _is_one_of_many(self, key: str) -> bool:
        known = self._batches.get(key)
        if known is None:
            if len(self._batches) > 1000:
                self._batches.clear()
            known = self._batches[key] = "$" in key and not _FIRST_WORDS.isdisjoint(sqltext.words(key, 1))
        return known

    def _tell(self, step: Step, *, first: bool) -> None:
        if not step.counts:
            return
        note = self.seen.note(KIND, self._key)
        self.seen.row_of(step.place, KIND)
        if first:
            note.amount += 1
        else:
            note.cost += 1
        note.times += 1
        note.show(step.place, "once" if first else "again, in the same transaction" if step.shape.status_before == "T" else "again")


def _what(note: Note) -> str:
    loops = f" in {note.amount} loops" if note.amount > 1 else ""
    return f"{shown(note)}: {note.times} times one after the other{loops}, each waiting for the answer"


KIND: Final = Kind(
    name="n+1",
    unit=ROUND_TRIPS,
    why="The same statement runs once for each value, and the application waits for each answer; one statement can ask for all of them.",
    watch=_Watch,
    what=_what,
    remedies=(
        Remedy("ask for all values at once: WHERE column = ANY($1) or a join to read, INSERT with several rows to write; or a pipeline"),
    ),
)
