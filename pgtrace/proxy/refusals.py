"""What pgtrace answers a driver itself, in the words of the server and behind `pgtrace:`.

A server answers what it refuses in the format of the protocol that was asked for, at most its own newest: fields, or for a protocol before 3.0 one line of
text up to a zero byte. What it only refuses because it makes no sense (a length that cannot be) it closes without a word; so does the start-up phase.

The words are PostgreSQL 18's (backend_startup.c); fields F, L and R, the places in its source, are left out.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from pgtrace.protocol import codes

NEWEST: Final = (3, 2)
"""The newest protocol of the server whose words these are."""


class Refusal(NamedTuple):
    """A FATAL ErrorResponse."""

    sqlstate: str
    message: str
    detail: str = ""
    hint: str = ""

    def response(self, version: int) -> bytes:
        """The bytes for a driver that asked for this protocol version, 0x30000 for 3.0."""
        message = f"pgtrace: {self.message}"
        if version >> 16 < 3:
            return b"EFATAL:  " + _text(message) + b"\n\0"
        fields = {"S": "FATAL", "V": "FATAL", "C": self.sqlstate, "M": message, "D": self.detail, "H": self.hint}
        body = b"".join(code.encode() + _text(text) + b"\0" for code, text in fields.items() if text) + b"\0"
        return struct.pack(">cI", b"E", len(body) + 4) + body


def _text(text: str) -> bytes:
    return text.encode("utf-8", "replace").replace(b"\0", b"")


def second_request(code: int) -> Refusal:
    """A request for encryption that has been answered before: the server takes its code for a protocol version."""
    major, minor = NEWEST
    return Refusal("0A000", f"unsupported frontend protocol {code >> 16}.{code & 0xFFFF}: server supports 3.0 to {major}.{minor}")


def unencrypted_data(request: int) -> Refusal:
    """Bytes that came with a request for encryption and before its answer (CVE-2021-23214)."""
    what = "SSL request" if request == codes.SSL_REQUEST_CODE else "GSSAPI encryption request"
    return Refusal(
        "08P01",
        f"received unencrypted data after {what}",
        "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.",
    )


FULL: Final = Refusal(
    "53300", "too many connections", "The recorder has as many open files as it may.", "Raise the limit on open files (ulimit -n)."
)
NOT_YOURS: Final = Refusal(
    "28000", "this port is for connections of the user who started pgtrace", "The server would take you for that user."
)


def no_upstream(upstream: str, detail: str) -> Refusal:
    """Nobody to connect to. With 57P03 libpq goes on to its next host, and pg_isready says "rejecting connections"."""
    return Refusal("57P03", f"cannot reach the upstream {upstream}", detail)
