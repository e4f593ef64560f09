"""Drivers that asked for TLS, got none and left: what is known of them, in words.

- One that sent SSLRequest, was answered `N` and left without a StartupMessage. Only later
  connections show whether it insists on TLS or comes back without it (reconnects.py): some drivers
  (pgx) make a new connection for that, at once.
- One that began with TLS at once, and whose server closed without a byte: the server has no TLS.
  The recorder notes such a beginning as a fact, because its bytes are not kept. In captures older
  than that fact the bytes may have been anything that is not PostgreSQL, and the words say so.

This does not apply if pgtrace closes or the server says something.
"""

from __future__ import annotations

from typing import Final

from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.session.connection import Session

SSL_REQUEST: Final = "SSLRequest"
TLS: Final = "TLS"
UNKNOWN: Final = "unknown"
SAID: Final = {
    SSL_REQUEST: "wanted TLS, was answered N and left",
    TLS: "began with TLS, which the server does not offer",
    UNKNOWN: "TLS, or not PostgreSQL; the server closed",
}
REMEDY: Final = "--tls auto, or sslmode=disable towards pgtrace"


def began_with(session: Session, ended_by: str, opening: str | None) -> str:
    """How the driver of a session that has just ended began, if it was refused TLS; else empty.

    `ended_by` is `driver`, `server` or `pgtrace`; `opening` is the recorder's fact about the first
    bytes.
    """
    if session.startup or session.cancel or ended_by not in ("driver", "server"):
        return ""
    if session.tls_refused and not session.unreadable and ended_by == "driver":
        return SSL_REQUEST
    if session.unreadable and session.bytes[FRONTEND] and not session.bytes[BACKEND]:
        return TLS if opening == "TLS" else UNKNOWN if opening is None else ""
    return ""


def in_words(how: str) -> str:
    """What happened to a driver that began in this way, with the remedy; empty if no TLS was
    refused."""
    return f"{SAID[how]}: {REMEDY}" if how else ""
