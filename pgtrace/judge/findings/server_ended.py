"""server-ended: the server or a pooler ends a session by itself: by a time-out, a shutdown, an
administrator's command, or the end of its stream without a message.

Recognised by a FATAL error that does not answer a message of the driver (25P03, 57P05, 57P01 and
the like, or a pooler's own), or by the end of the server's stream before the driver's. A restart
that ends many sessions is one finding. The finding says how long the session had been idle, whether
a transaction was open, and whether the driver used the connection afterwards; these are not
separate findings.
"""

from __future__ import annotations

from typing import Final

from pgtrace.identify.remedies import DEMO, Remedy
from pgtrace.judge import fatals
from pgtrace.judge.findings.kind import FAILED, Kind, Note, Seen, Step, Watch, counted, failures, seconds
from pgtrace.judge.findings.used_after_fatal import CHECK_OR_RETRY, CHECKED, used_words
from pgtrace.protocol.codes import BACKEND
from pgtrace.trace.row import RowKind

USED, IDLE = "used-after-fatal", "idle-in-transaction"
TOO_IDLE: Final = "idle too long"
"""A fact: the session was idle for longer than the server, or PgBouncer, allows."""
IDLE_TOO_LONG: Final = ("57P05", fatals.IDLE_CLIENT)
_WITH_REMEDY: Final = frozenset({"25P03", "25P04", "57P05", *fatals.BY_POOLER})
_CLOSE_BY_HAND: Final = ("psycopg2", "pg8000")
"""Drivers whose pool does not close idle connections; the others have remedies of their own."""
_SILENT: Final = "the end of its stream, without a message"


class _Watch(Watch):
    def __init__(self, seen: Seen) -> None:
        super().__init__(seen)
        self._before: Step | None = None
        self._fatal: Step | None = None
        self._end: tuple[int, int | None, str] | None = None
        self._is_reported = False

    def row(self, step: Step) -> None:
        if fatals.cause(step.label):
            self._ends(step)

    def other(self, step: Step) -> None:
        if step.shape.kind is RowKind.ASYNCHRONOUS and fatals.cause(step.label):
            self._ends(step)

    def _ends(self, step: Step) -> None:
        if self._fatal is None:
            self._fatal, self._before = step, self.seen.before

    def ended(self, place: int, pause_ns: int | None, words: str) -> None:
        if self._fatal is None:
            self._before = self.seen.before
        self._end = (place, pause_ns, words)

    def settle(self) -> None:
        if self._is_reported:
            return
        connection = self.seen.connection
        if connection.keepalive is not None:
            return  # keepalive-unanswered explains it
        fatal = self._fatal
        cause = fatals.cause(fatal.label) if fatal is not None else ""
        silent = (
            not connection.fatal
            and bool(connection.ends)
            and connection.ends[0].side == BACKEND
            and not connection.asked_to_end
            and self._end is not None
        )
        if not cause and not (
            silent and connection.closed_ns is not None and connection.kind in ("session", "replication") and self._had_begun
        ):
            return
        if fatal is not None and not fatal.counts:
            return
        self._is_reported = True
        note = self.seen.note(KIND, cause)
        note.times += 1
        if cause in IDLE_TOO_LONG:
            note.fact(TOO_IDLE)
        note.fact(cause if cause in _WITH_REMEDY else "by hand" if cause in fatals.BY_SERVER else "by a pooler" if cause else "silent")
        before = self._before
        place, pause_ns, _ = self._end or (fatal.place if fatal is not None else self.seen.first, None, "")
        status = before.shape.status if before is not None else ""
        idle = f"{seconds(pause_ns)} idle before" if pause_ns is not None else ""
        open_ = {"T": "a transaction was open", "E": "a failed transaction was open"}.get(status, "")
        if open_:
            note.amount += 1
        if fatal is not None and fatal.shape.kind is RowKind.ROUND_TRIP:
            idle = "while a statement waited" if cause == fatals.WAITED else "while a statement ran"
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
        note.show(fatal.place if fatal is not None else place, f"ended by the {_who(cause)}{f' with {cause}' if cause else ''}")
        if fatal is not None:
            fatal.explain(note)
            self.seen.row_of(fatal.place, KIND)
        self.seen.explain_end(note)

    @property
    def _had_begun(self) -> bool:
        return self.seen.connection.session is None or self.seen.connection.session.round_trips.started_ns is not None


def _who(cause: str) -> str:
    return "pooler" if cause and cause not in fatals.BY_SERVER else "server"


def _what(note: Note) -> str:
    many = counted(note.times, "session")
    subject = note.subject
    said = fatals.BY_SERVER.get(subject)
    why = f"{subject}, {said}" if said else fatals.BY_POOLER.get(subject, subject) or _SILENT
    open_ = f"; with {counted(note.amount, 'open transaction')}" if note.amount and note.times > 1 else ""
    used = note.parts.get(USED)
    later = f"; used afterwards {used_words(used)}" if used is not None else ""
    return f"{many} ended by the {_who(subject)}: {why}{f': {note.words}' if note.words and note.times == 1 else open_}{later}"


KIND: Final = Kind(
    name="server-ended",
    unit=FAILED,
    why="An open transaction is rolled back, and the driver notices the end when it next uses the connection.",
    watch=_Watch,
    what=_what,
    is_reported=lambda note: note.times > 0,
    number=lambda note: note.times,
    joins=(USED, IDLE),
    also={IDLE: (), USED: (Remedy(CHECK_OR_RETRY, tried=CHECKED, clients=_CLOSE_BY_HAND),)},
    joined=lambda note: (note.subject,) if note.subject else (),
    cares=failures,
    cares_other=lambda step: step.shape.kind is RowKind.ASYNCHRONOUS and bool(step.shape.errors),
    remedies=(
        Remedy(
            "end the transaction before slow work; or set a longer idle_in_transaction_session_timeout for the role",
            needs=("25P03",),
            tried="commit-before-slow-work",
            clients=DEMO,
        ),
        Remedy(
            "make transactions shorter; or set a longer transaction_timeout for the role",
            needs=("25P04",),
            tried="commit-sooner",
            clients=DEMO,
        ),
        Remedy(
            "close connections before they reach idle_session_timeout (the pool's maximum idle time); or set a longer one for the role",
            needs=("57P05",),
            tried="closed-before-idle",
            clients=_CLOSE_BY_HAND,
        ),
        Remedy(
            "close connections before they reach PgBouncer's client_idle_timeout (the pool's maximum idle time)",
            needs=(fatals.IDLE_CLIENT,),
            tried="closed-before-pooler",
            clients=_CLOSE_BY_HAND,
        ),
        Remedy(
            "end the transaction before slow work; or set a longer idle_transaction_timeout in PgBouncer",
            needs=(fatals.IDLE_TRANSACTION,),
            tried="commit-before-pooler",
            clients=DEMO,
        ),
        Remedy(
            "use a larger pool (PgBouncer's default_pool_size), if the server can take it; or make transactions shorter",
            needs=(fatals.WAITED,),
            tried="larger-pool",
            clients=DEMO,
        ),
        Remedy(
            "make the statement faster, or set a longer query_timeout in PgBouncer",
            needs=(fatals.RAN,),
            tried="faster-statement",
            clients=DEMO,
        ),
        Remedy("make transactions shorter; or set a longer transaction_timeout in PgBouncer", needs=(fatals.IN_TRANSACTION,)),
        Remedy(
            "reconnect and repeat the unit of work; the pooler's log says why it ended the session",
            needs=("by a pooler",),
            tried="again-after-pooler",
            clients=DEMO,
        ),
        Remedy(
            "reconnect and repeat the unit of work; the server's log says who ended the session",
            needs=("by hand",),
            tried="again-after-end",
            clients=DEMO,
        ),
        Remedy(
            "close connections before something in between does, such as a firewall or a pooler; their logs, and the server's, say which",
            needs=("silent",),
            tried="closed-before-others",
            clients=DEMO,
        ),
    ),
)
