"""The backend's messages: which item of the queue each of them answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pgtrace.framing import Frame
from pgtrace.protocol import codes
from pgtrace.protocol.answers import ASYNCHRONOUS
from pgtrace.protocol.codes import BACKEND
from pgtrace.session import events, owed
from pgtrace.session.copying import Copying
from pgtrace.session.events import RoundTrip
from pgtrace.session.failures import Failures
from pgtrace.session.owed import Owed
from pgtrace.session.state import FUNCTION_CALL, NO_MESSAGES, STAND_INS, SUBTYPED, Handler

_PORTALS_KEPT = 64
_LONGEST_PARAMETER = 4096
_COPY_DATA = ord("d")
_NEEDS_ANSWER = frozenset({2, 3, 5, 6, 7, 8, 9, 10, 11})
"""Authentication requests that the frontend has to answer."""


class Replies(Copying, Failures):
    """What the server answers."""

    def _backend(self, time_ns: int, frames: list[Frame]) -> None:
        counts = self._tally.backend
        handlers = self._backend_handlers
        round_trips = self.round_trips
        queue = self._owed
        for code, body, size in frames:
            if code in NO_MESSAGES:
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
                if received[-1:] != b"D" and len(received) < events.FLIGHT_MESSAGES_KEPT:
                    received.append(code)
                if queue:
                    self._data_rows(queue[0], 1, int.from_bytes(body[:2], "big"))
                continue
            letter = code if code < 256 else STAND_INS.get(code) or body[0]
            if letter != 0x64 or received[-1:] != b"d":
                if len(received) < events.FLIGHT_MESSAGES_KEPT:
                    received.append(letter)
                elif len(received) == events.FLIGHT_MESSAGES_KEPT:
                    received.append(events.CUT)
            counts[code if code != 0x52 else 0x52 + SUBTYPED * (codes.authentication_subtype(body) + 1)] += 1
            handler = handlers.get(code)
            if handler is not None:
                handler(self, time_ns, body)
            if late:
                self.observer.closed(current)

    def _late(self, code: int) -> RoundTrip | None:
        """The closed round trip whose reply this still is, if any: what directly follows a CopyInResponse or an error that closed it."""
        last = self.round_trips.last
        if last is None or not self._owed or code in ASYNCHRONOUS or (self._copy_both and code == _COPY_DATA):
            return None
        return last if self._offsets[BACKEND] == last.offsets[BACKEND] + last.received_bytes else None

    def _data_rows(self, item: Owed, messages: int, columns: int) -> None:
        """So many DataRows, each with so many columns."""
        item.rows += messages
        if item.columns is None:
            formats: tuple[int, ...] = ()  # a Query whose RowDescription was not seen: text
            if item.kind == owed.EXECUTE:
                portal = self.statements.live_portals.get(item.portal)
                formats = portal.result_formats if portal is not None else ()
            binary = sum(1 for one in formats if one) if len(formats) > 1 else (columns if formats and formats[0] else 0)
            item.columns = (max(0, columns - binary), binary)
        text, binary = item.columns
        self._tally.values_text += text * messages
        self._tally.values_binary += binary * messages

    def _command_complete(self, time_ns: int, body: bytes) -> None:
        if not self._owed:
            return
        item = self._owed[0]
        if item.kind == owed.EXECUTE:
            statement = self._portal_statement(item.portal)
            if self._copying is item:
                self._copying = None
            self._executed(item, statement, time_ns, continues=self._continues(item))
            self.statements.suspended.discard(item.portal)
        elif item.kind == owed.QUERY:
            statement, continues = self._next_part(item)
            if self._copying is item:
                self._copying = None
            self._executed(item, statement, time_ns, continues=continues)
        else:
            return
        if body:
            tag = self._memory.tag(body)
            current = self.round_trips.current or self.round_trips.last
            if (
                current is not None
                and (short := tag.rstrip("0123456789 ")) not in current.tags[-1:]
                and len(current.tags) < events.TAGS_KEPT
            ):
                current.tags += (short,)
            in_block = self.statements.in_block
            self.statements.completed(tag, statement)
            if in_block is not self.statements.in_block and self.round_trips.current is not None:
                if in_block:
                    self.round_trips.current.block_end = tag
                else:
                    self.round_trips.current.block_began = True
            if item.copy_mode:
                self._count_copied(item, tag)
        if item.kind == owed.EXECUTE:
            self._pop()
            self.round_trips.settle(time_ns)

    def _portal_suspended(self, time_ns: int, body: bytes) -> None:
        if self._owed and self._owed[0].kind == owed.EXECUTE:
            item = self._owed[0]
            self._executed(item, self._portal_statement(item.portal), time_ns, continues=self._continues(item))
            self.statements.suspended.add(item.portal)
            self._pop()
            self.round_trips.settle(time_ns)

    def _parse_complete(self, time_ns: int, body: bytes) -> None:
        item = self._pop_if(owed.PARSE)
        if item is not None:
            if item.statement is not None:
                self.statements.parsed(item.statement)
            self.round_trips.settle(time_ns)

    def _bind_complete(self, time_ns: int, body: bytes) -> None:
        item = self._pop_if(owed.BIND)
        if item is not None:
            self.statements.bound(item)
            self.round_trips.settle(time_ns)

    def _close_complete(self, time_ns: int, body: bytes) -> None:
        item = self._pop_if(owed.CLOSE)
        if item is not None:
            self.statements.closed(item.portal, item.name)
            self.round_trips.settle(time_ns)

    def _row_description(self, time_ns: int, body: bytes) -> None:
        if not self._owed:
            return
        item = self._owed[0]
        if item.kind == owed.QUERY:
            item.columns = self._memory.column_formats(body)
        elif item.kind == owed.DESCRIBE:
            if item.statement is not None:
                item.statement.columns = body
                self.statements.weigh(len(body))
            self._pop()
            self.round_trips.settle(time_ns)

    def _no_data(self, time_ns: int, body: bytes) -> None:
        if self._pop_if(owed.DESCRIBE) is not None:
            self.round_trips.settle(time_ns)

    def _parameter_description(self, time_ns: int, body: bytes) -> None:
        if self._owed and self._owed[0].kind == owed.DESCRIBE and self._owed[0].statement is not None:
            self._owed[0].statement.parameter_types = self._memory.parameter_types(body)

    def _function_call_response(self, time_ns: int, body: bytes) -> None:
        if self._owed and self._owed[0].kind == owed.FUNCTION:
            self._executed(self._owed[0], FUNCTION_CALL, time_ns)

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
            self._copy_ended()
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

    def _authentication(self, time_ns: int, body: bytes) -> None:
        self.authentication = codes.authentication_subtype(body)
        if self.authentication in _NEEDS_ANSWER:
            if self.asked < 0:
                self.asked = self.authentication
            if self._pop_if(owed.STARTUP) is not None:
                self.round_trips.settle(time_ns)

    def _ssl_reply(self, time_ns: int, body: bytes) -> None:
        self.tls_refused = body == b"N"
        self._encryption_reply(time_ns, body)

    def _encryption_reply(self, time_ns: int, body: bytes) -> None:
        if self._pop_if(owed.ENCRYPTION) is not None:
            self.round_trips.settle(time_ns)

    def _parameter_status(self, time_ns: int, body: bytes) -> None:
        name, value = self._memory.parameter_status(body)
        if name in self.parameters or (len(self.parameters) < 1000 and len(name) <= _LONGEST_PARAMETER):
            self.parameters[name] = value[:_LONGEST_PARAMETER]

    def _backend_key_data(self, time_ns: int, body: bytes) -> None:
        self.key = body

    def _negotiate_protocol_version(self, time_ns: int, body: bytes) -> None:
        self.negotiated, self.unrecognized_options = self._memory.negotiated(body)
        if self.negotiated >> 16 == 0:  # the minor version alone, as the manual has it; PostgreSQL sends both
            self.negotiated |= int.from_bytes(self.startup[:2], "big") << 16

    _backend_handlers: ClassVar[Mapping[int, Handler]] = {
        ord("Z"): _ready_for_query,
        ord("C"): _command_complete,
        ord("I"): _command_complete,
        ord("s"): _portal_suspended,
        ord("1"): _parse_complete,
        ord("2"): _bind_complete,
        ord("3"): _close_complete,
        ord("T"): _row_description,
        ord("n"): _no_data,
        ord("t"): _parameter_description,
        ord("E"): Failures._error_response,
        ord("N"): Failures._notice_response,
        ord("G"): Copying._copy_in_response,
        ord("H"): Copying._copy_out_response,
        ord("W"): Copying._copy_both_response,
        ord("V"): _function_call_response,
        ord("R"): _authentication,
        ord("S"): _parameter_status,
        ord("K"): _backend_key_data,
        ord("v"): _negotiate_protocol_version,
        codes.SSL_REPLY: _ssl_reply,
        codes.GSSENC_REPLY: _encryption_reply,
        codes.VERSION_2_ERROR: Failures._version_2_error,
    }
