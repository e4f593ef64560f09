"""returned-in-transaction: a pool gives a connection to the next user while the previous user's
transaction is still open.

The change of user is not on the wire, but its effects are: the next user's BEGIN is answered by the
warning 25001 (there is already a transaction in progress), or the pool's own reset or ping runs
inside the block. If the program notes its lines of code, the finding also says that another task or
thread continues in the transaction (trace/call_sites.py). The next user's work is then part of the
previous user's transaction. A BEGIN directly after a BEGIN does not count, because nothing ran in
between (see driver-overhead). Nor does a ROLLBACK by the pool, which ends the transaction.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.remedies import DEMO, Remedy
from pgtrace.judge.findings.driver_overhead import is_ping, is_reset, may_be_check, may_be_ping
from pgtrace.judge.findings.kind import FAILED, Kind, Note, Seen, Step, Watch, times

_IN_PROGRESS: Final = "25001"
_INSIDE: Final = ("T", "E")
_DISCARD: Final = frozenset({"DISCARD ALL", "DISCARD ALL;"})
"""Resets that fail inside a block."""
_HANDED_ON: Final = "another task or thread continues in the transaction"


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._worked: Step | None = None
        """The latest round trip that did work in the open block."""
        self._pings: set[str] = set()
        """Texts of the pings seen outside of blocks."""
        self._is_hand_on_reported = False
        """Whether it was already reported that another task or thread continues in this block."""

    def row(self, step: Step) -> None:
        shape = step.shape
        words = ""
        if shape.status_before not in _INSIDE:
            self._worked, self._is_hand_on_reported = None, False
            if is_ping(step, self.seen.before):
                self._pings.add(step.label.sql[:100])
        elif self._worked is not None:
            if _IN_PROGRESS in shape.warnings:
                words = "BEGIN inside a transaction: warning 25001"
            elif is_reset(step):
                words = "the pool's reset inside a transaction"
            elif step.key in _DISCARD and step.sqlstate == _IN_PROGRESS:
                words = "DISCARD ALL inside a transaction, where it fails"
            elif is_ping(step, self.seen.before) and step.label.sql[:100] in self._pings:
                words = "the pool's ping inside a transaction"
            elif not self._is_hand_on_reported and self._is_handed_on(step):
                words, self._is_hand_on_reported = _HANDED_ON, True
        if words and step.counts and self._worked is not None:
            note = self.seen.note(KIND, words)
            note.times += 1
            note.show(self._worked.place, "the transaction is left open")
            note.show(step.place, words)
            step.explain(note, _IN_PROGRESS)
            self.seen.row_of(self._worked.place, KIND)
            self.seen.row_of(step.place, KIND)
        if shape.status not in _INSIDE:
            self._worked = None
        elif shape.depth and "BEGIN" not in shape.tags and "START TRANSACTION" not in shape.tags and not words:
            self._worked = step

    def rests(self, step: Step) -> bool:
        shape = step.shape
        return shape.status_before not in _INSIDE and shape.status not in _INSIDE and not may_be_check(step.key)

    def _is_handed_on(self, step: Step) -> bool:
        """Whether another task or thread continues in the transaction, and does not just roll it
        back.
        """
        shape = step.shape
        return self.seen.trace.call_sites.handed_on(step.place) and not (shape.status == "I" and "COMMIT" not in shape.tags)

    def lost(self) -> None:
        self._worked = None


def _what(note: Note) -> str:
    return f"a connection was reused while a transaction was still open, {times(note.times)}: {note.subject}"


KIND: Final = Kind(
    name="returned-in-transaction",
    unit=FAILED,
    why="The next user's work is committed or rolled back together with the previous user's, and locks are held meanwhile.",
    watch=_Watch,
    what=_what,
    cares=lambda shape: shape.status in ("T", "E") or shape.status_before in ("T", "E") or may_be_ping(shape),
    is_reported=lambda note: note.times > 0,
    number=lambda note: note.times,
    remedies=(
        Remedy(
            "commit or roll back on every path before the connection goes back to the pool, for example with a context manager",
            tried="commit-before-return",
            clients=DEMO,
        ),
    ),
)
