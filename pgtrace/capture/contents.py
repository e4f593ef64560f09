"""What `--redact` blanks besides the protocol's own secrets: parameters, rows, literals.

| message | `params` | `rows` | `literals` | kept |
|---|---|---|---|---|
| Bind, FunctionCall | values | | | names, formats, lengths, NULLs |
| DataRow, FunctionCallResponse | | values | | number of columns, lengths, NULLs |
| CopyData | | everything | | |
| Query, Parse | | | literals, numbers, comments in the SQL | the tokens (sqltext/blanking.py), names, types |
| ErrorResponse, NoticeResponse | texts | texts | texts | severity, SQLSTATE, position, object names, source location |
| NotificationResponse | payload | payload | payload | process id, channel |
| CopyFail | reason | reason | reason | |

The texts of errors can quote values of all three kinds ("invalid input syntax for type integer:
...", "Key (email)=(...) already exists", "parameter $1 = ..."), and a notification's payload comes
from a literal or a parameter. So they are blanked whichever kind you choose.

A plan is a generator that yields the next part of a message and receives what was read of it. It
can stop wherever a read was cut, holds no values, and accepts any bytes. Bytes after the end of the
plan are blanked.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator
from functools import lru_cache
from typing import Final

from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.sqltext.blanking import Blanking

CHOICES: Final = ("params", "rows", "literals")

Plan = Generator[tuple[int, int], bytes, None]
"""Yields (kind of part, length). Receives what was read, but only for KEEP and TEXT (of a text the
first TEXT_KEPT bytes)."""

KEEP, SKIP, TEXT, HIDDEN_TEXT, SQL, VALUES = range(6)
"""Bytes to keep and return; bytes to keep; a text up to its zero byte: kept, hidden, or blanked as
SQL; values after their lengths."""
TEXT_KEPT: Final = 64
ERROR_FIELDS_KEPT: Final = frozenset(b"SVCPpstcdnFLR")
_UNSAFE_ENCODINGS: Final = frozenset(
    {"BIG5", "GB18030", "GBK", "JOHAB", "MSKANJI", "SHIFTJIS", "SHIFTJIS2004", "SJIS", "UHC", "WIN932", "WIN936", "WIN949", "WIN950",
     "WINDOWS932", "WINDOWS936", "WINDOWS949", "WINDOWS950"}
)  # fmt: skip
"""Encodings that only clients use, in which the second byte of a character may be a backslash."""
SQL_REMEMBERED: Final = 4096
"""The longest text whose blanked form is remembered. Drivers send the same texts again and
again."""
_LENGTH: Final = struct.Struct(">i").unpack_from
_STARS: Final = b"*" * 4096


class Contents:
    """How to cover the messages of one connection. redact.Redactor uses it for messages that are
    not protocol secrets."""

    __slots__ = ("_escaping", "_foreign", "_plans")

    def __init__(self, chosen: frozenset[str]) -> None:
        self._foreign = False  # a quote may be part of a character
        self._escaping = False  # a backslash escapes in every string
        plans: dict[tuple[int, int], Callable[[], Plan]] = {
            (FRONTEND, ord("f")): _hidden_text,
            (BACKEND, ord("E")): _error,
            (BACKEND, ord("N")): _error,
            (BACKEND, ord("A")): _notification,
        }
        if "params" in chosen:
            plans |= {(FRONTEND, ord("B")): _bind, (FRONTEND, ord("F")): _function_call}
        if "rows" in chosen:
            plans |= {
                (BACKEND, ord("D")): _row,
                (BACKEND, ord("V")): _result,
                (FRONTEND, ord("d")): _nothing,
                (BACKEND, ord("d")): _nothing,
            }
        if "literals" in chosen:
            plans |= {(FRONTEND, ord("Q")): self._query, (FRONTEND, ord("P")): self._parse, (BACKEND, ord("S")): self._setting}
        self._plans = plans

    def cover(self, side: int, code: int) -> Walk | None:
        """How to cover the message that begins now; None to keep it as it is."""
        plan = self._plans.get((side, code))
        return Walk(plan()) if plan is not None else None

    def _sql(self) -> tuple[int, int]:
        return (HIDDEN_TEXT if self._foreign or self._escaping else SQL), 0

    def _query(self) -> Plan:
        yield self._sql()

    def _parse(self) -> Plan:
        yield TEXT, 0
        yield self._sql()
        yield SKIP, 4 * int.from_bytes((yield KEEP, 2), "big")

    def _setting(self) -> Plan:
        name, value = (yield TEXT, 0), (yield TEXT, 0)
        if name == b"client_encoding\0":
            self._foreign = value[:-1].decode("ascii", "replace").upper().translate({45: None, 95: None}) in _UNSAFE_ENCODINGS
        elif name == b"standard_conforming_strings\0":
            self._escaping = value != b"on\0"


@lru_cache(maxsize=1000)
def _blanked(sql: bytes) -> bytes:
    return Blanking().cover(sql)


def _hidden_text() -> Plan:
    yield HIDDEN_TEXT, 0


def _nothing() -> Plan:
    yield from ()


def _error() -> Plan:
    while (code := (yield KEEP, 1)) != b"\0":
        yield (TEXT if code[0] in ERROR_FIELDS_KEPT else HIDDEN_TEXT), 0


def _notification() -> Plan:
    yield SKIP, 4
    yield TEXT, 0
    yield HIDDEN_TEXT, 0


def _row() -> Plan:
    yield VALUES, int.from_bytes((yield KEEP, 2), "big")


def _result() -> Plan:
    yield VALUES, 1


def _bind() -> Plan:
    yield TEXT, 0
    yield TEXT, 0
    yield SKIP, 2 * int.from_bytes((yield KEEP, 2), "big")
    yield VALUES, int.from_bytes((yield KEEP, 2), "big")
    yield SKIP, 2 * int.from_bytes((yield KEEP, 2), "big")


def _function_call() -> Plan:
    yield SKIP, 4
    yield SKIP, 2 * int.from_bytes((yield KEEP, 2), "big")
    yield VALUES, int.from_bytes((yield KEEP, 2), "big")
    yield SKIP, 2


class Walk:
    """Feeds one message to a plan, piece by piece."""

    __slots__ = ("_blanking", "_count", "_kind", "_left", "_plan", "_read")

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._blanking: Blanking | None = None
        self._kind = -1  # the plan's current step; below 0 after its end
        self._left = 0  # bytes left of the step; for VALUES, of the current value
        self._count = 0  # values left after it
        self._read = b""  # what was read of it
        self._advance(None)

    def __call__(self, _at: int, piece: bytes, _size: int) -> bytes:
        covered = bytearray(piece)
        position, end = 0, len(piece)
        while position < end:
            what = self._kind
            if what < 0:
                covered[position:] = b"*" * (end - position)
                break
            if what == VALUES:
                position = self._values(covered, position, end)
            elif what in (KEEP, SKIP):
                stop = min(position + self._left, end)
                if what == KEEP:
                    self._read += piece[position:stop]
                self._left -= stop - position
                position = stop
                if not self._left:
                    self._advance(self._read)
            else:
                zero = piece.find(0, position)
                stop = zero if zero >= 0 else end
                if what == TEXT:
                    self._read += piece[position : min(zero + 1 if zero >= 0 else end, position + TEXT_KEPT - len(self._read))]
                elif what == SQL:
                    covered[position:stop] = self._sql(piece[position:stop], is_whole=zero >= 0)
                else:
                    covered[position:stop] = b"*" * (stop - position)
                position = stop
                if zero >= 0:
                    position += 1
                    self._advance(self._read)
        return bytes(covered)

    def _sql(self, piece: bytes, *, is_whole: bool) -> bytes:
        if self._blanking is None:
            if is_whole and len(piece) <= SQL_REMEMBERED:
                return _blanked(piece)
            self._blanking = Blanking()
        return self._blanking.cover(piece)

    def _values(self, covered: bytearray, position: int, end: int) -> int:
        """Blank values from `position` on. Returns the position after them, or the end."""
        count, left = self._count, self._left
        while position < end:
            if count and not left and not self._read and position + 4 <= end:  # nearly always true
                (left,) = _LENGTH(covered, position)
                left = max(0, left)
                position += 4
                count -= 1
            elif left:
                stop = min(position + left, end)
                size = stop - position
                covered[position:stop] = _STARS[:size] if size <= len(_STARS) else b"*" * size
                left -= size
                position = stop
            elif not count:
                break
            else:
                stop = position + 4 - len(self._read)
                word = self._read + covered[position:stop]
                position = min(stop, end)
                if len(word) < 4:
                    self._read = bytes(word)
                    break
                self._read = b""
                count -= 1
                left = max(0, int.from_bytes(word, "big", signed=True))
        self._count, self._left = count, left
        if not count and not left:
            self._advance(b"")
        return position

    def _advance(self, answer: bytes | None) -> None:
        """Go to the next step that is not empty."""
        while True:
            try:
                what, much = self._plan.send(answer) if answer is not None else next(self._plan)
            except StopIteration:
                self._kind = -1
                return
            self._kind, self._read = what, b""
            self._left, self._count = (0, much) if what == VALUES else (much, 0)
            if much or what in (TEXT, HIDDEN_TEXT, SQL):
                return
            answer = b""
