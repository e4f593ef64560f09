"""Keep the protocol's own secrets out of a capture, while the bytes are still on their way to it.

From a connection's first byte to its first ReadyForQuery, both directions go through a Redactor. It
immediately returns as many bytes as it got, however the reads were cut. Lengths, types and
everything that is not secret stay, so a capture decodes as if nothing had been changed.

| message | kept | the rest |
|---|---|---|
| PasswordMessage (clear text, MD5) | a final zero byte | `*` |
| SASLInitialResponse | the mechanism, if the backend offered it; the length; the GS2 header | `*` |
| SASLResponse, GSSResponse | nothing | `*` |
| AuthenticationSASLContinue, SASLFinal, GSSContinue, unknown ones | the subtype | `*` |
| BackendKeyData, CancelRequest | the process id | a keyed hash |

- A `p` is judged by the Authentication request before it. Without one, a `p` is treated as a
  password; so is a second `p` for the same request.
- Byte i of a cancel key becomes the first byte of HMAC(key, secret[:i + 1]). So nothing has to be
  held back, and equal keys give equal hashes: a cancel still finds its session. The hash's key
  lives and dies with the recorder.
- Contents (contents.py) decides what else to blank, after start-up too. With it the Redactor stays
  on its connection to the end.
- It fails closed. For bytes that cannot be framed it returns None: that direction is lost for good
  (both directions, if they no longer agree on the protocol), and its bytes must be stored as
  Opaque. So is everything after the backend accepted encryption, unless you call decrypted()
  because you read it as plain bytes. If you lose bytes of a connection in this phase, feed no more
  and store the rest as Opaque.

The backend's direction is the one that the driver sees: feed what pgtrace answered or rewrote as it
was sent. This module does its own framing instead of using framing.Framer, because a secret must be
covered before its message is whole.

Sources: PostgreSQL manual, "Message Formats" and "SASL Authentication"; RFC 5801 section 4 for the
GS2 header.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pgtrace.framing import LONGEST, LONGEST_ERROR, LONGEST_STARTUP
from pgtrace.protocol import codes
from pgtrace.protocol.codes import BACKEND, FRONTEND

if TYPE_CHECKING:
    from pgtrace.capture.contents import Contents

BLANK: Final = b"*"
"""Replaces each byte that is blanked."""

Cover = Callable[[int, bytes, int], bytes]
"""Makes a piece of a body safe. Its arguments are the piece's offset in the body, the piece, and
the body's length."""

_GS2_MECHANISMS: Final = (b"SCRAM-", b"OAUTHBEARER")
_GS2: Final = re.compile(rb"(?:[ny]|p=[A-Za-z0-9.-]+)(?:,(?:,|a(?:=[\x21-\x2b\x2d-\x7e\x80-\xff]*,?)?)?)?|p=?")
"""Matches every beginning of a GS2 header."""
_LONGEST_KEY: Final = 256
_LONGEST_OFFER: Final = 1024
_LONGEST_GS2: Final = 256
_PLAIN_SUBTYPES: Final = (codes.AUTH_OK, 2, codes.AUTH_CLEARTEXT, codes.AUTH_MD5, 6, codes.AUTH_GSS, codes.AUTH_SSPI, codes.AUTH_SASL)
_BINARY_SUBTYPES: Final = (codes.AUTH_GSS, codes.AUTH_GSS_CONTINUE, codes.AUTH_SSPI, codes.AUTH_SASL_CONTINUE)
_ACCEPTANCE: Final = {codes.SSL_REQUEST_CODE: b"S", codes.GSSENC_REQUEST_CODE: b"G"}
AUTHENTICATION: Final = ord("R")
KEY_DATA: Final = ord("K")
PASSWORD: Final = ord("p")
READY: Final = ord("Z")


def _blanked(_at: int, piece: bytes, _size: int) -> bytes:
    return BLANK * len(piece)


def _password(at: int, piece: bytes, size: int) -> bytes:
    if at + len(piece) == size and piece.endswith(b"\0"):
        return BLANK * (len(piece) - 1) + b"\0"
    return BLANK * len(piece)


class _CancelKey:
    """Covers a process id followed by the secret key."""

    def __init__(self, key: bytes) -> None:
        self._hash = hmac.new(key, digestmod="sha256")

    def __call__(self, at: int, piece: bytes, _size: int) -> bytes:
        kept = max(4 - at, 0)
        covered = bytearray(piece[:kept])
        for byte in piece[kept : max(4 + _LONGEST_KEY - at, kept)]:
            self._hash.update(bytes((byte,)))
            covered += self._hash.copy().digest()[:1]
        return bytes(covered) + BLANK * (len(piece) - len(covered))


class _InitialResponse:
    """Covers a SASLInitialResponse. Keeps the mechanism, the length, and of the payload its GS2
    header: `n,,`, `y,,` or `p=tls-server-end-point,,`, with an optional `a=name` before the second
    comma."""

    def __init__(self, offered: bytes) -> None:
        self._offered = [name + b"\0" for name in offered.split(b"\0") if name]
        self._mechanism = b""
        self._length = 0  # bytes of the length word so far
        self._gs2 = b""
        self._closed = False  # everything from here on is secret

    def __call__(self, _at: int, piece: bytes, _size: int) -> bytes:
        covered = bytearray()
        for byte in piece:
            if self._closed or not self._is_public(byte):
                self._closed = True
                break
            covered.append(byte)
        return bytes(covered) + BLANK * (len(piece) - len(covered))

    def _is_public(self, byte: int) -> bool:
        if not self._mechanism.endswith(b"\0"):
            self._mechanism += bytes((byte,))
            return any(name.startswith(self._mechanism) for name in self._offered)
        if self._length < 4:
            self._length += 1
            return True
        if not self._mechanism.startswith(_GS2_MECHANISMS) or self._gs2.count(b",") == 2 or len(self._gs2) >= _LONGEST_GS2:
            return False
        self._gs2 += bytes((byte,))
        return _GS2.fullmatch(self._gs2) is not None


class _Text:
    """Covers the unframed error of protocol 2.0: text up to a zero byte, and nothing after it."""

    def __init__(self) -> None:
        self._ended = False

    def __call__(self, _at: int, piece: bytes, _size: int) -> bytes:
        kept = 0 if self._ended else piece.find(b"\0") + 1
        if not kept and not self._ended:
            return piece
        self._ended = True
        return piece[:kept] + BLANK * (len(piece) - kept)


class _Stream:
    """One direction: the header being collected, or what is left of a body and how to cover it."""

    __slots__ = ("at", "code", "cover", "head", "size")

    def __init__(self) -> None:
        self.head = b""
        self.code = 0
        self.at = 0
        self.size = 0
        self.cover: Cover | None = None

    def gather(self, data: bytes, position: int, wanted: int) -> int:
        """Take bytes until the header has `wanted` of them. Returns the position after them."""
        stop = min(position + max(wanted - len(self.head), 0), len(data))
        self.head += data[position:stop]
        return stop

    def begin(self, code: int, size: int, cover: Cover | None) -> None:
        self.head, self.code, self.at, self.size, self.cover = b"", code, 0, size, cover


class Redactor:
    """The start-up of one connection, both directions. Never raises, whatever the bytes are."""

    __slots__ = (
        "_authentication",
        "_backend_began",
        "_contents",
        "_is_version_2",
        "_key",
        "_lost",
        "_offered",
        "_ready",
        "_replies",
        "_streams",
        "_untyped",
    )

    def __init__(self, key: bytes, contents: Contents | None = None) -> None:
        """`key` is the recorder's, the same for all its connections."""
        self._key = key
        self._contents = contents
        self._streams = (_Stream(), _Stream())
        self._lost = [False, False]
        self._untyped = True  # the driver has not sent its StartupMessage yet
        # The driver uses a protocol other than 3: nothing after its StartupMessage can be framed.
        self._is_version_2 = False
        # The replies that would accept the encryption requests not answered yet.
        self._replies: list[bytes] = []
        self._backend_began = False  # the backend has begun to send messages
        # The subtype of the latest Authentication request that no `p` has answered.
        self._authentication = -1
        self._offered = b""  # the mechanisms of AuthenticationSASL
        self._ready = False

    @property
    def done(self) -> bool:
        """Whether start-up is over and no secret is only partly covered: the rest need not be
        fed."""
        frontend = self._streams[FRONTEND]
        secret = frontend.head.startswith(b"p") or (frontend.cover is not None and frontend.at < frontend.size)
        return self._ready and not (self._untyped or secret or any(self._lost))

    def is_between(self, side: int) -> bool:
        """Whether this side is between two messages."""
        stream = self._streams[side]
        return not stream.head and stream.at == stream.size

    def decrypted(self) -> None:
        """Note that after an accepted SSLRequest the plain stream follows, because the recorder
        terminated TLS itself."""
        self._lost = [False, False]

    @property
    def lost(self) -> bool:
        """Whether a direction is lost for good."""
        return any(self._lost)

    def is_lost(self, side: int) -> bool:
        """Whether this direction is lost."""
        return self._lost[side]

    def feed(self, side: int, data: bytes) -> bytes | None:
        """The bytes to store for `data`, the next bytes of `side`: the same number, and safe to
        keep. None: store them as Opaque."""
        if self._lost[side]:
            return None
        stream = self._streams[side]
        begin = self._begin_frontend if side == FRONTEND else self._begin_backend
        covered: bytearray | None = None
        position = 0
        while position < len(data):
            if stream.at == stream.size:
                position = begin(stream, data, position)
                if position < 0:
                    return None
            else:
                stop = min(position + stream.size - stream.at, len(data))
                if stream.cover is not None:
                    covered = bytearray(data) if covered is None else covered
                    covered[position:stop] = stream.cover(stream.at, data[position:stop], stream.size)
                stream.at += stop - position
                position = stop
                if side == BACKEND and stream.code == READY and stream.at == stream.size:
                    self._ready = True
        return data if covered is None else bytes(covered)

    def _begin_frontend(self, stream: _Stream, data: bytes, position: int) -> int:
        """Take a header, or as much of it as has arrived. Returns the position after it, or -1 if
        it cannot be a header."""
        if self._untyped:
            return self._begin_untyped(stream, data, position)
        if self._is_version_2:
            return self._lose(FRONTEND)
        position = stream.gather(data, position, 5)
        if len(stream.head) < 5:
            return position
        code, length = stream.head[0], int.from_bytes(stream.head[1:], "big")
        if not 4 <= length <= LONGEST:
            return self._lose(FRONTEND)
        stream.begin(code, length - 4, self._answer() if code == PASSWORD else self._content(FRONTEND, code))
        return position

    def _content(self, side: int, code: int) -> Cover | None:
        return self._contents.cover(side, code) if self._contents is not None else None

    def _answer(self) -> Cover:
        """How to cover the `p` that begins now: according to what the backend asked for, or as a
        password if it did not ask."""
        asked, self._authentication = self._authentication, -1
        if asked == codes.AUTH_SASL:
            return _InitialResponse(self._offered)
        return _blanked if asked in _BINARY_SUBTYPES else _password

    def _begin_untyped(self, stream: _Stream, data: bytes, position: int) -> int:
        position = stream.gather(data, position, 8)
        head = stream.head
        # A start-up packet is short, so its first two bytes are zero. Other bytes can be recognised
        # early by that.
        if any(head[:2]) or (len(head) >= 4 and not 8 <= int.from_bytes(head[:4], "big") <= LONGEST_STARTUP):
            return self._lose(FRONTEND, BACKEND)
        if len(head) < 8:
            return position
        length, request = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:], "big")
        cover: Cover | None = None
        if request == codes.CANCEL_REQUEST_CODE:
            cover = _CancelKey(self._key)
        elif request in _ACCEPTANCE:
            self._replies.append(_ACCEPTANCE[request])
        else:
            self._untyped = False
            self._is_version_2 = request >> 16 != 3
        stream.begin(0, length - 8, cover)
        return position

    def _begin_backend(self, stream: _Stream, data: bytes, position: int) -> int:
        while self._replies:
            reply = data[position : position + 1]
            if reply == b"E":
                self._replies.clear()
                break
            accepted = self._replies.pop(0)
            position += 1
            if reply != b"N":
                self._lose(FRONTEND, BACKEND)
                return position if reply == accepted and position == len(data) else -1
            if position == len(data):
                return position
        position = stream.gather(data, position, 5)
        if len(stream.head) < 5:
            return position
        code, length = stream.head[0], int.from_bytes(stream.head[1:5], "big")
        if not self._backend_began and code == ord("E") and not 8 <= length <= LONGEST_ERROR:
            stream.begin(code, 1 << 62, _Text())
            return position
        if not 4 <= length <= LONGEST:
            return self._lose(BACKEND)
        if code != AUTHENTICATION:
            stream.begin(code, length - 4, _CancelKey(self._key) if code == KEY_DATA else self._content(BACKEND, code))
        elif length < 8:
            stream.begin(code, length - 4, _blanked)
        else:
            position = stream.gather(data, position, 9)
            if len(stream.head) < 9:
                return position
            self._authentication = int.from_bytes(stream.head[5:], "big")
            cover: Cover | None = None if self._authentication in _PLAIN_SUBTYPES else _blanked
            if self._authentication == codes.AUTH_SASL:
                self._offered, cover = b"", self._offer
            stream.begin(code, length - 8, cover)
        self._backend_began = True
        return position

    def _offer(self, _at: int, piece: bytes, _size: int) -> bytes:
        """Remember the mechanisms of AuthenticationSASL, which are not secret."""
        self._offered = (self._offered + piece)[:_LONGEST_OFFER]
        return piece

    def _lose(self, *sides: int) -> int:
        for side in sides:
            self._lost[side] = True
        return -1
