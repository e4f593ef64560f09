"""One message of a row, and its fields, for people.

A message has its context: its execution, the statement from which its values have their types,
whether the server discarded it. Its values are decoded only when you call fields().
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pgtrace.capture.redact import BLANK
from pgtrace.describe import arguments
from pgtrace.describe.copy_messages import CopyPayload
from pgtrace.protocol import backend, registry, values
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.session.statements import Statement

_SECRET: Final = frozenset(
    {
        "PasswordMessage", "SASLInitialResponse", "SASLResponse", "GSSResponse",
        "AuthenticationSASLContinue", "AuthenticationSASLFinal", "AuthenticationGSSContinue",
    }
)  # fmt: skip
"""Messages whose payload is never in a capture."""
_HEADER_BYTES: Final = 5
_LENGTH_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class FieldView:
    """One field of a message, for people. `start` and `end` are byte positions in the whole
    message, header included."""

    name: str
    value: str
    wire_type: str
    start: int
    end: int
    depth: int
    evidence: str = ""
    """Where its type was learned, if it had to be learned."""
    is_read: bool = True
    """False for bytes whose type is not known, or that do not fit it: the value is then the bytes,
    in hex."""


@dataclass(slots=True)
class MessageView:
    """One message of a row, or a run of `count` messages. `time_ns` counts from the row's opening;
    `offset` is its place in the stream of its side."""

    side: int
    code: int
    name: str
    time_ns: int
    offset: int
    size: int
    body: bytes
    authentication: int = -1
    execution: int = 0
    """The number of the execution in the row to which it belongs, from 1; 0 for none."""
    skipped: bool = False
    """Whether the server discarded it after an error."""
    answers: MessageView | None = None
    """For a backend message: the message that it answers, or helps to answer. For an error: the
    message that failed."""
    count: int = 1
    parameter_types: tuple[int, ...] = ()
    columns: tuple[backend.Column, ...] = ()
    formats: tuple[int, ...] = ()
    """For a DataRow: the format of each column, one format for all, or none for text."""
    statement: Statement | None = None
    """For Parse, Bind, Describe and Execute: the statement, if it is known."""
    types: values.Types = values.NONE
    """The types of the message's database."""
    redacted: bool = False
    """Whether the recorder blanked values: then a value that consists only of blanks was
    blanked."""
    inside: CopyPayload | None = None
    """For a CopyData: its contents, if known. For a CopyDone: what has ended."""

    @property
    def is_typed(self) -> bool:
        """Whether it has a type byte."""
        return self.code < 256

    @property
    def raw(self) -> bytes:
        """The message as it passed, as much of it as is kept."""
        if self.is_typed:
            return bytes([self.code]) + (self.size - 1).to_bytes(_LENGTH_BYTES, "big") + self.body
        return self.body if self.size < _LENGTH_BYTES else self.size.to_bytes(_LENGTH_BYTES, "big") + self.body

    @property
    def argument(self) -> str:
        """Its main argument on one line, as it was on the wire."""
        if self.inside is not None:
            return self.inside.argument
        text = "" if self._is_row else arguments.argument(self.side, self.code, self.body, self.authentication, self.types)
        if self._is_row or self._is_bind:
            values_shown = ", ".join(one.value for one in self.fields() if one.depth)
            return values_shown if self._is_row else f"{text}  ({values_shown})" if values_shown else text
        return text

    def fields(self) -> list[FieldView]:
        """All fields in the manual's order, the length first, with values decoded by their type and
        format."""
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
        """The fields of the body. If only a part of the body is kept: the fields that the part has,
        and how much is missing."""
        spans = registry.spans(self.side, self.code, self.body, self.authentication)
        missing = self.size - len(self.body) - (_HEADER_BYTES if self.is_typed else _LENGTH_BYTES)
        if missing <= 0 or not spans or spans[-1].name != "malformed":
            return spans
        end = len(self.body)
        closed = registry.spans(self.side, self.code, self.body + b"\0", self.authentication)
        whole = [span._replace(end=min(span.end, end)) for span in closed] if closed[-1].name != "malformed" else []
        return [*whole, registry.Field("cut", f"{missing:,} more bytes, not decoded".replace(",", " "), "", end, end, 0)]

    def format_of(self, place: int) -> int:
        """For a DataRow: the format of this column."""
        return _format(self.formats, place)

    @property
    def _is_bind(self) -> bool:
        return self.side == FRONTEND and self.code == 0x42

    @property
    def _is_row(self) -> bool:
        return self.side == BACKEND and self.code == 0x44

    def _value(self, span: registry.Field, form: int, place: int, start: int, end: int) -> FieldView:
        """A parameter of a Bind, or a column of a DataRow."""
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


def _format(formats: tuple[int, ...], place: int) -> int:
    """The format at this place. No format means text, and one format applies to all."""
    if len(formats) == 1:
        return formats[0]
    return formats[place] if place < len(formats) else 0


def _blanked(value: object) -> str:
    """A secret of the protocol as the recorder left it: what it kept, and a note that the rest is
    blanked. Empty if nothing was blanked."""
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
