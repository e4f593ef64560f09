"""The untyped packets that begin a connection, and the backend's one-byte replies to them.

A start-up packet is an Int32 length, an Int32 code, and more; it has no type byte. The bodies here
begin after the length, with the code or version. The backend answers SSLRequest and GSSENCRequest
with one raw byte: `S` or `G` for yes, `N` for no. Afterwards the frontend may send the next packet;
a StartupMessage ends the phase. A CancelRequest has a connection of its own, and the backend
answers it only by closing that connection.

A StartupMessage of version 3.m names its parameters; names that begin with `_pq_.` are protocol
options. A server that does not know 3.m, or an option, sends NegotiateProtocolVersion. A server
that refuses with protocol 2.0 sends text without a length. Protocol 2.0 has its own StartupMessage,
with the version in the same place; no frontend message after it has a length.

Source: PostgreSQL manual, "Message Formats", "Start-up" and "Canceling Requests in Progress" of
"Message Flow".
"""

from __future__ import annotations

from typing import Final

from pgtrace.protocol import codes
from pgtrace.protocol.bodies import Body, Group, ZeroEnded
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.protocol.message import Message, message
from pgtrace.protocol.primitives import Byte1, Constant, Padded, Rest, UInt32, ZString


@message(codes.STARTUP_MESSAGE, FRONTEND)
class StartupMessage(Message):
    """Int32 Int32(version) (String String)* Int8(0).

    `protocol` has the major version in its high 16 bits and the minor one in the low 16: 196608 is
    3.0, 196610 is 3.2.
    """

    protocol: int
    parameters: tuple[tuple[str, str], ...]
    BODY = Body("protocol" / UInt32, "parameters" / ZeroEnded(Group("name" / ZString, "value" / ZString)))
    EXAMPLE = b"\0\3\0\2user\0app\0database\0shop\0application_name\0\0\0"


@message(codes.STARTUP_MESSAGE, FRONTEND)
class Version2StartupMessage(Message):
    """Int32(296) Int32(131072) LimString64 LimString32 LimString64 LimString64 LimString64:
    StartupMessage of protocol 2.0.

    PostgreSQL 14 and later refuse it. Older servers continue in a protocol whose messages have no
    lengths.
    """

    protocol: int
    database: str
    user: str
    options: str
    unused: str
    tty: str
    BODY = Body(
        "protocol" / UInt32,
        "database" / Padded(64),
        "user" / Padded(32),
        "options" / Padded(64),
        "unused" / Padded(64),
        "tty" / Padded(64),
    )
    EXAMPLE = b"\0\2\0\0" + b"shop".ljust(64, b"\0") + b"app".ljust(32, b"\0") + b"-c geqo=off".ljust(64, b"\0") + bytes(64) + bytes(64)

    @property
    def parameters(self) -> tuple[tuple[str, str], ...]:
        """Its fields, under their names in protocol 3."""
        named = (("user", self.user), ("database", self.database), ("options", self.options))
        return tuple(pair for pair in named if pair[1])


def startup_class(body: bytes) -> type[StartupMessage] | type[Version2StartupMessage]:
    """The StartupMessage class for the version at the start of a body."""
    return Version2StartupMessage if is_version_2(body) else StartupMessage


def is_version_2(body: bytes) -> bool:
    """Whether the body of a StartupMessage asks for protocol 2."""
    return body[:2] == b"\0\2"


@message(codes.SSL_REQUEST, FRONTEND)
class SSLRequest(Message):
    """Int32(8) Int32(80877103)."""

    BODY = Body(Constant("request", codes.SSL_REQUEST_CODE))
    EXAMPLE = b"\x04\xd2\x16\x2f"


@message(codes.GSSENC_REQUEST, FRONTEND)
class GSSENCRequest(Message):
    """Int32(8) Int32(80877104)."""

    BODY = Body(Constant("request", codes.GSSENC_REQUEST_CODE))
    EXAMPLE = b"\x04\xd2\x16\x30"


@message(codes.CANCEL_REQUEST, FRONTEND)
class CancelRequest(Message):
    """Int32 Int32(80877102) Int32 Byten.

    The key is that of the session's BackendKeyData: 4 bytes up to protocol 3.1, up to 256 from 3.2.
    """

    process_id: int
    secret_key: bytes
    BODY = Body(Constant("request", codes.CANCEL_REQUEST_CODE), "process_id" / UInt32, "secret_key" / Rest)
    EXAMPLE = b"\x04\xd2\x16\x2e\0\0\x12\x67\x01\x02\x03\x04"


@message(codes.SSL_REPLY, BACKEND)
class SSLRequestReply(Message):
    """Byte1: `S` if TLS begins now, `N` if not."""

    reply: str
    BODY = Body("reply" / Byte1)
    EXAMPLE = b"N"


@message(codes.GSSENC_REPLY, BACKEND)
class GSSENCRequestReply(Message):
    """Byte1: `G` if GSSAPI encryption begins now, `N` if not."""

    reply: str
    BODY = Body("reply" / Byte1)
    EXAMPLE = b"N"


@message(codes.VERSION_2_ERROR, BACKEND)
class Version2Error(Message):
    """Byte1('E') String: ErrorResponse of protocol 2.0, without a length. A server that cannot
    start a process for a connection also sends it."""

    text: str
    BODY = Body("text" / ZString)
    EXAMPLE = b"FATAL:  unsupported frontend protocol 2.0\n\0"


MESSAGES: Final[tuple[type[Message], ...]] = (
    StartupMessage,
    SSLRequest,
    GSSENCRequest,
    CancelRequest,
    SSLRequestReply,
    GSSENCRequestReply,
    Version2Error,
)
