"""The errors that pgtrace itself sends to a driver, in the server's words after `pgtrace:`.

A server refuses in the format of the protocol that was asked for, up to its own newest: fields, or
for a protocol before 3.0 one line of text up to a zero byte. If a packet makes no sense (an
impossible length), the server closes without a message. The start-up does the same.

The words are PostgreSQL 18's (backend_startup.c), without the fields F, L and R, which name a place
in its source.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from pgtrace.protocol import codes

NEWEST: Final = (3, 2)
"""The newest protocol of that server."""


class Refusal(NamedTuple):
    """A FATAL ErrorResponse."""

    sqlstate: str
    message: str
    detail: str = ""
    hint: str = ""

    def response(self, version: int) -> bytes:
        """The bytes for a driver that asked for this protocol version (0x30000 for 3.0)."""
        message = f"pgtrace: {self.message}"
        if version >> 16 < 3:
            return b"EFATAL:  " + _text(message) + b"\n\0"
        fields = {"S": "FATAL", "V": "FATAL", "C": self.sqlstate, "M": message, "D": self.detail, "H": self.hint}
        body = b"".join(code.encode() + _text(text) + b"\0" for code, text in fields.items() if text) + b"\0"
        return struct.pack(">cI", b"E", len(body) + 4) + body


def _text(text: str) -> bytes:
    return text.encode("utf-8", "replace").replace(b"\0", b"")


def second_request(code: int) -> Refusal:
    """A second request for the same encryption: the server takes its code for a protocol
    version."""
    major, minor = NEWEST
    return Refusal("0A000", f"unsupported frontend protocol {code >> 16}.{code & 0xFFFF}: server supports 3.0 to {major}.{minor}")


def unencrypted_data(request: int) -> Refusal:
    """Bytes that came with a request for encryption, before its answer (CVE-2021-23214)."""
    what = "SSL request" if request == codes.SSL_REQUEST_CODE else "GSSAPI encryption request"
    return Refusal(
        "08P01",
        f"received unencrypted data after {what}",
        "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.",
    )


FULL: Final = Refusal(
    "53300", "too many connections", "The recorder has reached its limit on open files.", "Raise the limit on open files (ulimit -n)."
)
NOT_YOURS: Final = Refusal("28000", "this port serves only the user who started pgtrace", "The server would take you for that user.")


def no_upstream(upstream: str, detail: str) -> Refusal:
    """There is no upstream. With 57P03 libpq tries its next host, and pg_isready says "rejecting
    connections"."""
    return Refusal("57P03", f"cannot reach the upstream {upstream}", detail)
