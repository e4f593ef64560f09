"""One connection's state: what each side may mean next, what is owed, and what just happened.

Bytes go in, in the order in which they passed, and an Observer hears of round trips, executions and statements. The machine never raises on any
bytes: what does not fit is counted and shown, and the next ReadyForQuery puts the queue right again.

How it works. Each frontend message that will be answered becomes an item of the queue of what is owed (owed.py); each backend message answers the
oldest item, or none. Around the queue stand:

- the round trips (roundtrips.py): items that are flush points keep the open one open;
- the names (statements.py): which SQL a Bind or Execute is about;
- skipping: after an ErrorResponse in an extended query the backend discards everything up to the next Sync; what was sent ahead leaves the queue
  with its flush points answered, what is sent later never enters it;
- copy mode, which is the backend's. `_copying` is the item whose CopyInResponse was seen and whose data has not ended. What was sent ahead waits in
  the queue as COPY_DATA or COPY_END until the reply to what precedes it decides; Sync and Flush read in copy mode are taken back.

It knows no files, sockets or drivers. Source of the rules: PostgreSQL manual, "Message Flow", "Pipelining", "COPY Operations"; measured edges are
worked examples in the tests.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from pgtrace.framing import Frame, Framer
from pgtrace.protocol import codes, fields
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.session import events, owed
from pgtrace.session.events import Execution, Observer, RoundTrip, Statement, Tally
from pgtrace.session.memory import Memory
from pgtrace.session.owed import Owed
from pgtrace.session.roundtrips import RoundTrips
from pgtrace.session.statements import Statements

SUBTYPED = 1000
"""Tally keys of Authentication and of `p`: SUBTYPED times (subtype + 1), plus the type byte."""
_PORTALS_KEPT = 64
_UNKNOWN = Statement("", None)
_STAND_INS = {
    codes.STARTUP_MESSAGE: events.STARTUP,
    codes.SSL_REQUEST: events.SSL,
    codes.GSSENC_REQUEST: events.GSS,
    codes.CANCEL_REQUEST: events.CANCEL,
    codes.VERSION_2_ERROR: ord("E"),
}
_NO_MESSAGES = frozenset({codes.OPAQUE, codes.UNDECODED, codes.RESUMED})
_ASYNCHRONOUS = frozenset(b"NAS")
_NEEDS_ANSWER = frozenset({2, 3, 5, 6, 7, 8, 9, 10, 11})

Handler = Callable[[int, bytes], None]


class Session:
    """The state machine of one connection."""

    def __init__(self, observer: Observer | None = None, memory: Memory | None = None) -> None:
        self.observer = observer or Observer()
        self.tally = Tally()
        self.framer = Framer()
        self.round_trips = RoundTrips(self.observer, self.tally)
        self.statements = Statements(self.observer, self.tally)
        self.bytes = [0, 0]
        """Bytes of each side so far, as they passed."""
        self.startup: bytes = b""
        """Body of the StartupMessage."""
        self.cancel: bytes = b""
        """Body of the CancelRequest."""
        self.key: bytes = b""
        """Body of BackendKeyData: process id and (in a capture hashed) secret key."""
        self.parameters: dict[str, str] = {}
        """The latest ParameterStatus of each name."""
        self.negotiated: int | None = None
        """The protocol version of NegotiateProtocolVersion."""
        self.status = ""
        """Transaction status of the latest ReadyForQuery."""
        self.authentication = -1
        """Subtype of the latest Authentication message."""
        self.terminated = False
        self.is_closed = False
        self.unreadable = False
        """Some of its bytes are encrypted or not PostgreSQL."""
        self._memory = memory or Memory()
        self._offsets = [0, 0]
        self._owed: deque[Owed] = deque()
        self._unflushed: list[Owed] = []
        self._skipping = False
        self._copying: Owed | None = None
        self._copy_both = False
        self._last_end_ns = 0
        self._frontend_handlers: dict[int, Handler] = {
            ord("Q"): self._query,
            ord("P"): self._parse,
            ord("B"): self._bind,
            ord("D"): self._describe,
            ord("E"): self._execute,
            ord("C"): self._close,
            ord("S"): self._sync,
            ord("H"): self._flush,
            ord("F"): self._function_call,
            ord("d"): self._copy_data,
            ord("c"): self._copy_end,
            ord("f"): self._copy_end,
            ord("p"): self._authentication_response,
            codes.STARTUP_MESSAGE: self._startup_message,
            codes.SSL_REQUEST: self._encryption_request,
            codes.GSSENC_REQUEST: self._encryption_request,
        }
        self._backend_handlers: dict[int, Handler] = {
            ord("Z"): self._ready_for_query,
            ord("C"): self._command_complete,
            ord("I"): self._command_complete,
            ord("s"): self._portal_suspended,
            ord("1"): self._parse_complete,
            ord("2"): self._bind_complete,
            ord("3"): self._close_complete,
            ord("T"): self._row_description,
            ord("n"): self._no_data,
            ord("t"): self._parameter_description,
            ord("E"): self._error_response,
            ord("G"): self._copy_in_response,
            ord("W"): self._copy_both_response,
            ord("V"): self._function_call_response,
            ord("R"): self._authentication,
            ord("S"): self._parameter_status,
            ord("K"): self._backend_key_data,
            ord("v"): self._negotiate_protocol_version,
            codes.SSL_REPLY: self._encryption_reply,
            codes.GSSENC_REPLY: self._encryption_reply,
            codes.VERSION_2_ERROR: self._version_2_error,
        }

    # What comes in.

    def receive(self, side: int, time_ns: int, data: bytes, offset: int | None = None) -> None:
        """The next bytes of that side, as one read brought them. `offset`: their place in the stream, for after a gap."""
        self.bytes[side] += len(data)
        framer = self.framer
        if framer.seeking and offset is not None:
            self._offsets[side] = offset
        frames = framer.feed(side, data)
        if side == BACKEND:
            self._backend(time_ns, frames)
        else:
            self._frontend(time_ns, frames)

    def opaque(self, side: int, time_ns: int, length: int) -> None:
        """Bytes that were counted, not kept."""
        self.bytes[side] += length
        self._offsets[side] += length
        self.unreadable = True
        self.observer.alone(side, codes.OPAQUE, b"", length, time_ns)

    def gap(self, time_ns: int) -> None:
        """Bytes are missing from here, in either direction."""
        self.round_trips.lose(time_ns)
        self._owed.clear()
        self._unflushed.clear()
        self._skipping = self._copy_both = False
        self._copying = None
        self.statements.suspended.clear()
        self.framer.gap()

    def resume(self, time_ns: int, earlier: Session, offsets: tuple[int, int]) -> None:
        """Read on in the middle of a connection, knowing what `earlier` learned from its start-up; nothing of that is counted."""
        self.startup, self.key, self.negotiated = earlier.startup, earlier.key, earlier.negotiated
        self.parameters.update(earlier.parameters)
        self._offsets = list(offsets)
        self.round_trips.setup_over(time_ns)
        self.gap(time_ns)

    def close(self, time_ns: int) -> None:
        """The connection has ended: that answers everything."""
        self.is_closed = True
        self._owed.clear()
        self.round_trips.end(time_ns)
        self.round_trips.drop(time_ns)

    # What can be asked.

    @property
    def offsets(self) -> tuple[int, int]:
        """Where the next message of each side begins in its stream."""
        return self._offsets[0], self._offsets[1]

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is owed and no message is cut."""
        idle = not self._owed and self.round_trips.current is None
        return self.is_closed or (idle and not self.framer.unfinished(FRONTEND) and not self.framer.unfinished(BACKEND))

    def waited_ns(self, time_ns: int) -> tuple[int, int]:
        """After set-up, up to that moment: time with a flush point open, and the rest."""
        started = self.round_trips.started_ns
        if started is None:
            return 0, 0
        waited = self.round_trips.waited_ns(time_ns)
        return waited, max(0, time_ns - started - waited)

    # The frontend's messages.

    def _frontend(self, time_ns: int, frames: list[Frame]) -> None:
        counts = self.tally.frontend
        round_trips = self.round_trips
        for code, body, size in frames:
            if code in _NO_MESSAGES:
                self._no_message(FRONTEND, code, body, size, time_ns)
                continue
            counts[code if code != 0x70 else 0x70 + SUBTYPED * (self.authentication + 1)] += 1
            current = round_trips.current
            if current is None:
                if self._opens_none(code):
                    self._alone(FRONTEND, code, body, size, time_ns)
                    continue
                current = round_trips.open(time_ns, (self._offsets[0], self._offsets[1]), self.status)
            self._offsets[FRONTEND] += size
            current.sent_bytes += size
            sent = current.sent
            letter = code if code < 256 else _STAND_INS[code]
            if (letter != 0x64 or sent[-1:] != b"d") and len(sent) < events.FLIGHT_MESSAGES_KEPT:
                sent.append(letter)
            handler = self._frontend_handlers.get(code)
            if handler is not None:
                handler(time_ns, body)
            elif code == 0x58:
                self.terminated = True

    def _opens_none(self, code: int) -> bool:
        if code in (0x64, 0x63, 0x66):  # CopyData, CopyDone, CopyFail
            if self._copy_both:
                return code == 0x64
            return self._copying is None and not self._may_copy()
        return code in (0x58, codes.CANCEL_REQUEST)

    def _may_copy(self) -> bool:
        """Whether something owed could still be answered by CopyInResponse."""
        return not self._skipping and any(item.kind in (owed.QUERY, owed.EXECUTE) and not item.copying for item in self._owed)

    def _owe(self, kind: int, time_ns: int) -> Owed:
        item = Owed(kind, time_ns)
        self._owed.append(item)
        return item

    def _flush_point(self, item: Owed, time_ns: int) -> None:
        item.flush_point = True
        self.round_trips.flush_point(time_ns)
        for execute in self._unflushed:
            execute.flushed_ns = time_ns
        self._unflushed.clear()

    def _carries(self, statement: Statement) -> None:
        current = self.round_trips.current
        if (
            current is not None
            and (not current.statements or current.statements[-1] is not statement)
            and statement not in current.statements
        ):
            current.statements.append(statement)

    def _deepen(self) -> None:
        current = self.round_trips.current
        if current is None:
            return
        current.depth += 1
        if current.depth > 1:
            self.tally.pipelined_executions += 1
        self.tally.max_pipeline_depth = max(self.tally.max_pipeline_depth, current.depth)

    def _discarded(self, runs: bool = False) -> bool:
        """Whether the backend will throw the message away, because an error came before it."""
        if self._skipping and runs and self.round_trips.current is not None:
            self.round_trips.current.received.append(events.SKIPPED)
        return self._skipping

    def _query(self, time_ns: int, body: bytes) -> None:
        self._deepen()
        parts = [Statement("", sql, simple=True) for sql in self._memory.query(body)]
        for part in parts:
            self._carries(part)
        if self._discarded(runs=True):
            return
        item = self._owe(owed.QUERY, time_ns)
        item.parts = parts
        item.flushed_ns = time_ns
        self._flush_point(item, time_ns)

    def _function_call(self, time_ns: int, body: bytes) -> None:
        self._deepen()
        text, binary = self._memory.function_formats(body)
        self.tally.params_text += text
        self.tally.params_binary += binary
        if self._discarded(runs=True):
            return
        item = self._owe(owed.FUNCTION, time_ns)
        item.flushed_ns = time_ns
        self._flush_point(item, time_ns)

    def _parse(self, time_ns: int, body: bytes) -> None:
        name, sql, types = self._memory.parse(body)
        if name:
            self.tally.parses_named += 1
        else:
            self.tally.parses_unnamed += 1
        current = self.round_trips.current
        if current is not None and name:
            current.prepares = True
        discarded = self._discarded()
        statement = Statement(name, sql, types) if discarded else self.statements.parse(name, sql, types)
        self._carries(statement)
        self.observer.parsed(statement)
        if not discarded:
            self._owe(owed.PARSE, time_ns).statement = statement

    def _bind(self, time_ns: int, body: bytes) -> None:
        portal_name, name, text, binary, result_formats = self._memory.bind(body)
        self.tally.params_text += text
        self.tally.params_binary += binary
        portal = self.statements.bind(portal_name, name, result_formats)
        statement = portal.statement
        self._carries(statement)
        current = self.round_trips.current
        if current is not None and name and (statement.binds or statement.sql is None):
            current.reuses = True
        if self._discarded():
            return
        item = self._owe(owed.BIND, time_ns)
        item.name, item.portal, item.statement, item.result_formats = name, portal_name, statement, result_formats

    def _describe(self, time_ns: int, body: bytes) -> None:
        kind, name = self._memory.kind_and_name(body)
        statement = self.statements.statement(name) if kind == "S" else self.statements.portal(name).statement
        self._carries(statement)
        if self._discarded():
            return
        item = self._owe(owed.DESCRIBE, time_ns)
        item.name, item.portal, item.statement = name, kind, statement

    def _execute(self, time_ns: int, body: bytes) -> None:
        self._deepen()
        name = self._memory.portal(body)
        self._carries(self.statements.portal(name).statement)
        if self._discarded(runs=True):
            return
        item = self._owe(owed.EXECUTE, time_ns)
        item.portal = name
        self._unflushed.append(item)

    def _close(self, time_ns: int, body: bytes) -> None:
        if self._discarded():
            return
        kind, name = self._memory.kind_and_name(body)
        self.statements.close(kind, name)
        item = self._owe(owed.CLOSE, time_ns)
        item.name, item.portal = name, kind

    def _sync(self, time_ns: int, body: bytes) -> None:
        if self._copying is not None:
            return
        self._skipping = False
        self._flush_point(self._owe(owed.SYNC, time_ns), time_ns)

    def _flush(self, time_ns: int, body: bytes) -> None:
        if self._copying is None and self._owed and not self._discarded():
            self._flush_point(self._owe(owed.FLUSH, time_ns), time_ns)

    def _copy_data(self, time_ns: int, body: bytes) -> None:
        if self._copying is None and self._may_copy() and self._owed[-1].kind != owed.COPY_DATA:
            self._owe(owed.COPY_DATA, time_ns)

    def _copy_end(self, time_ns: int, body: bytes) -> None:
        if self._copy_both and self._owed:
            self._copy_both = False
            self._end_simple_copy(self._owed[0], time_ns)
        elif self._copying is not None:
            item, self._copying = self._copying, None
            if item.kind == owed.QUERY:
                self._end_simple_copy(item, time_ns)
        elif self._may_copy():
            self._owe(owed.COPY_END, time_ns)

    def _end_simple_copy(self, item: Owed, time_ns: int) -> None:
        item.copy_flush_points += 1
        item.flushed_ns = time_ns
        self.round_trips.flush_point(time_ns)

    def _authentication_response(self, time_ns: int, body: bytes) -> None:
        self._flush_point(self._owe(owed.STARTUP, time_ns), time_ns)

    def _startup_message(self, time_ns: int, body: bytes) -> None:
        self.startup = body
        self._flush_point(self._owe(owed.STARTUP, time_ns), time_ns)

    def _encryption_request(self, time_ns: int, body: bytes) -> None:
        self._flush_point(self._owe(owed.ENCRYPTION, time_ns), time_ns)

    # The backend's messages.

    def _backend(self, time_ns: int, frames: list[Frame]) -> None:
        counts = self.tally.backend
        handlers = self._backend_handlers
        round_trips = self.round_trips
        queue = self._owed
        for code, body, size in frames:
            if code in _NO_MESSAGES:
                self._no_message(BACKEND, code, body, size, time_ns)
                continue
            current = round_trips.current
            late = current is None
            if current is None:
                current = self._late(code)
                if current is None:
                    self._alone(BACKEND, code, body, size, time_ns)
                    continue
            elif current.first_answer_ns is None:
                current.first_answer_ns = time_ns
            self._offsets[BACKEND] += size
            current.received_bytes += size
            received = current.received
            if code == 0x44:  # DataRow
                counts[code] += 1
                current.rows += 1
                if received[-1:] != b"D":
                    received.append(code)
                if queue:
                    self._data_row(queue[0], body)
                continue
            letter = code if code < 256 else _STAND_INS.get(code) or body[0]
            if (letter != 0x64 or received[-1:] != b"d") and len(received) < events.FLIGHT_MESSAGES_KEPT:
                received.append(letter)
            counts[code if code != 0x52 else 0x52 + SUBTYPED * (codes.authentication_subtype(body) + 1)] += 1
            handler = handlers.get(code)
            if handler is not None:
                handler(time_ns, body)
            if late:
                self.observer.closed(current)

    def _late(self, code: int) -> RoundTrip | None:
        """The closed round trip whose reply this still is, if any: what follows a CopyInResponse or an error that closed it."""
        return self.round_trips.last if self._owed and code not in _ASYNCHRONOUS else None

    def _pop(self) -> Owed:
        """Answer the oldest item, and what needs no reply of its own behind it."""
        queue = self._owed
        item = queue.popleft()
        if item.flush_point:
            self.round_trips.answered()
        while queue and queue[0].kind in (owed.FLUSH, owed.COPY_DATA, owed.COPY_END):
            if queue.popleft().flush_point:
                self.round_trips.answered()
        return item

    def _pop_if(self, kind: int, time_ns: int) -> Owed | None:
        if self._owed and self._owed[0].kind == kind:
            item = self._pop()
            self.round_trips.settle(time_ns)
            return item
        return None

    def _data_row(self, item: Owed, body: bytes) -> None:
        item.rows += 1
        if item.columns is None:
            columns = int.from_bytes(body[:2], "big")
            formats: tuple[int, ...] = ()  # a Query whose RowDescription was not seen: text
            if item.kind == owed.EXECUTE:
                portal = self.statements.live_portals.get(item.portal)
                formats = portal.result_formats if portal is not None else ()
            binary = sum(1 for one in formats if one) if len(formats) > 1 else (columns if formats and formats[0] else 0)
            item.columns = (max(0, columns - binary), binary)
        text, binary = item.columns
        self.tally.values_text += text
        self.tally.values_binary += binary

    def _executed(self, item: Owed, statement: Statement, time_ns: int, *, failed: bool = False, continues: bool = False) -> None:
        """An execution ended; `item` goes on for the rest of a simple Query."""
        started = max(item.flushed_ns if item.flushed_ns is not None else item.sent_ns, self._last_end_ns)
        text, binary = item.columns or (0, 0)
        text, binary = text * item.rows, binary * item.rows
        if not continues:
            self.tally.executions += 1
        current = self.round_trips.current
        if current is not None:
            current.values_text += text
            current.values_binary += binary
        self.observer.executed(Execution(statement, max(0, time_ns - started), item.rows, text, binary, failed=failed, continues=continues))
        self._last_end_ns = time_ns
        item.rows = 0
        item.columns = None

    def _portal_statement(self, name: str) -> Statement:
        portal = self.statements.live_portals.get(name)
        return portal.statement if portal is not None else self.statements.portal(name).statement

    def _command_complete(self, time_ns: int, body: bytes) -> None:
        if not self._owed:
            return
        item = self._owed[0]
        if item.kind == owed.EXECUTE:
            statement = self._portal_statement(item.portal)
            continues = item.portal in self.statements.suspended
            self.statements.suspended.discard(item.portal)
            if self._copying is item:
                self._copying = None
            self._executed(item, statement, time_ns, continues=continues)
        elif item.kind == owed.QUERY:
            statement = item.parts.pop(0) if item.parts else _UNKNOWN
            if self._copying is item:
                self._copying = None
            self._executed(item, statement, time_ns)
        else:
            return
        if body:
            self.statements.completed(self._memory.tag(body), statement)
        if item.kind == owed.EXECUTE:
            self._pop()
            self.round_trips.settle(time_ns)

    def _portal_suspended(self, time_ns: int, body: bytes) -> None:
        if self._owed and self._owed[0].kind == owed.EXECUTE:
            item = self._owed[0]
            continues = item.portal in self.statements.suspended
            self.statements.suspended.add(item.portal)
            self._executed(item, self._portal_statement(item.portal), time_ns, continues=continues)
            self._pop()
            self.round_trips.settle(time_ns)

    def _parse_complete(self, time_ns: int, body: bytes) -> None:
        item = self._pop_if(owed.PARSE, time_ns)
        if item is not None and item.statement is not None:
            self.statements.parsed(item.statement)

    def _bind_complete(self, time_ns: int, body: bytes) -> None:
        item = self._pop_if(owed.BIND, time_ns)
        if item is not None:
            self.statements.bound(item)

    def _close_complete(self, time_ns: int, body: bytes) -> None:
        item = self._pop_if(owed.CLOSE, time_ns)
        if item is not None:
            self.statements.closed(item.portal, item.name)

    def _row_description(self, time_ns: int, body: bytes) -> None:
        if not self._owed:
            return
        item = self._owed[0]
        if item.kind == owed.QUERY:
            item.columns = self._memory.column_formats(body)
        elif item.kind == owed.DESCRIBE:
            if item.statement is not None:
                item.statement.columns = body
            self._pop()
            self.round_trips.settle(time_ns)

    def _no_data(self, time_ns: int, body: bytes) -> None:
        self._pop_if(owed.DESCRIBE, time_ns)

    def _parameter_description(self, time_ns: int, body: bytes) -> None:
        if self._owed and self._owed[0].kind == owed.DESCRIBE and self._owed[0].statement is not None:
            self._owed[0].statement.parameter_types = self._memory.parameter_types(body)

    def _function_call_response(self, time_ns: int, body: bytes) -> None:
        if self._owed and self._owed[0].kind == owed.FUNCTION:
            self._executed(self._owed[0], _UNKNOWN, time_ns)

    def _ready_for_query(self, time_ns: int, body: bytes) -> None:
        round_trips = self.round_trips
        if round_trips.setup:
            round_trips.setup_over(time_ns)
        self.status = chr(body[0]) if body and body[0] in b"ITE" else ""
        if self.status == "I":
            self.statements.in_block = False
        if round_trips.current is not None:
            round_trips.current.status = self.status
        elif round_trips.last is not None:
            round_trips.last.status = self.status
        if any(item.kind in owed.ANSWERED_BY_READY for item in self._owed):
            self._copy_both = False
            while True:
                item = self._pop()
                if item is self._copying:
                    self._copying = None
                round_trips.answered(item.copy_flush_points)
                if item.kind in owed.ANSWERED_BY_READY:
                    break
        round_trips.settle(time_ns)
        if not self._owed and self.status == "I" and len(self.statements.live_portals) > _PORTALS_KEPT:
            self.statements.live_portals.clear()
            self.statements.sending_portals.clear()
            self.statements.suspended.clear()

    def _error_response(self, time_ns: int, body: bytes) -> None:
        current = self.round_trips.current or (self.round_trips.last if self._owed else None)
        if current is not None:
            current.errors += 1
            current.error = current.error or body
        severity = fields.error_fields(body)
        if severity.get("V", severity.get("S", "")) in ("FATAL", "PANIC"):
            self._fatal(time_ns)
            return
        if not self._owed:
            self.observer.failed(None)
            return
        item = self._owed[0]
        if item.kind == owed.QUERY:
            self._failed_query(item, time_ns)
        elif item.kind == owed.FUNCTION:
            self._executed(item, _UNKNOWN, time_ns, failed=True)
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
            waiting = item.parts[0] if item.parts else _UNKNOWN
            statement = self._portal_statement(item.portal) if item.kind == owed.EXECUTE else waiting
            self._executed(item, statement, time_ns, failed=True)
        self.observer.failed(statement)
        self._owed.clear()
        self._copying = None
        self.round_trips.end(time_ns)

    def _failed_query(self, item: Owed, time_ns: int) -> None:
        statement = item.parts[0] if item.parts else _UNKNOWN
        item.parts = []
        self._executed(item, statement, time_ns, failed=True)
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
            continues = item.portal in self.statements.suspended
            self.statements.suspended.discard(item.portal)
            self._executed(item, statement, time_ns, failed=True, continues=continues)
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
            current.received += bytes([events.SKIPPED]) * min(skipped, events.FLIGHT_MESSAGES_KEPT - len(current.received))
        self.statements.failed(dropped, queue)
        if item.copying:
            self._copying = None
            if not queue:
                self.round_trips.count_answered_run(time_ns)
        self.round_trips.settle(time_ns)

    def _version_2_error(self, time_ns: int, body: bytes) -> None:
        self.observer.failed(None)
        self._owed.clear()
        self.round_trips.end(time_ns)

    def _copy_in_response(self, time_ns: int, body: bytes) -> None:
        if not self._owed or self._owed[0].kind not in (owed.QUERY, owed.EXECUTE):
            return
        queue = self._owed
        item = queue[0]
        item.copying = True
        self._hand_over(item)
        ended: Owed | None = None
        while len(queue) > 1 and queue[1].kind in (owed.COPY_DATA, owed.COPY_END, owed.SYNC, owed.FLUSH):
            ahead = queue[1]
            del queue[1]
            if ahead.kind in (owed.SYNC, owed.FLUSH):
                self.round_trips.withdraw()
            elif ahead.kind == owed.COPY_END:
                ended = ahead
                break
        if ended is None:
            self._copying = item
        elif item.kind == owed.QUERY:
            self._end_simple_copy(item, ended.sent_ns)
        self.round_trips.settle(time_ns)

    def _hand_over(self, item: Owed) -> None:
        """The turn goes to the frontend: what led to it is answered. An Execute answered by it is a flush point."""
        if item.kind == owed.EXECUTE:
            self.round_trips.flush_point(item.sent_ns)
            self.round_trips.answered()
            item.flushed_ns = item.sent_ns
            if item in self._unflushed:
                self._unflushed.remove(item)
        elif item.flush_point:
            item.flush_point = False
            self.round_trips.answered()
        self.round_trips.answered(item.copy_flush_points)
        item.copy_flush_points = 0

    def _copy_both_response(self, time_ns: int, body: bytes) -> None:
        if self._owed and self._owed[0].kind in (owed.QUERY, owed.EXECUTE):
            self._copy_both = True
            self._hand_over(self._owed[0])
            self.round_trips.settle(time_ns)

    def _authentication(self, time_ns: int, body: bytes) -> None:
        self.authentication = codes.authentication_subtype(body)
        if self.authentication in _NEEDS_ANSWER:
            self._pop_if(owed.STARTUP, time_ns)

    def _encryption_reply(self, time_ns: int, body: bytes) -> None:
        self._pop_if(owed.ENCRYPTION, time_ns)

    def _parameter_status(self, time_ns: int, body: bytes) -> None:
        name, value = self._memory.parameter_status(body)
        if name in self.parameters or len(self.parameters) < 1000:
            self.parameters[name] = value

    def _backend_key_data(self, time_ns: int, body: bytes) -> None:
        self.key = body

    def _negotiate_protocol_version(self, time_ns: int, body: bytes) -> None:
        self.negotiated = int.from_bytes(body[:4], "big")

    # What belongs to no round trip.

    def _alone(self, side: int, code: int, body: bytes, size: int, time_ns: int) -> None:
        self._offsets[side] += size
        if side == BACKEND:
            self.tally.backend[code if code != 0x52 else 0x52 + SUBTYPED * (codes.authentication_subtype(body) + 1)] += 1
            handler = self._backend_handlers.get(code)
            if handler is not None:
                handler(time_ns, body)
        elif code == 0x58:
            self.terminated = True
        elif code == codes.CANCEL_REQUEST:
            self.cancel = body
        self.observer.alone(side, code, body, size, time_ns)

    def _no_message(self, side: int, code: int, body: bytes, size: int, time_ns: int) -> None:
        self._offsets[side] += size
        if code == codes.RESUMED:
            self.status = body.decode("ascii")
            self.statements.in_block = self.status in ("T", "E")
            if self.round_trips.started_ns is None:
                self.round_trips.setup_over(time_ns)
            return
        if code == codes.OPAQUE:
            self.unreadable = True
        self.observer.alone(side, code, body, size, time_ns)
