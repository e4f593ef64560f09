"""returned-in-transaction: a connection is handed on, by a pool, while a transaction of the one
before is still open.

Handing over is not on the wire, but what comes of it is: the next user's BEGIN is answered by the
warning 25001, there is a transaction in progress; or the pool's own reset, or its ping, runs inside
the block. The next user's work then is part of a transaction that is not its own. A BEGIN directly
behind a BEGIN is none of it: nobody has worked in between (driver-overhead). Nor is a ROLLBACK by
the pool, which puts things right.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.remedies import Remedy
from pgtrace.judge.findings.driver_overhead import is_ping, is_reset, may_be_ping
from pgtrace.judge.findings.kind import FAILED, Kind, Note, Seen, Step, Watch, times

_IN_PROGRESS: Final = "25001"


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._worked: Step | None = None
        """The latest round trip that worked in the open block."""
        self._pings: set[str] = set()
        """Texts that ask outside of blocks."""

    def row(self, step: Step) -> None:
        shape = step.shape
        words = ""
        if shape.status_before not in ("T", "E"):
            self._worked = None
            if is_ping(step):
                self._pings.add(step.label.sql[:100])
        elif self._worked is not None:
            if _IN_PROGRESS in shape.warnings:
                words = "BEGIN inside a transaction: warning 25001"
            elif is_reset(step):
                words = "the pool's reset inside a transaction"
            elif is_ping(step) and step.label.sql[:100] in self._pings:
                words = "the pool's ping inside a transaction"
        if words and step.counts and self._worked is not None:
            note = self.seen.note(KIND, words)
            note.times += 1
            note.show(self._worked.place, "the transaction is left open")
            note.show(step.place, words)
            step.explain(note, _IN_PROGRESS)
            self.seen.row_of(step.place, KIND)
        if shape.status not in ("T", "E"):
            self._worked = None
        elif shape.depth and "BEGIN" not in shape.tags and "START TRANSACTION" not in shape.tags and not words:
            self._worked = step

    def lost(self) -> None:
        self._worked = None


def _what(note: Note) -> str:
    return f"a connection is used on in a transaction that was left open, {times(note.times)}: {note.subject}"


KIND: Final = Kind(
    name="returned-in-transaction",
    unit=FAILED,
    why="What the next user does is committed or rolled back with the work of the one before, and locks are held meanwhile.",
    watch=_Watch,
    what=_what,
    cares=lambda shape: shape.status in ("T", "E") or shape.status_before in ("T", "E") or may_be_ping(shape),
    told=lambda note: note.times > 0,
    number=lambda note: note.times,
    remedies=(Remedy("commit or roll back on every path before the connection goes back to the pool: a context manager does it"),),
)
