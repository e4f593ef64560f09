"""driver-left: a driver closes its side, resets the connection or sends Terminate while the server
still owes it answers.

Disconnecting cancels nothing: the server keeps running the statement and holding its locks until it
has something to send. Recognised by an end during an open round trip whose answer did not reach the
driver (session/departure.py). If the server answered later, the evidence says how long it worked
on. After a FATAL error the server owes nothing. A driver that leaves before its login is complete
abandons no statement: that is reported as a separate finding.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.remedies import Remedy
from pgtrace.judge.findings.kind import FAILED, Kind, Note, Seen, Step, Watch, counted, nothing
from pgtrace.protocol.codes import FRONTEND
from pgtrace.trace.row import RowKind

BEFORE_LOGIN: Final = "before login"
_LEFT: Final = ("driver left", "reset by the driver", "the driver was lost")


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._setup: Step | None = None
        self._after_fatal: Step | None = None
        self._is_reported = False

    def other(self, step: Step) -> None:
        if step.shape.kind is RowKind.SETUP:
            self._setup = step

    def used_after(self, fatal: Step, step: Step) -> None:
        self._after_fatal = step

    def settle(self) -> None:
        step = self.seen.before or (self._setup if not self.seen.round_trips else None)
        connection = self.seen.connection
        if self._is_reported or step is None or step is self._after_fatal or not step.counts or connection.closed_ns is None:
            return
        label = self.seen.trace.rows[step.place].label
        shape = step.shape
        words = label.end if label.end.startswith(_LEFT) else ""
        by_driver = connection.ends[0].side == FRONTEND if connection.ends else connection.closed_by == "driver"
        if not words and not label.end and by_driver and not step.is_whole and not connection.fatal and shape.kind is RowKind.ROUND_TRIP:
            incomplete = shape.depth and not shape.received.endswith((b"C", b"s", b"I", b"E", b"G", b"W", b"H"))
            words = "the driver left before the answer was complete; the time is not known" if incomplete and not connection.ends else ""
        if not words:
            return
        self._is_reported = True
        note = self.seen.note(KIND, BEFORE_LOGIN if shape.kind is RowKind.SETUP else "")
        note.times += 1
        note.words = note.words or words
        note.show(step.place, words)
        self.seen.row_of(step.place, KIND)
        self.seen.explain_end(note)


def _what(note: Note) -> str:
    return f"{counted(note.times, 'connection')} left by the driver while an answer was owed: {note.words}"


KIND: Final = Kind(
    name="driver-left",
    unit=FAILED,
    why="A busy server does not notice that its client is gone: the statement runs to its end and keeps its locks.",
    watch=_Watch,
    what=_what,
    is_reported=lambda note: note.times > 0,
    number=lambda note: note.times,
    cares=nothing,
    cares_other=lambda step: step.shape.kind is RowKind.SETUP and bool(step.label.end),
    remedies=(
        Remedy(
            "send CancelRequest before disconnecting; statement_timeout and client_connection_check_interval limit such a statement "
            "in the server"
        ),
    ),
    first=(Remedy("use a longer connect timeout, or open fewer connections at once; and find out why the start-up gets no answer"),),
    is_first=lambda note: note.subject == BEFORE_LOGIN,
)
