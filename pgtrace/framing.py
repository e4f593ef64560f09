"""Where one message ends and the next begins, in both directions of one connection.

You feed the bytes of each side as they were read, cut anywhere, and get frames, which are the same
however the pieces were cut. A frame is the plain tuple `(code, body, size)`: the code of
protocol/codes.py, the body without type byte and length, and the number of bytes on the wire,
header included. It is plain because reading a large capture makes a million of them.

Rules:

- Only type byte and length are read, never a body. A body longer than KEPT_BYTES is cut there
  (`size` shows it): a 1 GiB row is counted, never collected.
- The frontend begins with untyped packets. A StartupMessage ends that phase. SSLRequest and
  GSSENCRequest are answered by one raw byte; only there, `S`, `N` and `G` are not messages. After
  `S` or `G` everything is encrypted: OPAQUE, unless you call decrypted() because the bytes are the
  plain stream. A first byte of 0x16 is an immediate TLS handshake.
- An `E` before any other backend message, with an impossible length, is the unframed error text of
  protocol 2.0. What a frontend sends after a StartupMessage of a major version other than 3 is
  OPAQUE. Protocol 2.0 has no lengths, so that error is all that can be read of its backend.
- A length below 4 or above 1 GiB, or a first packet that is not PostgreSQL's, makes that direction
  OPAQUE for good.
- After gap(), or in a stream joined late, both sides resume together: when a backend read ends in a
  whole ReadyForQuery and the next frontend read is a chain of whole messages of known types. Until
  then everything is UNDECODED. RESUMED marks the place.

Sources: PostgreSQL manual, "Message Flow" and "Message Formats"; CVE-2021-23222 for the reply slot.
"""

from __future__ import annotations

import struct
from typing import Final

from pgtrace.protocol import codes
from pgtrace.protocol.codes import BACKEND, FRONTEND

Frame = tuple[int, bytes, int]
"""(code, body, size): see the module's docstring."""

KEPT_BYTES: Final = 256 * 1024
"""The most bytes of a body that a frame contains; `size` counts the rest."""
LONGEST: Final = 0x3FFFFFFF
"""The protocol's limit for a message's length word."""
LONGEST_STARTUP: Final = 10_004
"""The server's limit for a start-up packet, length word included."""
LONGEST_ERROR: Final = 30_000
"""libpq's limit for an error before authentication; a longer one is text of protocol 2.0."""

TLS_HELLO: Final = -1
"""Returned by first_packet(): an immediate TLS handshake."""
NO_PACKET: Final = -2
"""Returned by first_packet(): the packet is not one of PostgreSQL's."""
_TLS_HANDSHAKE: Final = 0x16
_HEADER: Final = struct.Struct(">BI").unpack_from
_STARTUP: Final = struct.Struct(">II").unpack_from

_UNTYPED_CODES: Final = {
    codes.SSL_REQUEST_CODE: codes.SSL_REQUEST,
    codes.GSSENC_REQUEST_CODE: codes.GSSENC_REQUEST,
    codes.CANCEL_REQUEST_CODE: codes.CANCEL_REQUEST,
}


def first_packet(data: bytes | bytearray) -> tuple[int, int] | None:
    """The first packet of an untyped stream, by the server's rules: its request code or protocol
    version, or TLS_HELLO or NO_PACKET, and its length in bytes. None if more bytes are needed."""
    if not data:
        return None
    if data[0] == _TLS_HANDSHAKE:
        return TLS_HELLO, len(data)
    if any(data[:2]):  # a start-up packet is never that long
        return NO_PACKET, len(data)
    if len(data) < 4:
        return None
    length = int.from_bytes(data[:4], "big")
    if not 8 <= length <= LONGEST_STARTUP:
        return NO_PACKET, len(data)
    return (_STARTUP(data)[1], length) if len(data) >= length else None


class _Typed:
    """One direction of typed messages."""

    __slots__ = ("body", "code", "head", "kept_bytes", "lost", "remaining", "size")

    def __init__(self, kept_bytes: int) -> None:
        self.kept_bytes = kept_bytes
        self.head = b""  # fewer than five bytes of a header
        self.remaining = 0  # bytes left of the message
        self.code = 0
        self.size = 0
        self.body = bytearray()
        self.lost = False  # an impossible length: no message after it can be found

    def feed(self, data: bytes) -> list[Frame]:
        frames: list[Frame] = []
        append = frames.append
        position = 0
        if self.remaining:
            taken = min(self.remaining, len(data))
            room = self.kept_bytes - len(self.body)
            if room > 0:
                self.body += data[: min(taken, room)]
            self.remaining -= taken
            if self.remaining:
                return frames
            append((self.code, bytes(self.body), self.size))
            self.body = bytearray()
            position = taken
        elif self.head:
            data = self.head + data
            self.head = b""
        end = len(data)
        whole = self.kept_bytes + 4
        while position + 5 <= end:
            code, length = _HEADER(data, position)
            stop = position + 1 + length
            if 4 <= length <= whole and stop <= end:
                append((code, data[position + 5 : stop], length + 1))
                position = stop
                continue
            if not 4 <= length <= LONGEST:
                self.lost = True
                append((codes.OPAQUE, b"", end - position))
                return frames
            body = data[position + 5 : min(stop, end, position + 5 + self.kept_bytes)]
            if stop <= end:
                append((code, body, length + 1))
                position = stop
                continue
            self.code, self.size, self.body, self.remaining = code, length + 1, bytearray(body), stop - end
            return frames
        if position < end:
            self.head = data[position:]
        return frames

    @property
    def unfinished(self) -> bool:
        return bool(self.head or self.remaining)

    @property
    def unfinished_bytes(self) -> int:
        """The bytes so far of a message that has not ended yet."""
        return len(self.head) if self.head else (self.size - self.remaining if self.remaining else 0)


class Framer:
    """Both directions of one connection: turns bytes into frames. Never raises, whatever the bytes
    are."""

    __slots__ = (
        "_backend",
        "_backend_began",
        "_buffered",
        "_frontend",
        "_kept",
        "_opaque",
        "_ready",
        "_replies",
        "_unframed",
        "_untyped",
        "cut",
        "seeking",
    )

    def __init__(self, *, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept = kept_bytes
        self._frontend = _Typed(kept_bytes)
        self._backend = _Typed(kept_bytes)
        self._untyped = True  # the frontend has not sent its StartupMessage yet
        self._buffered = b""  # a start-up packet that has not ended yet
        self._replies: list[int] = []  # one-byte replies owed, oldest first
        self._backend_began = False  # a typed backend message was seen
        self._opaque = [False, False]
        self._unframed = False  # the protocol is 2.0: only the backend's error can be read
        self.seeking = False
        """Whether the message boundaries are lost at the moment."""
        self._ready = b""
        self.cut = [False, False]
        """For each side, whether a message has begun and not ended: the same as unfinished(),
        without a call."""

    def feed(self, side: int, data: bytes) -> list[Frame]:
        """Take the next bytes of `side`. Returns the frames that they complete."""
        if self.seeking:
            return self._seek(side, data)
        if self._opaque[side]:
            return [(codes.OPAQUE, b"", len(data))] if data else []
        if side == FRONTEND:
            typed = self._frontend
            if self._untyped:
                frames = self._feed_untyped(data)
                self.cut[FRONTEND] = self.unfinished(FRONTEND)
                return frames
        else:
            typed = self._backend
            if self._replies or not self._backend_began:
                frames = self._feed_first_replies(data)
                self.cut[BACKEND] = self.unfinished(BACKEND)
                return frames
        frames = typed.feed(data)
        self.cut[side] = bool(typed.remaining or typed.head)
        if typed.lost:
            self._opaque[side] = True
        return frames

    @classmethod
    def typed(cls, *, kept_bytes: int = KEPT_BYTES) -> Framer:
        """A framer for streams that begin at a message, after start-up."""
        framer = cls(kept_bytes=kept_bytes)
        framer._untyped = False
        framer._backend_began = True
        return framer

    def gap(self) -> None:
        """Bytes are missing here, in either direction or both: search for a place to resume."""
        self._frontend = _Typed(self._kept)
        self._backend = _Typed(self._kept)
        self._untyped = False
        self._buffered = b""
        self._replies.clear()
        self._backend_began = True
        if any(self._opaque):  # both sides resume together, and this side never will
            self._opaque = [True, True]
        self.cut = [False, False]
        self.seeking = not any(self._opaque)
        self._ready = b""

    def decrypted(self) -> None:
        """Note that after `S` the plain stream follows, because the recorder terminated TLS
        itself."""
        self._opaque = [False, False]

    @property
    def at_message(self) -> bool:
        """Whether both sides are at the beginning of a typed message, as far as start-up is
        over."""
        return not (self.seeking or self.cut[0] or self.cut[1] or self._opaque[0] or self._opaque[1])

    def unfinished(self, side: int) -> bool:
        """Whether a message of this side has begun and not ended."""
        return (self._frontend, self._backend)[side].unfinished or (side == FRONTEND and bool(self._buffered))

    def begun(self, side: int) -> int:
        """The code of this side's unfinished typed message; 0 if there is none, or if its header is
        not complete."""
        typed = (self._frontend, self._backend)[side]
        return typed.code if typed.remaining else 0

    def unfinished_bytes(self, side: int) -> int:
        """The bytes fed so far of a message that has not ended."""
        if side == FRONTEND and self._buffered:
            return len(self._buffered)
        return (self._frontend, self._backend)[side].unfinished_bytes

    def _feed_untyped(self, data: bytes) -> list[Frame]:
        frames: list[Frame] = []
        data = self._buffered + data
        self._buffered = b""
        while data:
            found = first_packet(data)
            if found is None:
                self._buffered = data
                return frames
            request, length = found
            if request in (TLS_HELLO, NO_PACKET):
                self._opaque = [True, True]
                frames.append((codes.OPAQUE, b"", len(data)))
                return frames
            code = _UNTYPED_CODES.get(request, codes.STARTUP_MESSAGE)
            frames.append((code, data[4:length], length))
            data = data[length:]
            if code == codes.STARTUP_MESSAGE:
                self._untyped = False
                if request >> 16 != 3:
                    self._opaque[FRONTEND] = True
                    self._unframed = request >> 16 < 3
                return frames + (self.feed(FRONTEND, data) if data else [])
            if code in (codes.SSL_REQUEST, codes.GSSENC_REQUEST):
                self._replies.append(codes.SSL_REPLY if code == codes.SSL_REQUEST else codes.GSSENC_REPLY)
        return frames

    def _feed_first_replies(self, data: bytes) -> list[Frame]:
        frames: list[Frame] = []
        while data and self._replies:
            reply, first = self._replies[0], data[:1]
            if first == b"E":
                self._replies.clear()
                break
            self._replies.pop(0)
            accepted = first == (b"S" if reply == codes.SSL_REPLY else b"G")
            if not accepted and first != b"N":
                self._opaque = [True, True]
                frames.append((codes.OPAQUE, b"", len(data)))
                return frames
            frames.append((reply, first, 1))
            data = data[1:]
            if accepted:
                self._opaque = [True, True]
                if data:
                    frames.append((codes.OPAQUE, b"", len(data)))
                return frames
        if not data:
            return frames
        if self._unframed and not self._backend.head and data[:1] != b"E":
            self._opaque[BACKEND] = True
            return [*frames, (codes.OPAQUE, b"", len(data))]
        head = self._backend.head + data[:5]
        if len(head) >= 5:
            if head[0] == 0x45 and not 8 <= int.from_bytes(head[1:5], "big") <= LONGEST_ERROR:
                return frames + self._version_2_error(self._backend.head + data)
            self._backend_began = True
        frames += self._backend.feed(data)
        if self._backend.lost:
            self._opaque[BACKEND] = True
        return frames

    def _version_2_error(self, text: bytes) -> list[Frame]:
        """The error, once its zero byte has arrived, if it arrives within the length of any
        error."""
        end = text.find(0, 0, LONGEST_ERROR) + 1 or LONGEST_ERROR
        if end > len(text):
            self._backend.head = text
            return []
        self._backend.head = b""
        self._backend_began = True
        self._opaque[BACKEND] = True
        rest = len(text) - end
        return [(codes.VERSION_2_ERROR, text[1 : min(end, 1 + self._kept)], end), *([(codes.OPAQUE, b"", rest)] if rest else [])]

    def _seek(self, side: int, data: bytes) -> list[Frame]:
        if not data:
            return []
        if side == BACKEND:
            self._ready = data[-1:] if data[-6:-1] == b"Z\0\0\0\5" and data[-1:] in (b"I", b"T", b"E") else b""
        elif self._ready:
            status, self._ready = self._ready, b""
            trial = _Typed(self._kept)
            frames = trial.feed(data)
            if not trial.unfinished and not trial.lost and all(code in codes.FRONTEND_NAMES for code, _, _ in frames):
                self.seeking = False
                return [(codes.RESUMED, status, 0), *frames]
        return [(codes.UNDECODED, b"", len(data))]
