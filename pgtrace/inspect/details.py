"""The messages of one row, read from the capture again when somebody looks.

A row's entry says where its first bytes are and how many of each side belong to it. The blocks from there on are read, the bytes framed, and each message
is put beside what it is about: the execution it belongs to, the statement whose types its values have, whether the server discarded it. Values are
decoded only when fields() is asked.

Bounds: of a run of DataRow or CopyData the first RUN_KEPT are messages of their own, the rest one line that counts them; after MESSAGES_KEPT messages the
list ends and says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pgtrace.capture.redact import BLANK
from pgtrace.describe import arguments
from pgtrace.describe.copy_messages import Inside
from pgtrace.framing import KEPT_BYTES, Framer
from pgtrace.inspect.copy_reading import CopyReading
from pgtrace.protocol import answers, backend, codes, registry, values
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.protocol.message import MalformedMessage
from pgtrace.session import owed
from pgtrace.session.owed import Owed
from pgtrace.session.statements import Portal, Statement
from pgtrace.session.watched import Watched
from pgtrace.trace.rows import RUN_KEPT, Kind

if TYPE_CHECKING:
    from pgtrace.trace.trace import Trace

_FROM_START: Final = frozenset({Kind.SETUP, Kind.CANCEL})
"""Rows that cannot be read without what came before them."""
_WITHOUT_MESSAGES: Final = frozenset({Kind.MARK, Kind.GAP, Kind.CLOSED, Kind.FAULT})
MESSAGES_KEPT: Final = 5_000
NOT_KEPT: Final = "bytes no longer kept"
NEVER_KEPT: Final = "bytes that cannot be read are counted, not kept"
_RUNS: Final = frozenset({ord("D"), ord("d")})
_COPY_DATA: Final = ord("d")
_COPY_DONE: Final = ord("c")
_COPYING: Final = frozenset(b"dcGHW")
_OF_EXECUTIONS: Final = frozenset(b"PBDEQF")
"""What belongs to the execution that comes next, or is one."""
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
    is_read: bool = True
    """False for bytes whose type is not known, or that do not fit it: the value is the bytes, in hex."""


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
        text = "" if self._is_row else arguments.argument(self.side, self.code, self.body, self.authentication, self.types)
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
        wire_type, evidence = "binary" if form else "text", ""
        if oid:
            known = values.find(oid, self.types)
            wire_type = f"{values.type_name(oid, self.types)} {wire_type}"
            evidence = known.evidence if known is not None else ""
        return FieldView(name, str(text), wire_type, start, end, span.depth, evidence, is_read=not isinstance(text, values.Unread))


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
    not_kept = NEVER_KEPT if trace.rows[place].shape.kind is Kind.OPAQUE else NOT_KEPT
    try:
        for side, code, body, size, offset, time_ns in _passed(trace, place):
            inside = offset >= entry.offsets[side]
            if inside and len(details.messages) >= MESSAGES_KEPT:
                details.note = f"the first {MESSAGES_KEPT:,} messages"
                break
            walker.take(details.messages if inside else [], side, code, body, size, offset, time_ns)
    except NotKept:
        details.note = not_kept
    if not details.messages and (entry.sent_bytes or entry.received_bytes) and not details.note:
        details.note = not_kept
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
    from_start = row.shape.kind in _FROM_START
    ends = (entry.offsets[0] + entry.sent_bytes, entry.offsets[1] + entry.received_bytes)
    starts = (0, 0) if from_start else entry.offsets
    framer = Framer(kept_bytes=kept_bytes) if from_start else Framer.typed(kept_bytes=kept_bytes)
    offsets = list(starts)
    expected = list(starts)
    position = connection.position if from_start else entry.position
    blocks, place_in_file, shift_ns = trace.blocks_at(position)
    shift_ns -= trace.start_ns + entry.opened_ns
    reached = [0, 0]
    for time_ns, side, offset, data, left_out in blocks.pieces(place_in_file, connection.number, starts):
        if offset < reached[side]:
            raise NotKept  # a stream that goes back: what is looked for may never come
        reached[side] = offset + len(data) + left_out
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
                yield side, code, body, size, begin, max(time_ns + shift_ns, 0)
        if expected[0] >= ends[0] and expected[1] >= ends[1]:
            return
    raise NotKept


class _Walker:
    """Puts each message beside what it is about: the session's own machine says what answers what."""

    def __init__(self, trace: Trace, place: int, run_kept: int) -> None:
        row, entry = trace.rows[place], trace.rows.entry(place)
        self._connection = trace.connections[entry.connection]
        self._place = place
        self._types = trace.types_of(self._connection)
        self._redacted = trace.redacted
        self._run_kept = run_kept
        self._run = 0
        from_start = row.shape.kind in _FROM_START
        self._machine: Watched[MessageView] = Watched() if from_start else Watched(row.shape.owed_before, entry.offsets)
        self._looked_up: set[tuple[str, str]] = set()
        self._copied: dict[Statement, Statement] = {}  # what names meant before the row: the machine writes into copies of it
        self._earlier: dict[Statement, Statement] = {}  # of the copies
        self._sent = 0
        self._authentication = -1
        self._columns: tuple[backend.Column, ...] = ()  # of a Query
        self._described: tuple[bytes, tuple[backend.Column, ...]] = (b"", ())
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
        about = self._about(view)
        for kind, name in about:
            self._look_up(kind, name)
        copying = self._machine.due if view.code in answers.COPY_ENDS else None
        begun = copying.asked if copying is not None else None
        view.skipped = self._machine.sent(view.time_ns, (view.code, view.body, view.size), view)
        if begun is not None:
            view.execution = begun.execution
        if view.code in _OF_EXECUTIONS:
            view.execution = self._sent + 1
        self._sent += view.code in answers.RUNS
        statements = self._machine.statements
        if view.code == 0x42:
            portal = statements.sending_portals[about[0][1]]
            view.statement, view.parameter_types = self._known(portal.statement), portal.statement.parameter_types
        elif about and view.code != 0x43:
            kind, name = about[0]
            view.statement = self._known(statements.statement(name) if kind == "S" else statements.portal(name).statement)

    def _about(self, view: MessageView) -> list[tuple[str, str]]:
        """The names that a message uses, `S`tatement or `P`ortal, the one that it is about first."""
        bodies, body = self._machine.bodies, view.body
        match view.code:
            case 0x50:
                return [("S", bodies.parse(body)[0])]
            case 0x42:
                portal, statement, *_ = bodies.bind(body)
                return [("P", portal), ("S", statement)]
            case 0x44 | 0x43:
                return [bodies.kind_and_name(body)]
            case 0x45:
                return [("P", bodies.portal(body))]
        return []

    def _look_up(self, kind: str, name: str) -> None:
        """Tell the machine what a name meant when the row began, the first time it comes up."""
        if (kind, name) in self._looked_up:
            return
        self._looked_up.add((kind, name))
        statements = self._machine.statements
        known = self._connection.meaning(kind, name, self._place)
        if isinstance(known, Statement) and name not in statements.sending:
            statements.sending[name] = statements.live[name] = self._copy(known)
        elif isinstance(known, Portal) and name not in statements.sending_portals:
            portal = Portal(name, self._copy(known.statement), known.result_formats)
            statements.sending_portals[name] = statements.live_portals[name] = portal

    def _copy(self, known: Statement) -> Statement:
        """For the machine, which writes into it."""
        copied = self._copied.get(known)
        if copied is None:
            copied = self._copied[known] = Statement(known.name, known.sql, known.sent_types, simple=known.simple)
            copied.parameter_types, copied.columns = known.parameter_types, known.columns
            self._earlier[copied] = known
        return copied

    def _known(self, statement: Statement) -> Statement | None:
        """The statement as others know it, None where its Parse was not seen."""
        return self._earlier.get(statement, statement) if statement.sql is not None else None

    def _backend(self, view: MessageView) -> None:
        item, skipped = self._machine.received(view.time_ns, (view.code, view.body, view.size))
        for one in skipped:
            one.skipped = True
        if item is None:
            return
        view.answers = item.asked
        if item.asked is not None and item.kind != owed.SYNC and view.code != 0x5A:
            view.execution = item.asked.execution
        if view.code == 0x54 and item.kind == owed.QUERY:
            self._columns = _columns(view.body)
        elif view.code == 0x44:
            self._data_row(view, item)

    def _data_row(self, view: MessageView, item: Owed) -> None:
        if item.kind == owed.QUERY:
            view.columns = self._columns
            view.formats = tuple(column.format for column in view.columns)
        elif item.kind == owed.EXECUTE and item.asked is not None:
            portal = self._machine.statements.live_portals.get(item.portal) or self._machine.statements.portal(item.portal)
            if self._described[0] != portal.statement.columns:
                self._described = portal.statement.columns, _columns(portal.statement.columns)
            view.columns, view.formats = self._described[1], portal.result_formats


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
