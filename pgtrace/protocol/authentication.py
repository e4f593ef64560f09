"""The Authentication family: the backend's requests (`R`) and the frontend's responses (`p`).

All requests have the type byte `R` and differ in the Int32 at the start of the body. All responses
have the type byte `p`, and only the request before a response identifies it: a password is a
String, GSSAPI and SSPI tokens are plain bytes, and SASL begins with a mechanism and optional
initial data. AuthenticationOk ends the phase. So to decode a `p` you must say which request it
answers.

SASL: AuthenticationSASL lists the mechanisms; AuthenticationSASLContinue and -Final carry the
server's data. OAUTHBEARER has no Final. The mechanism SCRAM-SHA-256-PLUS binds the login to the TLS
connection. It can be offered only if the driver and the server share one TLS connection; otherwise
proxy/channel_binding.py removes it from the offer.

Sources: PostgreSQL manual, "Message Formats", "SASL Authentication"; RFC 5802 and RFC 7628 for the
contents of the data.
"""

from __future__ import annotations

from typing import Final

from pgtrace.protocol import codes
from pgtrace.protocol.bodies import Body, ZeroEnded
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.protocol.message import Message, message
from pgtrace.protocol.primitives import Constant, Fixed, NullableBytes, Rest, ZString


@message(b"R", BACKEND, authentication=codes.AUTH_OK)
class AuthenticationOk(Message):
    """Byte1('R') Int32(8) Int32(0)."""

    BODY = Body(Constant("authentication", codes.AUTH_OK))
    EXAMPLE = b"\0\0\0\0"


@message(b"R", BACKEND, authentication=2)
class AuthenticationKerberosV5(Message):
    """Byte1('R') Int32(8) Int32(2). No supported server sends it any more."""

    BODY = Body(Constant("authentication", 2))
    EXAMPLE = b"\0\0\0\2"


@message(b"R", BACKEND, authentication=codes.AUTH_CLEARTEXT)
class AuthenticationCleartextPassword(Message):
    """Byte1('R') Int32(8) Int32(3)."""

    BODY = Body(Constant("authentication", codes.AUTH_CLEARTEXT))
    EXAMPLE = b"\0\0\0\3"


@message(b"R", BACKEND, authentication=codes.AUTH_MD5)
class AuthenticationMD5Password(Message):
    """Byte1('R') Int32(12) Int32(5) Byte4."""

    salt: bytes
    BODY = Body(Constant("authentication", codes.AUTH_MD5), "salt" / Fixed(4))
    EXAMPLE = b"\0\0\0\5\x9a\x01\0\xff"


@message(b"R", BACKEND, authentication=6)
class AuthenticationSCMCredential(Message):
    """Byte1('R') Int32(8) Int32(6). No supported server sends it any more."""

    BODY = Body(Constant("authentication", 6))
    EXAMPLE = b"\0\0\0\6"


@message(b"R", BACKEND, authentication=codes.AUTH_GSS)
class AuthenticationGSS(Message):
    """Byte1('R') Int32(8) Int32(7)."""

    BODY = Body(Constant("authentication", codes.AUTH_GSS))
    EXAMPLE = b"\0\0\0\7"


@message(b"R", BACKEND, authentication=codes.AUTH_GSS_CONTINUE)
class AuthenticationGSSContinue(Message):
    """Byte1('R') Int32 Int32(8) Byten. Continues both GSSAPI and SSPI."""

    data: bytes
    BODY = Body(Constant("authentication", codes.AUTH_GSS_CONTINUE), "data" / Rest)
    EXAMPLE = b"\0\0\0\x08`\x06\x06"


@message(b"R", BACKEND, authentication=codes.AUTH_SSPI)
class AuthenticationSSPI(Message):
    """Byte1('R') Int32(8) Int32(9)."""

    BODY = Body(Constant("authentication", codes.AUTH_SSPI))
    EXAMPLE = b"\0\0\0\x09"


@message(b"R", BACKEND, authentication=codes.AUTH_SASL)
class AuthenticationSASL(Message):
    """Byte1('R') Int32 Int32(10) String* Int8(0): the mechanisms in the server's order of
    preference."""

    mechanisms: tuple[str, ...]
    BODY = Body(Constant("authentication", codes.AUTH_SASL), "mechanisms" / ZeroEnded(ZString))
    EXAMPLE = b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"


@message(b"R", BACKEND, authentication=codes.AUTH_SASL_CONTINUE)
class AuthenticationSASLContinue(Message):
    """Byte1('R') Int32 Int32(11) Byten."""

    data: bytes
    BODY = Body(Constant("authentication", codes.AUTH_SASL_CONTINUE), "data" / Rest)
    EXAMPLE = b"\0\0\0\x0br=nonce,s=c2FsdA==,i=4096"


@message(b"R", BACKEND, authentication=codes.AUTH_SASL_FINAL)
class AuthenticationSASLFinal(Message):
    """Byte1('R') Int32 Int32(12) Byten."""

    data: bytes
    BODY = Body(Constant("authentication", codes.AUTH_SASL_FINAL), "data" / Rest)
    EXAMPLE = b"\0\0\0\x0cv=c2lnbmF0dXJl"


@message(b"p", FRONTEND, authentication=codes.AUTH_CLEARTEXT)
class PasswordMessage(Message):
    """Byte1('p') Int32 String. Answers AuthenticationCleartextPassword and
    AuthenticationMD5Password (`md5` and 32 hex digits)."""

    password: str
    BODY = Body("password" / ZString)
    EXAMPLE = b"md5d41d8cd98f00b204e9800998ecf8427e\0"


@message(b"p", FRONTEND, authentication=codes.AUTH_GSS)
class GSSResponse(Message):
    """Byte1('p') Int32 Byten. Answers AuthenticationGSS, AuthenticationSSPI and
    AuthenticationGSSContinue."""

    data: bytes
    BODY = Body("data" / Rest)
    EXAMPLE = b"`\x82\x02\0"


@message(b"p", FRONTEND, authentication=codes.AUTH_SASL)
class SASLInitialResponse(Message):
    """Byte1('p') Int32 String Int32 Byten. `data` is None (-1 on the wire) if the mechanism has no
    first message."""

    mechanism: str
    data: bytes | None
    BODY = Body("mechanism" / ZString, "data" / NullableBytes)
    EXAMPLE = b"SCRAM-SHA-256\0\0\0\0\x0cn,,n=,r=once"


@message(b"p", FRONTEND, authentication=codes.AUTH_SASL_CONTINUE)
class SASLResponse(Message):
    """Byte1('p') Int32 Byten. Answers AuthenticationSASLContinue."""

    data: bytes
    BODY = Body("data" / Rest)
    EXAMPLE = b"c=biws,r=nonce,p=cHJvb2Y="


MESSAGES: Final[tuple[type[Message], ...]] = (
    AuthenticationOk,
    AuthenticationKerberosV5,
    AuthenticationCleartextPassword,
    AuthenticationMD5Password,
    AuthenticationSCMCredential,
    AuthenticationGSS,
    AuthenticationGSSContinue,
    AuthenticationSSPI,
    AuthenticationSASL,
    AuthenticationSASLContinue,
    AuthenticationSASLFinal,
    PasswordMessage,
    GSSResponse,
    SASLInitialResponse,
    SASLResponse,
)
