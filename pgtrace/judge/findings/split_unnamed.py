"""split-unnamed: the unnamed statement is parsed in one round trip and bound in the next, with a
ReadyForQuery(I) in between.

At that point a pooler in transaction mode may give the server connection to another session. If
that session parses its own unnamed statement, the Bind fails or runs the wrong statement.
Recognised by the transaction status: inside a block, and after a Flush, the pooler keeps the
connection. On a direct connection nothing goes wrong, so this is not a failure and has no cost;
extra-describe counts the second round trip.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.remedies import Remedy
from pgtrace.judge.findings.kind import BETWEEN, Kind, Note, Seen, Step, Watch

TIMES: Final = 3
"""The number needed: once or twice may be an exception."""


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._parsed: Step | None = None
        self._latest: Step | None = None

    def row(self, step: Step) -> None:
        parsed, self._parsed = self._parsed, None
        if self.seen.before is not self._latest:
            parsed = None
        self._latest = step
        if (
            step.only_prepares
            and step.sends("P")
            and not step.shape.statement
            and step.sends("S")
            and step.shape.status == "I"
            and step.key
        ):
            self._parsed = step
        elif parsed is not None and step.only_prepares and not step.sends("P") and step.key == parsed.key:
            self._parsed = parsed
        elif parsed is not None and step.counts and step.sends("B") and not step.sends("P") and step.key == parsed.key:
            note = self.seen.note(KIND, f"{parsed.sent}{BETWEEN}{step.sent}")
            note.times += 1
            note.show(parsed.place, "Parse of the unnamed statement, then ReadyForQuery(I)")
            note.show(step.place, step.label.sqlstate or "binds it")
            self.seen.row_of(parsed.place, KIND)
            self.seen.row_of(step.place, KIND)

    def lost(self) -> None:
        self._parsed = None


def _what(note: Note) -> str:
    return f"{note.subject}: the unnamed statement is bound one transaction after its Parse; behind a pooler it may be another session's"


KIND: Final = Kind(
    name="split-unnamed",
    unit="at risk",
    why="Behind a pooler in transaction mode, another session's Parse can come in between: the Bind fails, or runs the other's "
    "statement. Without a pooler, it is safe.",
    watch=_Watch,
    what=_what,
    cares=lambda shape: not shape.statement and any(letter in shape.sent for letter in b"PDB"),
    is_reported=lambda note: note.times >= TIMES,
    number=lambda note: note.times,
    remedies=(Remedy("behind a pooler, use a call that sends Parse, Bind and Execute together, or put a transaction around it"),),
)
