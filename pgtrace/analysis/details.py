"""The messages of one row, read from the capture again when somebody looks.

A row's entry says where its first bytes are and how many of each side belong to it. The blocks from there on are read, the bytes framed, and each message
is put beside what it is about: the execution it belongs to, the statement whose types its values have, whether the server discarded it. Values are
decoded only when fields() is asked.

Bounds: of a run of DataRow or CopyData the first RUN_KEPT are messages of their own, the rest one line that counts them; after MESSAGES_KEPT messages the
list ends and says so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pgtrace.analysis import describe
from pgtrace.analysis.copydata import CopyReading
from pgtrace.analysis.inside import Inside
from pgtrace.analysis.rows import RUN_KEPT, Kind
from pgtrace.capture.redact import BLANK
from pgtrace.framing import KEPT_BYTES, Framer
from pgtrace.protocol import backend, codes, frontend, registry, values
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.protocol.message import MalformedMessage
from pgtrace.session.events import Portal, Statement

if TYPE_CHECKING:
    from pgtrace.analysis.trace import Trace

_WITHOUT_MESSAGES: Final = frozenset({Kind.MARK, Kind.GAP, Kind.CLOSED, Kind.FAULT})
MESSAGES_KEPT: Final = 5_000
NOT_KEPT: Final = "bytes no longer kept"
_RUNS: Final = frozenset({ord("D"), ord("d")})
_COPY_DATA: Final = ord("d")
_COPY_DONE: Final = ord("c")
_COPYING: Final = frozenset(b"dcGHW")
_REPLIED: Final = frozenset(b"PBDECQF")
_RUNS_SOMETHING: Final = frozenset(b"EQF")
_SIMPLE: Final = frozenset(b"QF")
_ASYNCHRONOUS: Final = frozenset(b"NAS")
_ANSWERED_BY_READY: Final = frozenset(b"SQF")
_SINGLE_REPLIES: Final = frozenset(b"123n")
_ENDS_EXECUTE: Final = frozenset(b"CIs")
_SECRET: Final = frozenset(
    {
        "PasswordMessage", "SASLInitialResponse", "SASLResponse", "GSSResponse",
        "AuthenticationSASLContinue", "AuthenticationSASLFinal", "AuthenticationGSSContinue",
    }
)  # fmt: skip
"""Messages whose payload no capture has."""
_HEADER_BYTES: Final = 5
_LENGTH_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class FieldView:
    """One field of a message, for people. `start` and `end` are bytes of the whole message, header included."""

    name: str
    value: str
    wire_type: str
    start: int
    end: int
    depth: int
    evidence: str = ""
    """Where its type was learned, if it had to be."""


@dataclass(slots=True)
class MessageView:
    """One message of a row, or a run of `count` of them. `time_ns` counts from the row's opening; `offset` is its place in its side's stream."""

    side: int
    code: int
    name: str
    time_ns: int
    offset: int
    size: int
    body: bytes
    authentication: int = -1
    execution: int = 0
    """Which execution of the row it belongs to, from 1; 0 for what belongs to none."""
    skipped: bool = False
    """The server discarded it after an error."""
    answers: MessageView | None = None
    """Of a backend message: what it is the reply to, or a part of it; of an error, what failed."""
    count: int = 1
    parameter_types: tuple[int, ...] = ()
    columns: tuple[backend.Column, ...] = ()
    formats: tuple[int, ...] = ()
    """Of a DataRow: the format of each column, one for all, or none for text."""
    statement: Statement | None = None
    """Of Parse, Bind, Describe and Execute: the statement it is about, as far as that is known."""
    types: values.Types = values.NONE
    """The types of its database."""
    redacted: bool = False
    """Whether the recorder blanked values: one that is nothing but blanks is none."""
    inside: Inside | None = None
    """Of a CopyData: what is inside it, where that is known. Of a CopyDone: what has ended."""

    @property
    def is_typed(self) -> bool:
        """Whether it has a type byte."""
        return self.code < 256

    @property
    def raw(self) -> bytes:
        """The message as it passed, at most as much of it as is kept."""
        if self.is_typed:
            return bytes([self.code]) + (self.size - 1).to_bytes(_LENGTH_BYTES, "big") + self.body
        return self.body if self.size < _LENGTH_BYTES else self.size.to_bytes(_LENGTH_BYTES, "big") + self.body

    @property
    def argument(self) -> str:
        """Its main argument in one line, as it came from the wire."""
        if self.inside is not None:
            return self.inside.argument
        text = "" if self._is_row else describe.argument(self.side, self.code, self.body, self.authentication, self.types)
        if self._is_row or self._is_bind:
            values_shown = ", ".join(one.value for one in self.fields() if one.depth)
            return values_shown if self._is_row else f"{text}  ({values_shown})" if values_shown else text
        return text

    def fields(self) -> list[FieldView]:
        """Every field in the manual's order, the length first, values decoded by their type and format."""
        spans = self.inside.fields() if self.inside is not None else self._spans()
        header = _HEADER_BYTES if self.is_typed else (_LENGTH_BYTES if self.size >= _LENGTH_BYTES else 0)
        found: list[FieldView] = []
        if header:
            length = self.size - 1 if self.is_typed else self.size
            found.append(FieldView("length", str(length), "Int32", header - _LENGTH_BYTES, header, 0))
        formats, place = self.formats, 0
        for span in spans:
            start, end = header + span.start, header + span.end
            if self._is_bind and span.name == "parameter_formats" and isinstance(span.value, tuple):
                formats = span.value
            if span.depth and (self._is_row or self._is_bind):
                found.append(self._value(span, _format(formats, place), place, start, end))
                place += 1
            else:
                text = _blanked(span.value) if self.name in _SECRET else ""
                found.append(FieldView(span.name, text or _shown(span.value), span.wire_type, start, end, span.depth))
        return found

    def _spans(self) -> list[registry.Field]:
        """The fields of the body; of one that is kept in part, those that its text cut short still has, and how much of it there is."""
        spans = registry.spans(self.side, self.code, self.body, self.authentication)
        missing = self.size - len(self.body) - (_HEADER_BYTES if self.is_typed else _LENGTH_BYTES)
        if missing <= 0 or not spans or spans[-1].name != "malformed":
            return spans
        end = len(self.body)
        closed = registry.spans(self.side, self.code, self.body + b"\0", self.authentication)
        whole = [span._replace(end=min(span.end, end)) for span in closed] if closed[-1].name != "malformed" else []
        return [*whole, registry.Field("cut", f"{missing:,} bytes more, not looked at".replace(",", " "), "", end, end, 0)]

    def format_of(self, place: int) -> int:
        """Of a DataRow: the format of that column."""
        return _format(self.formats, place)

    @property
    def _is_bind(self) -> bool:
        return self.side == FRONTEND and self.code == 0x42

    @property
    def _is_row(self) -> bool:
        return self.side == BACKEND and self.code == 0x44

    def _value(self, span: registry.Field, form: int, place: int, start: int, end: int) -> FieldView:
        """A Bind's parameter or a DataRow's column."""
        name, oid = span.name, 0
        if self._is_bind and place < len(self.parameter_types):
            oid = self.parameter_types[place]
        if self._is_row and place < len(self.columns):
            name, oid = self.columns[place].name, self.columns[place].type_oid
        value = span.value if isinstance(span.value, bytes) else None
        if self.redacted and value and not value.strip(BLANK):
            text = f"redacted, {len(value)} byte{'s' if len(value) > 1 else ''}"
        else:
            text = values.decode(oid, form, value, self.types)
        wire_type = "binary" if form else "text"
        if not oid:
            return FieldView(name, text, wire_type, start, end, span.depth)
        known = values.find(oid, self.types)
        wire_type = f"{values.type_name(oid, self.types)} {wire_type}"
        return FieldView(name, text, wire_type, start, end, span.depth, known.evidence if known is not None else "")


@dataclass(slots=True)
class Details:
    """The messages of a row in the order in which they passed, and what there is to say about them."""

    messages: list[MessageView] = field(default_factory=list)
    note: str = ""


class NotKept(Exception):
    """Bytes of a row are no longer there."""


def read(trace: Trace, place: int, run_kept: int = RUN_KEPT) -> Details:
    """The details of the row at that place, with `run_kept` messages of a run."""
    details = Details()
    if trace.rows[place].shape.kind in _WITHOUT_MESSAGES:
        return details
    walker = _Walker(trace, place, run_kept)
    entry = trace.rows.entry(place)
    try:
        for side, code, body, size, offset, time_ns in _passed(trace, place):
            inside = offset >= entry.offsets[side]
            if inside and len(details.messages) >= MESSAGES_KEPT:
                details.note = f"the first {MESSAGES_KEPT:,} messages".replace(",", " ")
                break
            walker.take(details.messages if inside else [], side, code, body, size, offset, time_ns)
    except NotKept:
        details.note = NOT_KEPT
    if not details.messages and (entry.sent_bytes or entry.received_bytes) and not details.note:
        details.note = NOT_KEPT
    return details


def scan(trace: Trace, place: int, kept_bytes: int = KEPT_BYTES) -> Iterator[MessageView]:
    """The messages of the row at that place one by one, however many: nothing is counted together or left out. Of each body the first `kept_bytes` are
    there. Raises NotKept."""
    if trace.rows[place].shape.kind in _WITHOUT_MESSAGES:
        return
    walker = _Walker(trace, place, RUN_KEPT)
    starts = trace.rows.entry(place).offsets
    for side, code, body, size, offset, time_ns in _passed(trace, place, kept_bytes):
        views: list[MessageView] = []
        walker.take(views, side, code, body, size, offset, time_ns)
        if offset >= starts[side]:
            yield from views


def _passed(trace: Trace, place: int, kept_bytes: int = KEPT_BYTES) -> Iterator[tuple[int, int, bytes, int, int, int]]:
    """Side, code, body, size, offset and time of the messages, from those on that must be seen to understand the row's. Raises NotKept."""
    row, entry = trace.rows[place], trace.rows.entry(place)
    connection = trace.connections[entry.connection]
    from_start = row.shape.kind in (Kind.SETUP, Kind.CANCEL)
    ends = (entry.offsets[0] + entry.sent_bytes, entry.offsets[1] + entry.received_bytes)
    starts = (0, 0) if from_start else entry.offsets
    framer = Framer(kept_bytes=kept_bytes) if from_start else Framer.typed(kept_bytes=kept_bytes)
    offsets = list(starts)
    expected = list(starts)
    position = connection.position if from_start else entry.position
    blocks, place_in_file, shift_ns = trace.blocks_at(position)
    shift_ns -= trace.start_ns + entry.opened_ns
    for time_ns, side, offset, data, left_out in blocks.pieces(place_in_file, connection.number):
        if left_out and offset >= expected[side]:
            expected[side] += left_out
            offsets[side] += left_out
        skip = max(0, expected[side] - offset)
        data = data[skip : ends[side] - offset] if ends[side] > offset else b""
        if data and offset + skip != expected[side]:
            raise NotKept
        expected[side] += len(data)
        for code, body, size in framer.feed(side, data):
            begin = offsets[side]
            offsets[side] += size
            if code not in (codes.RESUMED, codes.UNDECODED):
                yield side, code, body, size, begin, time_ns + shift_ns
        if expected[0] >= ends[0] and expected[1] >= ends[1]:
            return
    raise NotKept


class _Walker:
    """Puts each message beside what it is about."""

    def __init__(self, trace: Trace, place: int, run_kept: int) -> None:
        self._connection = trace.connections[trace.rows.entry(place).connection]
        self._place = place
        self._types = trace.types_of(self._connection)
        self._redacted = trace.redacted
        self._run_kept = run_kept
        self._run = 0
        self._statements: dict[str, Statement | None] = {}
        self._portals: dict[str, Portal | None] = {}
        self._owed: deque[tuple[int, int, Statement | None, tuple[int, ...], MessageView]] = deque()
        self._sent = 0
        self._authentication = -1
        self._columns: tuple[backend.Column, ...] = ()
        self._described: Statement | None = None
        self._skipping = False
        self._copies = CopyReading(self._connection.copies, place)

    def take(self, messages: list[MessageView], side: int, code: int, body: bytes, size: int, offset: int, time_ns: int) -> None:
        latest = messages[-1] if messages else None
        alike = latest is not None and latest.code == code and latest.side == side
        self._run = self._run + 1 if alike else 1
        run = latest if code in _RUNS and self._run > self._run_kept else None
        inside = self._inside(side, code, body, size, run.inside if run is not None else None) if code in _COPYING else None
        if run is not None and not (inside is not None and inside.stands_out) and not (run.inside is not None and run.inside.stands_out):
            run.count += 1
            run.size += size
            return
        if code == 0x52:
            self._authentication = codes.authentication_subtype(body)
        name = codes.message_name(side, code, self._authentication)
        view = MessageView(
            side, code, name, time_ns, offset, size, body, self._authentication, types=self._types, redacted=self._redacted, inside=inside
        )
        if side == FRONTEND:
            self._frontend(view)
        else:
            self._backend(view)
        if code != codes.OPAQUE:
            messages.append(view)

    def _inside(self, side: int, code: int, body: bytes, size: int, run: Inside | None) -> Inside | None:
        if code == _COPY_DATA:
            return self._copies.data(side, body, size, run)
        if code == _COPY_DONE:
            return self._copies.done(side)
        if side == BACKEND:
            self._copies.responded()
        return None

    def _frontend(self, view: MessageView) -> None:
        letter = view.code
        if letter == 0x53:
            self._owed.append((letter, 0, None, (), view))
            self._skipping = False
            return
        if letter not in _REPLIED:
            return
        view.execution = self._sent + 1 if letter != 0x43 else 0
        view.skipped = self._skipping
        statement: Statement | None = None
        formats: tuple[int, ...] = ()
        try:
            statement, formats = self._meaning(view)
        except MalformedMessage:
            pass
        view.statement = statement
        if letter in _RUNS_SOMETHING:
            self._sent += 1
        if not self._skipping:
            self._owed.append((letter, view.execution, statement, formats, view))

    def _meaning(self, view: MessageView) -> tuple[Statement | None, tuple[int, ...]]:
        letter, body = view.code, view.body
        if letter == 0x50:
            parse = frontend.Parse.parse(body)
            statement = Statement(parse.statement, parse.query, parse.parameter_types)
            earlier = self._statement(parse.statement)
            if earlier is not None and earlier.sql == parse.query:
                statement = earlier
            self._statements[parse.statement] = statement
            return statement, ()
        if letter == 0x42:
            summary = frontend.bind_summary(body)
            bound = self._statement(summary.statement)
            self._portals[summary.portal] = Portal(summary.portal, bound, summary.result_formats) if bound is not None else None
            view.parameter_types = bound.parameter_types if bound is not None else ()
            return bound, summary.result_formats
        if letter == 0x44:
            describe = frontend.Describe.parse(body)
            if describe.kind == "S":
                return self._statement(describe.name), ()
            portal = self._portal(describe.name)
            return (portal.statement, portal.result_formats) if portal is not None else (None, ())
        if letter == 0x45:
            portal = self._portal(frontend.Execute.parse(body).portal)
            return (portal.statement, portal.result_formats) if portal is not None else (None, ())
        return None, ()

    def _statement(self, name: str) -> Statement | None:
        if name not in self._statements:
            known = self._meant("S", name)
            self._statements[name] = known if isinstance(known, Statement) else None
        return self._statements[name]

    def _portal(self, name: str) -> Portal | None:
        if name not in self._portals:
            known = self._meant("P", name)
            self._portals[name] = known if isinstance(known, Portal) else None
        return self._portals[name]

    def _meant(self, kind: str, name: str) -> Statement | Portal | None:
        return self._connection.meaning(kind, name, self._place)

    def _backend(self, view: MessageView) -> None:
        letter = view.code
        owed = self._owed
        if letter in _ASYNCHRONOUS or not owed:
            return
        kind, execution, statement, formats, asked = owed[0]
        if letter == 0x5A:  # ReadyForQuery
            while owed:
                kind, *_, view.answers = owed.popleft()
                if kind in _ANSWERED_BY_READY:
                    break
            return
        view.answers = asked
        if kind == 0x53:
            return
        view.execution = execution
        if letter == 0x44:
            self._data_row(view, kind, statement, formats)
        elif letter == 0x54:
            self._row_description(view, kind, statement)
        elif letter == 0x74 and statement is not None:
            try:
                statement.parameter_types = backend.ParameterDescription.parse(view.body).parameter_types
            except MalformedMessage:
                pass
        elif letter == 0x45:
            self._error(kind)
        if (letter in _SINGLE_REPLIES or (letter in _ENDS_EXECUTE and kind == 0x45)) and kind not in _SIMPLE:
            owed.popleft()

    def _row_description(self, view: MessageView, kind: int, statement: Statement | None) -> None:
        self._columns = _columns(view.body)
        self._described = statement
        if kind == 0x44:
            self._owed.popleft()

    def _data_row(self, view: MessageView, kind: int, statement: Statement | None, formats: tuple[int, ...]) -> None:
        if kind != 0x51 and (statement is None or self._described is not statement):
            self._described, self._columns = statement, _columns(statement.columns if statement is not None else b"")
        view.columns = self._columns
        view.formats = tuple(column.format for column in view.columns) if kind == 0x51 else formats

    def _error(self, kind: int) -> None:
        if kind in _SIMPLE:
            return
        owed = self._owed
        owed.popleft()  # the one that failed
        while owed and owed[0][0] != 0x53:
            owed.popleft()[-1].skipped = True
        self._skipping = not owed


def _columns(description: bytes) -> tuple[backend.Column, ...]:
    """The columns of a RowDescription's body; none of an empty or malformed one."""
    try:
        return backend.RowDescription.parse(description).columns if description else ()
    except MalformedMessage:
        return ()


def _format(formats: tuple[int, ...], place: int) -> int:
    """No format means text, one holds for all."""
    if len(formats) == 1:
        return formats[0]
    return formats[place] if place < len(formats) else 0


def _blanked(value: object) -> str:
    """A secret of the protocol as the recorder left it: what it kept, and that the rest is blanked; nothing where nothing was."""
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value if isinstance(value, str) else ""
    kept = text.rstrip(BLANK.decode())
    return "" if kept == text else f"{kept} blanked".lstrip()


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, bytes):
        return "\\x" + value.hex() if value else '""'
    if isinstance(value, str):
        return value if value else '""'
    return "NULL" if value is None else str(value)
