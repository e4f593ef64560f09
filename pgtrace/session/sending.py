"""The frontend's messages: what each of them makes the backend owe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pgtrace.framing import Frame
from pgtrace.protocol import codes
from pgtrace.protocol.codes import FRONTEND
from pgtrace.session import events, owed
from pgtrace.session.copying import Copying
from pgtrace.session.departure import TERMINATE
from pgtrace.session.events import Statement
from pgtrace.session.state import NO_MESSAGES, STAND_INS, SUBTYPED, Handler


class Sending(Copying):
    """What the driver sends."""

    def _frontend(self, time_ns: int, frames: list[Frame]) -> None:
        counts = self._tally.frontend
        round_trips = self.round_trips
        for code, body, size in frames:
            if code in NO_MESSAGES:
                self._no_message(FRONTEND, code, body, size, time_ns)
                continue
            if round_trips.departure is not None:
                round_trips.stays()
            counts[code if code != 0x70 else 0x70 + SUBTYPED * (self.authentication + 1)] += 1
            current = round_trips.current
            if current is None:
                if self._opens_none(code):
                    self._alone(FRONTEND, code, body, size, time_ns)
                    continue
                current = round_trips.open(time_ns, (self._offsets[0], self._offsets[1]), self.status, self.observer.begins())
                if self._copying is not None:
                    current.copying = self._copied(self._copying)
                elif self._copy_both and self._owed:
                    current.copying = self._copied(self._owed[0])
                if self._owed or self._skipping:
                    current.owed_before = owed.before(self._owed, self._copying, skipping=self._skipping, copy_both=self._copy_both)
            self._offsets[FRONTEND] += size
            current.sent_bytes += size
            sent = current.sent
            letter = code if code < 256 else STAND_INS[code]
            if letter != 0x64 or sent[-1:] != b"d":
                if len(sent) < events.FLIGHT_MESSAGES_KEPT:
                    sent.append(letter)
                elif len(sent) == events.FLIGHT_MESSAGES_KEPT:
                    sent.append(events.CUT)
            handler = self._frontend_handlers.get(code)
            if handler is not None:
                handler(self, time_ns, body)
            elif code == 0x58:
                self.terminated = True
                if round_trips.pending:
                    self._leaves(time_ns, FRONTEND, TERMINATE)

    def _opens_none(self, code: int) -> bool:
        if code in (0x64, 0x63, 0x66):  # CopyData, CopyDone, CopyFail
            if self._copy_both:
                return code == 0x64
            return self._copying is None and not self._may_copy()
        return code in (0x58, codes.CANCEL_REQUEST)

    def _carries(self, statement: Statement) -> None:
        current = self.round_trips.current
        if current is None:
            return
        if not current.statements:
            self._carried.clear()
        if statement not in self._carried:
            self._carried.add(statement)
            current.statements.append(statement)

    def _deepen(self) -> None:
        current = self.round_trips.current
        if current is None:
            return
        current.depth += 1
        if current.flush_points:  # a round trip already; before, the run may still end as none
            self._tally.pipelined_executions += current.depth > 1
            self._tally.max_pipeline_depth = max(self._tally.max_pipeline_depth, current.depth)

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
        self._tally.params_text += text
        self._tally.params_binary += binary
        if self._discarded(runs=True):
            return
        item = self._owe(owed.FUNCTION, time_ns)
        item.flushed_ns = time_ns
        self._flush_point(item, time_ns)

    def _parse(self, time_ns: int, body: bytes) -> None:
        name, sql, types = self._memory.parse(body)
        if name:
            self._tally.parses_named += 1
        else:
            self._tally.parses_unnamed += 1
        current = self.round_trips.current
        if current is not None and name:
            current.prepares = True
        statement = self.statements.parse(name, sql, types)
        self._carries(statement)
        self.observer.parsed(statement)
        if not self._discarded():
            self._owe(owed.PARSE, time_ns).statement = statement

    def _bind(self, time_ns: int, body: bytes) -> None:
        portal_name, name, text, binary, result_formats = self._memory.bind(body)
        self._tally.params_text += text
        self._tally.params_binary += binary
        portal = self.statements.bind(portal_name, name, result_formats)
        statement = portal.statement
        self._carries(statement)
        current = self.round_trips.current
        if current is not None:
            current.formats |= _format_bits(result_formats)
            if name and (statement.binds or statement.sql is None):
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
        kind, name = self._memory.kind_and_name(body)
        self.statements.close(kind, name)
        if self._discarded():
            return
        item = self._owe(owed.CLOSE, time_ns)
        item.name, item.portal = name, kind

    def _sync(self, time_ns: int, body: bytes) -> None:
        if self._copying is not None:
            return
        if self._skipping:
            self._skipping = False
            self.statements.restore(self._owed)
        self._flush_point(self._owe(owed.SYNC, time_ns), time_ns)

    def _flush(self, time_ns: int, body: bytes) -> None:
        if self._copying is None and self._owed and not self._discarded():
            self._flush_point(self._owe(owed.FLUSH, time_ns), time_ns)

    def _authentication_response(self, time_ns: int, body: bytes) -> None:
        if self.authentication == codes.AUTH_SASL and not self.initial_response:
            self.initial_response = body
        self._flush_point(self._owe(owed.STARTUP, time_ns), time_ns)

    def _startup_message(self, time_ns: int, body: bytes) -> None:
        self.startup = body
        self._flush_point(self._owe(owed.STARTUP, time_ns), time_ns)

    def _encryption_request(self, time_ns: int, body: bytes) -> None:
        self._flush_point(self._owe(owed.ENCRYPTION, time_ns), time_ns)

    _frontend_handlers: ClassVar[Mapping[int, Handler]] = {
        ord("Q"): _query,
        ord("P"): _parse,
        ord("B"): _bind,
        ord("D"): _describe,
        ord("E"): _execute,
        ord("C"): _close,
        ord("S"): _sync,
        ord("H"): _flush,
        ord("F"): _function_call,
        ord("d"): Copying._copy_data,
        ord("c"): Copying._copy_end,
        ord("f"): Copying._copy_end,
        ord("p"): _authentication_response,
        codes.STARTUP_MESSAGE: _startup_message,
        codes.SSL_REQUEST: _encryption_request,
        codes.GSSENC_REQUEST: _encryption_request,
    }


def _format_bits(formats: tuple[int, ...]) -> int:
    """1 for text, 2 for binary, 3 for both."""
    bits = 0
    for one in formats or (0,):
        bits |= 2 if one else 1
    return bits
