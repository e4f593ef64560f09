"""no-answer: the driver waits for a reply that does not come, although none of its messages runs a
statement.

Parse, Bind, Describe, Close and the Sync or Flush after them are answered at once; so are a
start-up packet and a password. Reported if a flush point of only such messages got no reply at all
for a second or more, or until the end. A slow statement does not count, because something runs. A
Parse may wait for a lock, so with one leg the finding says "waiting", not "lost". A second leg
behind a pooler shows whether the message arrived there.
"""

from __future__ import annotations

import math
from typing import Final

from pgtrace.identify.remedies import Remedy
from pgtrace.judge.findings.kind import FAILED, Kind, Note, Seen, Step, Watch, seconds, times
from pgtrace.trace.row import RowKind, Shape

WAITS_NS: Final = 1_000_000_000
_QUIET: Final = frozenset(b"PBDCSHp\x02\x03\x04")
"""Messages that run nothing; bytes 2 to 4 of a flight are start-up packets."""


def _runs_nothing(shape: Shape) -> bool:
    return not shape.depth and bool(shape.sent) and _QUIET.issuperset(shape.sent) and not shape.owed_before


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._unsynced = False
        """Whether an executed statement may still be waiting for its commit."""

    def row(self, step: Step) -> None:
        shape = step.shape
        if _runs_nothing(shape) and not (self._unsynced and shape.sent[-1:] == b"S"):
            self._check(step)
        if shape.received:
            self._unsynced = bool(shape.depth) and not step.is_whole

    def other(self, step: Step) -> None:
        if step.shape.kind is RowKind.SETUP and _runs_nothing(step.shape):
            self._check(step)

    def left_open(self, step: Step) -> None:
        if _runs_nothing(step.shape):
            self._check(step)

    def _check(self, step: Step) -> None:
        first_ms = self.seen.trace.rows.entry(step.place).first_ms
        waited_ns = step.duration_ns if math.isnan(first_ms) else round(first_ms * 1e6)
        if waited_ns < WAITS_NS or not step.counts:
            return
        note = self.seen.note(KIND, step.sent)
        note.times += 1
        note.amount += waited_ns
        if not step.shape.received:
            note.fact("never")
        note.show(step.place, f"{seconds(waited_ns)} without any reply to {step.sent}")
        self.seen.row_of(step.place, KIND)
        if not step.shape.received and not self.seen.connection.fatal:
            self.seen.explain_end(note)


def _what(note: Note) -> str:
    never = ", and none came" if note.facts["never"] else ""
    waited = f"waiting {times(note.times)} for a reply, {seconds(note.amount)} in all{never}"
    return f"{note.subject}: {waited}; none of these messages runs a statement"


KIND: Final = Kind(
    name="no-answer",
    unit=FAILED,
    why="A server answers these messages at once, unless a Parse waits for a lock. Some poolers drop Flush, and then the driver waits "
    "forever.",
    watch=_Watch,
    what=_what,
    is_reported=lambda note: note.times > 0,
    number=lambda note: note.times,
    cares=lambda shape: _runs_nothing(shape) or (bool(shape.depth) and shape.received[-1:] != b"Z"),
    cares_other=lambda step: step.shape.kind is RowKind.SETUP and step.duration_ms >= WAITS_NS / 1e6,
    remedies=(
        Remedy(
            "if a Parse waits for a lock (pg_blocking_pids() names the holder), shorten that transaction, or set "
            "lock_timeout here; behind a pooler, record its other side as well, and compare with a direct connection",
            tried="lock-held-shortly",
            clients=("asyncpg", "psycopg", "pg8000", "sqlalchemy"),
        ),
    ),
)
