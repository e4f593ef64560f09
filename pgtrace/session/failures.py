"""What an ErrorResponse answers, and what the backend discards because of it.

In a simple Query the error ends the Query; ReadyForQuery still comes. In an extended query everything up to the next Sync is discarded: what was sent ahead
leaves the queue with its flush points answered, what is sent later never enters it. An error while a Sync's ReadyForQuery is the next thing owed belongs
to that Sync, and one with nothing owed to nobody. FATAL and PANIC answer everything.

A backend that has to stop at once (an immediate shutdown, the crash of another one) says so in a NoticeResponse, 57P01 or 57P02, and answers nothing more.
"""

from __future__ import annotations

from typing import Final

from pgtrace.protocol import fields
from pgtrace.session import owed
from pgtrace.session.events import FAILURES_KEPT, Failure
from pgtrace.session.owed import Owed
from pgtrace.session.state import FUNCTION_CALL, UNKNOWN_STATEMENT, State

_ALWAYS: Final = "VFLR"
"""Fields of every error of PostgreSQL's, since 9.6."""
_WARNING: Final = b"\0VWARNING\0"
_STOPS: Final = {b"\0VWARNING\0C%s\0" % sqlstate: sqlstate.decode() for sqlstate in (b"57P01", b"57P02")}


def failure(body: bytes, item: Owed | None) -> Failure:
    """What an ErrorResponse says that answers that item, or none."""
    said = fields.error_fields(body)
    severity = said.get("V", said.get("S", ""))
    name = ""
    if item is not None:
        named = item.kind in (owed.PARSE, owed.BIND) and item.statement is not None
        name = item.statement.name if named and item.statement is not None else item.name or item.portal
    return Failure(
        said.get("C", "")[:5],
        severity[:10],
        said.get("R", "")[:100],
        is_postgres=all(letter in said for letter in _ALWAYS),
        asked=owed.NAMES[item.kind] if item is not None else "",
        name=name[:200],
    )


class Failures(State):
    """Errors of the backend, and its last words."""

    def _notice_response(self, _time_ns: int, body: bytes) -> None:
        current = self.round_trips.current
        if current is not None and _WARNING in body:
            sqlstate = fields.error_fields(body).get("C", "")[:5]
            if sqlstate not in current.warnings and len(current.warnings) < FAILURES_KEPT:
                current.warnings += (sqlstate,)
        for text, sqlstate in _STOPS.items():
            if text in body:
                self.fatal = sqlstate

    def _error_response(self, time_ns: int, body: bytes) -> None:
        current = self.round_trips.current or (self.round_trips.last if self._owed else None)
        if current is not None:
            current.errors += 1
            current.error = current.error or body
            if len(current.failures) < FAILURES_KEPT:
                current.failures += (failure(body, self._owed[0] if self._owed else None),)
        severity = fields.error_fields(body)
        if severity.get("V", severity.get("S", "")) in ("FATAL", "PANIC"):
            self.fatal = severity.get("C", "")[:5]
            self._fatal(time_ns)
            return
        if not self._owed:
            self.observer.failed(None)
            return
        item = self._owed[0]
        if item.kind == owed.QUERY:
            self._failed_query(item, time_ns)
        elif item.kind == owed.FUNCTION:
            self._executed(item, FUNCTION_CALL, time_ns, failed=True)
            self.observer.failed(None)
        elif item.kind in (owed.STARTUP, owed.ENCRYPTION):
            self._pop()
            self.round_trips.settle(time_ns)
            self.observer.failed(None)
        elif item.kind == owed.SYNC:
            self.observer.failed(None)
        else:
            self._failed_extended(item, time_ns)

    def _fatal(self, time_ns: int) -> None:
        """It answers everything; the connection is about to end."""
        statement = None
        if self._owed and self._owed[0].kind in owed.RUNS_SOMETHING:
            item = self._owed[0]
            if item.kind == owed.EXECUTE:
                statement = self._portal_statement(item.portal)
            elif item.kind == owed.QUERY:
                statement = item.parts[0] if item.parts else UNKNOWN_STATEMENT
            self._executed(item, statement or FUNCTION_CALL, time_ns, failed=True, continues=self._continues(item))
        self.observer.failed(statement)
        self._owed.clear()
        self._copying = None
        self.round_trips.end(time_ns)

    def _failed_query(self, item: Owed, time_ns: int) -> None:
        statement, continues = self._next_part(item)
        item.parts = []
        self._executed(item, statement, time_ns, failed=True, continues=continues)
        self.observer.failed(statement)
        item.copying = False
        if self._copying is item:
            self._copying = None
            self.round_trips.count_answered_run(time_ns)

    def _failed_extended(self, item: Owed, time_ns: int) -> None:
        """The backend discards what follows, up to the next Sync."""
        queue = self._owed
        statement = item.statement
        if item.kind == owed.EXECUTE:
            statement = self._portal_statement(item.portal)
            self._executed(item, statement, time_ns, failed=True, continues=self._continues(item))
            self.statements.suspended.discard(item.portal)
        self.observer.failed(statement)
        dropped: list[Owed] = []
        while queue and queue[0].kind != owed.SYNC:
            dropped.append(queue.popleft())
            if dropped[-1].flush_point:
                self.round_trips.answered(1 + dropped[-1].copy_flush_points)
        self._skipping = not queue
        skipped = sum(1 for one in dropped if one.kind in owed.RUNS_SOMETHING) - 1
        current = self.round_trips.current
        if current is not None and skipped > 0:
            current.skips(skipped)
        self.statements.failed(dropped, queue)
        if item.copying:
            self._copying = None
            if not queue:
                self.round_trips.count_answered_run(time_ns)
        self.round_trips.settle(time_ns)

    def _version_2_error(self, time_ns: int, body: bytes) -> None:
        if self.round_trips.current is not None:
            self.round_trips.current.errors += 1
            self.round_trips.current.error = b"M" + body.strip(b"\n\0") + b"\0\0"
        self.observer.failed(None)
        self._owed.clear()
        self.round_trips.end(time_ns)
