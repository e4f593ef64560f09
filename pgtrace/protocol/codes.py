"""The protocol's numbers: which side sends, and which type byte is which message.

The first byte of a typed message identifies it on its side: `C` is Close from the frontend and
CommandComplete from the backend, `S` is Sync and ParameterStatus, and so on. Frames without a type
byte get a code of our own above 255, so one integer identifies every kind of frame:

- the untyped start-up packets of the frontend (StartupMessage, SSLRequest, GSSENCRequest,
  CancelRequest);
- the one-byte replies of the backend to SSLRequest and GSSENCRequest, and the unframed error text
  of protocol 2.0;
- OPAQUE, UNDECODED and RESUMED, which are not messages: bytes that cannot be read or were not read,
  and the place where reading resumed after a gap.

Two type bytes need more: `R` is a family whose members differ in their first Int32, and `p` answers
the latest `R`. Names are those of the PostgreSQL manual, chapter "Message Formats". This module
contains no layouts and imports no other module of pgtrace, because the recorder uses it too.
"""

from __future__ import annotations

import enum
from typing import Final


class Side(enum.IntEnum):
    """Who sent a byte: the driver's side (F) or the server's side (B)."""

    FRONTEND = 0
    BACKEND = 1

    @property
    def letter(self) -> str:
        return "FB"[self]


FRONTEND: Final = 0
BACKEND: Final = 1

# Frames without a type byte.
STARTUP_MESSAGE: Final = 256
SSL_REQUEST: Final = 257
GSSENC_REQUEST: Final = 258
CANCEL_REQUEST: Final = 259
SSL_REPLY: Final = 260
GSSENC_REPLY: Final = 261
VERSION_2_ERROR: Final = 262
# Not messages.
OPAQUE: Final = 263
"""Bytes that pgtrace cannot read: encrypted, or not PostgreSQL."""
UNDECODED: Final = 264
"""Bytes that passed after a gap, before the message boundaries were found again: counted, not
decoded."""
RESUMED: Final = 265
"""The message boundaries were found again. The body is the transaction status byte (`I`, `T`, `E`)
of the ReadyForQuery before this place."""

# The second Int32 of an untyped packet.
CANCEL_REQUEST_CODE: Final = 80877102
SSL_REQUEST_CODE: Final = 80877103
GSSENC_REQUEST_CODE: Final = 80877104

FRONTEND_NAMES: Final[dict[int, str]] = {
    STARTUP_MESSAGE: "StartupMessage",
    SSL_REQUEST: "SSLRequest",
    GSSENC_REQUEST: "GSSENCRequest",
    CANCEL_REQUEST: "CancelRequest",
    ord("B"): "Bind",
    ord("C"): "Close",
    ord("d"): "CopyData",
    ord("c"): "CopyDone",
    ord("f"): "CopyFail",
    ord("D"): "Describe",
    ord("E"): "Execute",
    ord("H"): "Flush",
    ord("F"): "FunctionCall",
    ord("P"): "Parse",
    ord("p"): "PasswordMessage",
    ord("Q"): "Query",
    ord("S"): "Sync",
    ord("X"): "Terminate",
}

BACKEND_NAMES: Final[dict[int, str]] = {
    SSL_REPLY: "SSLRequestReply",
    GSSENC_REPLY: "GSSENCRequestReply",
    VERSION_2_ERROR: "ErrorResponse",
    ord("R"): "Authentication",
    ord("K"): "BackendKeyData",
    ord("2"): "BindComplete",
    ord("3"): "CloseComplete",
    ord("C"): "CommandComplete",
    ord("d"): "CopyData",
    ord("c"): "CopyDone",
    ord("G"): "CopyInResponse",
    ord("H"): "CopyOutResponse",
    ord("W"): "CopyBothResponse",
    ord("D"): "DataRow",
    ord("I"): "EmptyQueryResponse",
    ord("E"): "ErrorResponse",
    ord("V"): "FunctionCallResponse",
    ord("v"): "NegotiateProtocolVersion",
    ord("n"): "NoData",
    ord("N"): "NoticeResponse",
    ord("A"): "NotificationResponse",
    ord("t"): "ParameterDescription",
    ord("S"): "ParameterStatus",
    ord("1"): "ParseComplete",
    ord("s"): "PortalSuspended",
    ord("Z"): "ReadyForQuery",
    ord("T"): "RowDescription",
}

NAMES: Final = (FRONTEND_NAMES, BACKEND_NAMES)

# Authentication requests: the Int32 at the start of the body of `R`.
AUTH_OK: Final = 0
AUTH_CLEARTEXT: Final = 3
AUTH_MD5: Final = 5
AUTH_GSS: Final = 7
AUTH_GSS_CONTINUE: Final = 8
AUTH_SSPI: Final = 9
AUTH_SASL: Final = 10
AUTH_SASL_CONTINUE: Final = 11
AUTH_SASL_FINAL: Final = 12

AUTHENTICATION_NAMES: Final[dict[int, str]] = {
    AUTH_OK: "AuthenticationOk",
    2: "AuthenticationKerberosV5",
    AUTH_CLEARTEXT: "AuthenticationCleartextPassword",
    AUTH_MD5: "AuthenticationMD5Password",
    6: "AuthenticationSCMCredential",
    AUTH_GSS: "AuthenticationGSS",
    AUTH_GSS_CONTINUE: "AuthenticationGSSContinue",
    AUTH_SSPI: "AuthenticationSSPI",
    AUTH_SASL: "AuthenticationSASL",
    AUTH_SASL_CONTINUE: "AuthenticationSASLContinue",
    AUTH_SASL_FINAL: "AuthenticationSASLFinal",
}

RESPONSE_NAMES: Final[dict[int, str]] = {
    AUTH_CLEARTEXT: "PasswordMessage",
    AUTH_MD5: "PasswordMessage",
    AUTH_GSS: "GSSResponse",
    AUTH_GSS_CONTINUE: "GSSResponse",
    AUTH_SSPI: "GSSResponse",
    AUTH_SASL: "SASLInitialResponse",
    AUTH_SASL_CONTINUE: "SASLResponse",
}
"""The name of a frontend `p`, by the authentication request that it answers."""


def authentication_subtype(body: bytes) -> int:
    """The Int32 that identifies an Authentication message, or -1 if the body is too short for
    it."""
    return int.from_bytes(body[:4], "big", signed=True) if len(body) >= 4 else -1


def message_name(side: int, code: int, authentication: int = -1) -> str:
    """The manual's name of a frame.

    `authentication` is the subtype of the frame itself for `R`, and of the latest `R` before it for
    `p`. For an unknown type byte the name is `Unknown`.
    """
    if code == 0x52 and side == BACKEND:
        return AUTHENTICATION_NAMES.get(authentication, "Unknown")
    if code == 0x70 and side == FRONTEND:
        return RESPONSE_NAMES.get(authentication, "PasswordMessage")
    return NAMES[side].get(code, "Unknown")
