"""Turn lines of libpq's trace back into the bytes of messages.

What regress mode blanked becomes a placeholder of the same length: 0 for NNNN, an empty text for
"SSSS", zero bytes for 'BBBB'. A message printed without its fields becomes a message of its type
and length, filled with zero bytes.

The text has no escapes: a String may hold quotes and line ends, a value may hold the four
characters \\x00. So fields are tried from left to right, and each String ends at the first quote
that can end it. If what follows makes no sense, a later quote is tried: the fields must fill the
length that the line gives, and another line of the trace must follow. That nearly always decides. A
crafted file could require very many tries, so the number of tries, and of characters they look at,
is bounded by the message's length.
"""

from __future__ import annotations

import re
import struct
from itertools import islice
from typing import Any, Final, NamedTuple

from pgtrace.protocol import authentication, backend, codes, frontend
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.protocol.fields import FIELD_NAMES
from pgtrace.protocol.pqtrace import layouts

TRIES: Final = 1_000
BYTES_A_TRY: Final = 4
"""A message gets TRIES tries, and one more for each BYTES_A_TRY of its bytes."""
LOOKED_AT: Final = 1024 * 1024
LOOKS: Final = 64
"""The tries of one message may look at LOOKED_AT characters, and at each of its bytes LOOKS times
more."""
_LONGEST: Final = 0x3FFFFFFF
_LONGEST_UNTYPED: Final = 10_004
"""The largest length word that the protocol allows, and the largest that the server allows in the
first packet."""
HEAD: Final = re.compile(rb"([FB])\t(\d{1,10}|NN)\t([A-Za-z0-9 :]+)")
"""How a message begins."""
_BOUNDARY: Final = re.compile(rb"\n(?:(?=[FB]\t(?:\d|NN)|#|mismatched message length: )|\Z)")
_NUMBER: Final = re.compile(rb" (-?\d{1,10})")
_OID: Final = re.compile(rb" (NNNN|-?\d{1,10})")
_CHARACTER: Final = re.compile(rb" (?:\\x([0-9a-f]{2})|([ -~]))")
_VALUE: Final = re.compile(rb" (?:(-1)|(\d{1,10}) ')")
_ESCAPE: Final = re.compile(rb"\\x([01][0-9a-f]|7f|[89a-f][0-9a-f])")
_ERROR_FIELD: Final = re.compile(rb' ([A-Za-z]) (?=")')
_ERROR_END: Final = b" \\x00"
_BLANKED: Final = b"'BBBB'"
_SUPPRESSED: Final = b'"SSSS"'

_UNTYPED: Final = {
    "StartupMessage": "hhP", "CancelRequest": "hhooZ", "SSLRequest": "hh", "GSSENCRequest": "hh", "SSLResponse": "b", "GSSENCResponse": "b",
}  # fmt: skip
"""Messages without a type byte, as layouts. P: pairs of Strings, then a zero byte. Z: zero bytes up
to the end."""
_CODES: Final = {
    **{(FRONTEND, kind.NAME): (kind.code, -1) for kind in (*frontend.MESSAGES, *authentication.MESSAGES) if kind.side == FRONTEND},
    **{(BACKEND, kind.NAME): (kind.code, -1) for kind in backend.MESSAGES},
    **{(BACKEND, name): (ord("R"), subtype) for subtype, name in codes.AUTHENTICATION_NAMES.items()},
}
_UNKNOWN: Final = re.compile(r"Unknown (?:message: ([0-9a-f]{2})|authentication message (-?\d{1,10}))")


UNFILLED: Final = "its fields do not match its length"


class NoMessage(Exception):
    """The text at this place is not a message in libpq's trace format."""


class Read(NamedTuple):
    """A message, as far as the text contains it."""

    side: int
    name: str
    data: bytes
    """Its bytes, including the header."""
    missing: int
    """The number of zero bytes after them: fields that the text does not contain, or that were
    blanked at the message's end."""
    end: int
    """Where the next line begins."""


def message(text: bytes, start: int) -> Read:
    """The message whose line begins at `start`. Raises NoMessage."""
    head = HEAD.match(text, start)
    if head is None:
        raise NoMessage("direction, length and name expected")
    side = b"FB".index(head[1])
    length = None if head[2] == b"NN" else int(head[2])
    name = head[3].decode("ascii")
    untyped = _UNTYPED.get(name)
    code, subtype = (0, -1) if untyped is not None else _code(side, name)
    if length is None and name not in layouts.WITHOUT_LENGTH:
        raise NoMessage(f"no length for {name}")
    if length is not None and not (1 if untyped is not None else 4) <= length <= (_LONGEST if untyped is None else _LONGEST_UNTYPED):
        raise NoMessage(f"a length of {length}")
    first = struct.pack(">i", subtype) if code == ord("R") else b""
    taken = 0 if untyped == "b" else 4  # the length word
    room = None if length is None else length - taken - len(first)
    if _BOUNDARY.match(text, head.end()):
        end, body, missing = head.end(), b"", max(room or 0, 0)
    else:
        if not text.startswith(b"\t", head.end()):
            raise NoMessage(f"unknown message {name}")
        layout = untyped or layouts.LAYOUTS.get(name)
        if layout is None:
            raise NoMessage(f"{name} has no fields")
        try:
            end, body, missing = _Fields(text, room).read(layout, head.end() + 1)
        except NoMessage as error:
            raise _with_length(error, text, layout, head.end() + 1, taken + len(first)) from None
    body = first + body
    kind = b"" if untyped is not None else bytes((code,))
    size = struct.pack(">I", len(body) + missing + 4) if taken else b""
    return Read(side, name, kind + size + body, missing, end + 1)


def _with_length(error: NoMessage, text: bytes, layout: Any, start: int, before: int) -> NoMessage:
    """The error; if only the length is wrong, with the length that the fields have."""
    try:
        end, body, _ = _Fields(text, None).read(layout, start)
    except NoMessage:
        return error
    right = before + len(body)
    return NoMessage(f"{UNFILLED}, which would be {right}") if text.find(b"\n", start) == end else error


def _code(side: int, name: str) -> tuple[int, int]:
    """The type byte, and the subtype of an Authentication message."""
    if found := _CODES.get((side, name)):
        return found
    unknown = _UNKNOWN.fullmatch(name)
    if unknown is None:
        raise NoMessage(f"unknown message {name}")
    return (int(unknown[1], 16), -1) if unknown[1] else (ord("R"), int(unknown[2]))


class _Tried(NamedTuple):
    """How far a value was tried."""

    escapes: int
    """How many of its escaped bytes are read as escapes."""
    known: int
    """How many sequences look like an escaped byte, up to `reached`."""
    reached: int


Rest = tuple[str, Any] | None
"""The fields still to be read, as a linked list, so that every place to return to keeps its own."""


class _Fields:
    """A reader of the fields of one message."""

    def __init__(self, text: bytes, room: int | None) -> None:
        self._text = text
        self._room = room  # bytes left in the body; None if the line does not give the length
        self._tries = TRIES + (room or 0) // BYTES_A_TRY
        self._looks = LOOKED_AT + LOOKS * (room or 0)
        self._missing = 0  # zero bytes at the end of the body
        # kind of ending, how far it was tried, and the state before it
        self._later: list[tuple[int, Any, str, Rest, Any, int]] = []

    def read(self, layout: str, at: int) -> tuple[int, bytes, int]:
        """Returns where the line ends, the body, and how many zero bytes follow it. Raises
        NoMessage."""
        rest: Rest = None
        for part in reversed(layouts.PARTS.findall(layout)):
            rest = (part, rest)
        out: Any = None  # a linked list of pieces, latest first
        size = 0
        while True:
            if rest is None:
                if (self._room is None or size == self._room) and _BOUNDARY.match(self._text, at):
                    return at, _joined(self._text, out), self._missing
                state = None
            else:
                state = self._step(rest[0], rest[1], at, out, size)
            while state is None or (self._room is not None and state[3] > self._room):
                state = self._backtrack()
            at, rest, out, size = state

    def _step(self, part: str, rest: Rest, at: int, out: Any, size: int) -> tuple[int, Rest, Any, int] | None:
        """Read one field; None if the text does not contain it."""
        text = self._text
        if part == "s":
            return self._string(at, 0, rest, out, size)
        if part in ("v", "n", "d"):
            return self._value(part, at, rest, out, size)
        if part in ("b", "c"):
            found = _CHARACTER.match(text, at)
            return (
                None if found is None else (found.end(), rest, (bytes.fromhex(found[1].decode()) if found[1] else found[2], out), size + 1)
            )
        if part in ("i", "o", "h"):
            found = (_OID if part == "o" else _NUMBER).match(text, at)
            if found is None:
                return None
            number = 0 if found[1] == b"NNNN" else int(found[1])
            width = 2 if part == "h" else 4
            return found.end(), rest, ((number & ((1 << 8 * width) - 1)).to_bytes(width, "big"), out), size + width
        if part[0] in "[{":
            found = _NUMBER.match(text, at)
            if found is None or int(found[1]) < 0:
                return None
            width = 2 if part[0] == "[" else 4
            count = int(found[1]) & ((1 << 8 * width) - 1)
            return found.end(), (f"×{count} {part[1:-1]}", rest), (count.to_bytes(width, "big"), out), size + width
        return self._list(part, rest, at, out, size)

    def _list(self, part: str, rest: Rest, at: int, out: Any, size: int) -> tuple[int, Rest, Any, int] | None:
        """The next element of a list, or its end."""
        text = self._text
        if part[0] == "×":
            count, _, inner = part[1:].partition(" ")
            if count == "0":
                return at, rest, out, size
            rest = (f"×{int(count) - 1} {inner}", rest)
            for one in reversed(inner):
                rest = (one, rest)
            return at, rest, out, size
        if part == "P":
            if self._room is not None and size == self._room - 1:
                return at, rest, (b"\0", out), size + 1
            return at, ("s", ("s", (part, rest))), out, size
        if part == "Z":
            missing = (self._room or size) - size
            return (at, rest, (bytes(missing), out), size + missing) if missing >= 0 else None
        if part == "m":
            if text.startswith(b' ""', at):
                return at + 3, rest, (b"\0", out), size + 1
            return at, ("s", (part, rest)), out, size
        if text.startswith(_ERROR_END, at):
            return at + len(_ERROR_END), rest, (b"\0", out), size + 1
        found = _ERROR_FIELD.match(text, at)
        letter = found[1].decode("ascii") if found else ""
        if found is None or letter not in FIELD_NAMES or letter in part[1:]:
            return None
        return found.end() - 1, ("s", (part + letter, rest)), (found[1], out), size + 1

    def _string(self, at: int, tried: int, rest: Rest, out: Any, size: int) -> tuple[int, Rest, Any, int] | None:
        """Read a String. `tried` is the position of the quote that was taken for its end before."""
        text = self._text
        begin = at + 2
        if not text.startswith(b' "', at):
            return None
        last = rest is None and self._room is not None  # its end is known
        end = text.find(b'"', max(begin, tried + 1) if not last else begin + (self._room or 0) - size - 1)
        self._look(end - max(begin, tried))
        if end < 0 or (self._room is not None and size + end - begin + 1 > self._room):
            return None
        self._later.append((0, end, "", (str(at), rest), out, size))
        if text[end + 1 : end + 2] not in (b" ", b"\n"):
            return None
        content = b"" if self._room is None and text[begin - 1 : end + 1] == _SUPPRESSED else text[begin:end]
        return end + 1, rest, (content + b"\0", out), size + end - begin + 1

    def _value(self, part: str, at: int, rest: Rest, out: Any, size: int, tried: _Tried | None = None) -> tuple[int, Rest, Any, int] | None:
        """Read a value. `tried` is how far it was tried before."""
        text = self._text
        if part == "d":
            if self._room is None or not text.startswith(b" '", at):
                return None
            length, begin, prefix = self._room - size, at + 2, b""
        else:
            found = _VALUE.match(text, at)
            if found is None:
                return None
            if found[1]:
                return found.end(), rest, (b"\xff\xff\xff\xff", out), size + 4
            length, begin = int(found[2]), found.end()
            if length > 0x3FFFFFFF:
                return None
            prefix = struct.pack(">i", length)
        if length < 0 or (self._room is not None and size + len(prefix) + length > self._room):
            return None
        total = size + len(prefix) + length
        if part != "v" and tried is None and length != 4 and text.startswith(_BLANKED, begin - 1) and _BOUNDARY.match(text, begin + 5):
            self._missing = length
            return begin + 5, rest, (prefix, out), total
        escapes, known, reached = tried or _Tried(0, 0, begin)
        spelled = _ESCAPE.finditer(text, reached)
        following = next(spelled, None)
        while escapes <= length:
            end = begin + length + 3 * escapes
            if end >= len(text):
                return None
            if text[end : end + 1] == b"'" and text[end + 1 : end + 2] in (b" ", b"\n"):
                self._look(max(0, end - reached))
                while following is not None and following.end() <= end:
                    known, reached, following = known + 1, following.end(), next(spelled, None)
                literal = known - escapes
                if literal >= 0:
                    self._later.append((1, _Tried(escapes + 1, known, reached), part, (str(at), rest), out, size))
                    return end + 1, rest, ((begin, end, literal), (prefix, out)), total
            escapes += 1
        return None

    def _backtrack(self) -> tuple[int, Rest, Any, int] | None:
        """Return to the latest field that can end elsewhere. Raises NoMessage."""
        self._tries -= 1
        if not self._later or self._tries < 0:
            raise NoMessage(UNFILLED)
        self._missing = 0
        kind, tried, part, place, out, size = self._later.pop()
        assert place is not None
        at, rest = int(place[0]), place[1]
        if kind == 0:
            return self._string(at, tried, rest, out, size)
        return self._value(part, at, rest, out, size, tried)

    def _look(self, size: int) -> None:
        """Count the characters that were looked at. Raises NoMessage if there were too many."""
        self._looks -= size
        if self._looks < 0:
            raise NoMessage(UNFILLED)


def _joined(text: bytes, out: Any) -> bytes:
    """Join a linked list of pieces, latest first. A piece is bytes, or a part of the text: begin,
    end, and how many escapes in it are literal."""
    pieces = []
    while out is not None:
        piece, out = out
        pieces.append(piece if isinstance(piece, bytes) else _unescaped(text[piece[0] : piece[1]], piece[2]))
    return b"".join(reversed(pieces))


def _unescaped(text: bytes, literal: int) -> bytes:
    """The bytes of a printed value. The first `literal` sequences that look like escapes are not
    escapes."""
    data = bytearray()
    at = 0
    for found in islice(_ESCAPE.finditer(text), literal, None):
        data += text[at : found.start()]
        data.append(int(found[1], 16))
        at = found.end()
    return bytes(data + text[at:])
