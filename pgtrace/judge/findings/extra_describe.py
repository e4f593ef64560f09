"""extra-describe: round trips only parse or describe a statement that this connection has parsed
before.

A driver can send Parse and Describe together with Bind and Execute, or omit them for a statement
that it keeps. Recognised by a round trip with Parse or Describe that runs nothing, directly before
one that binds the same statement, if the connection has prepared the same SQL in the same way
before. (The first time, the driver may be filling its cache.) Named statements that are used once
belong to prepared-once. If a pooler could come between the two round trips, split-unnamed is part
of this finding.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.remedies import Remedy
from pgtrace.judge.findings.kind import BETWEEN, KEEPS_BEHIND_POOLER, POOLER, ROUND_TRIPS, Kind, Note, Seen, Step, Watch

TIMES: Final = 2
"""The number needed, without the first for each text."""
SPLIT: Final = "split-unnamed"
_TEXTS_KEPT: Final = 5_000


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._known: set[int] = set()
        self._before: list[Step] = []

    def row(self, step: Step) -> None:
        before, self._before = self._before, []
        if before and (step.text != before[0].text or self.seen.before is not before[-1]):
            before = []
        if step.only_prepares and not step.shape.statement and not step.shape.errors and step.key:
            self._before = [*before, step][-3:]
        elif before and step.shape.depth == 1 and step.sends("B"):
            self._prepared(before, step)

    def lost(self) -> None:
        self._before = []

    def _prepared(self, before: list[Step], step: Step) -> None:
        text = step.text
        if text not in self._known:
            if len(self._known) < _TEXTS_KEPT:
                self._known.add(text)
            return
        counted = [one for one in before if one.counts]
        if not counted:
            return
        note = self.seen.note(KIND, BETWEEN.join(one.sent for one in (*before, step)))
        note.times += 1
        note.cost += len(counted)
        for one in counted:
            self.seen.row_of(one.place, KIND)
            note.show(one.place, "runs nothing, and the connection has parsed this before")
        note.show(step.place, "runs it")


def _what(note: Note) -> str:
    at_risk = "; behind a pooler another session's Parse can come between" if SPLIT in note.parts else ""
    return f"{note.subject}: {note.times} times for SQL that the connection had parsed before{at_risk}"


def _joined(note: Note) -> tuple[str, ...]:
    """The subject under which split-unnamed reports the same round trips."""
    sent = note.subject.split(BETWEEN)
    return (f"{sent[0]}{BETWEEN}{sent[-1]}",)


KIND: Final = Kind(
    name="extra-describe",
    unit=ROUND_TRIPS,
    why="The driver waits for Parse and Describe each time before it binds. If it keeps the statement, or declares the types, "
    "it needs only one round trip.",
    watch=_Watch,
    what=_what,
    cares=lambda shape: not shape.statement and any(letter in shape.sent for letter in b"PDB"),
    is_reported=lambda note: note.times >= TIMES,
    joins=(SPLIT,),
    also={SPLIT: ()},
    joined=_joined,
    remedies=(
        Remedy("keep the prepared statement, or use a call that sends Parse, Bind and Execute together", unless=(POOLER,)),
        Remedy(KEEPS_BEHIND_POOLER, needs=(POOLER,), tried="kept-behind", clients=("asyncpg", "sqlalchemy")),
    ),
)
