"""server-ended: the server ends a session by itself: a time-out, a shutdown, an administrator, or
its end of the stream without a message.

Recognised by a FATAL error that answers nothing the driver asked (25P03, 57P05, 57P01 and the
like), or by the server's end of the stream before the driver's. A restart that ends many sessions
is one finding. It says how long the session had been idle, and whether a transaction was open.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.remedies import DEMO, Remedy
from pgtrace.judge.findings.kind import FAILED, Kind, Note, Seen, Step, Watch, counted, failures, seconds
from pgtrace.protocol.codes import BACKEND
from pgtrace.trace.row import RowKind

_SAID: Final = {
    "25P03": "idle_in_transaction_session_timeout",
    "25P04": "transaction_timeout",
    "57P05": "idle_session_timeout",
    "57P01": "an administrator's command, or a shutdown",
    "57P02": "the crash of another server process",
    "57P04": "its database was dropped",
}
_TIMED_OUT: Final = frozenset({"25P03", "25P04", "57P05"})
_SILENT: Final = "the end of its stream, without a message"


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._before: Step | None = None
        self._fatal: Step | None = None
        self._end: tuple[int, int | None, str] | None = None
        self._told = False

    def row(self, step: Step) -> None:
        if step.failure(*_SAID) is not None and any(one.severity in ("FATAL", "PANIC") for one in step.label.failures):
            self._ends(step)

    def other(self, step: Step) -> None:
        if step.shape.kind is RowKind.ASYNCHRONOUS and step.failure(*_SAID) is not None:
            self._ends(step)

    def _ends(self, step: Step) -> None:
        if self._fatal is None:
            self._fatal, self._before = step, self.seen.before

    def ended(self, place: int, pause_ns: int | None, words: str) -> None:
        if self._fatal is None:
            self._before = self.seen.before
        self._end = (place, pause_ns, words)

    def settle(self) -> None:
        if self._told:
            return
        connection = self.seen.connection
        if connection.keepalive is not None:
            return  # keepalive-unanswered explains it
        fatal = self._fatal
        state = next((one.sqlstate for one in fatal.label.failures if one.sqlstate in _SAID), "") if fatal is not None else ""
        silent = (
            not connection.fatal
            and bool(connection.ends)
            and connection.ends[0].side == BACKEND
            and not connection.terminated
            and self._end is not None
        )
        if not state and not (
            silent and connection.closed_ns is not None and connection.kind in ("session", "replication") and self._had_begun
        ):
            return
        if fatal is not None and not fatal.counts:
            return
        self._told = True
        note = self.seen.note(KIND, state)
        note.times += 1
        note.fact("silent" if not state else state if state in _TIMED_OUT else "by hand")
        before = self._before
        place, pause_ns, _ = self._end or (fatal.place if fatal is not None else self.seen.first, None, "")
        status = before.shape.status if before is not None else ""
        idle = f"{seconds(pause_ns)} idle before" if pause_ns is not None else ""
        open_ = {"T": "a transaction was open", "E": "a failed transaction was open"}.get(status, "")
        if open_:
            note.amount += 1
        if fatal is not None and fatal.shape.kind is RowKind.ROUND_TRIP:
            idle = "while a statement ran"
        note.words = note.words or "; ".join(words for words in (idle, open_) if words)
        if before is not None:
            note.show(
                before.place,
                "; ".join(
                    words
                    for words in (f"then {seconds(pause_ns)} idle" if pause_ns is not None and idle.endswith("before") else idle, open_)
                    if words
                )
                or "the latest round trip",
            )
        note.show(fatal.place if fatal is not None else place, f"ended by the server{f' with {state}' if state else ''}")
        if fatal is not None:
            fatal.explain(note, state)
            self.seen.row_of(fatal.place, KIND)
        self.seen.explain_end(note)

    @property
    def _had_begun(self) -> bool:
        return self.seen.connection.session is None or self.seen.connection.session.round_trips.started_ns is not None


def _what(note: Note) -> str:
    many = counted(note.times, "session")
    why = f"{note.subject}, {_SAID[note.subject]}" if note.subject else _SILENT
    open_ = f"; with {counted(note.amount, 'open transaction')}" if note.amount and note.times > 1 else ""
    return f"{many} ended by the server: {why}{f': {note.words}' if note.words and note.times == 1 else open_}"


KIND: Final = Kind(
    name="server-ended",
    unit=FAILED,
    why="An open transaction is rolled back, and the driver notices the end when it next uses the connection.",
    watch=_Watch,
    what=_what,
    told=lambda note: note.times > 0,
    number=lambda note: note.times,
    cares=failures,
    cares_other=lambda step: step.shape.kind is RowKind.ASYNCHRONOUS and bool(step.shape.errors),
    remedies=(
        Remedy(
            "end the transaction before slow work; idle_in_transaction_session_timeout can be longer for a role",
            needs=("25P03",),
            clients=DEMO,
        ),
        Remedy("shorter transactions; transaction_timeout can be longer for a role", needs=("25P04",)),
        Remedy(
            "let the pool close connections before the server does: a shorter maximum idle time than idle_session_timeout", needs=("57P05",)
        ),
        Remedy("connect again, and repeat the unit of work: the server's log says who ended it", needs=("by hand",)),
        Remedy(
            "check the logs of the server, and of any pooler or firewall in between; let the pool close connections before these do",
            needs=("silent",),
        ),
    ),
)
