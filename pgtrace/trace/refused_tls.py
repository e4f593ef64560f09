"""Drivers that asked for TLS and left without it: what is known of them, in words.

- A driver that sent SSLRequest, was answered `N` and left without a StartupMessage. Only later
  connections show whether it insists on TLS or comes back without it (reconnects.py): some drivers
  (pgx) immediately make a new connection for that.
- A driver that began with TLS immediately, and whose server closed without a byte: the server has
  no TLS. The recorder notes such a beginning as a fact, because its bytes are not kept. In captures
  older than that fact the bytes may have been anything that is not PostgreSQL, and the words say
  so.
- A driver that was answered `S`, and whose handshake failed: usually it does not trust the
  certificate that pgtrace made. The recorder notes the reason as a fact.

None of this applies if pgtrace closes the connection or the server sends something.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pgtrace.capture.record import OPENING
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.session.connection import Session

SSL_REQUEST: Final = "SSLRequest"
TLS: Final = "TLS"
UNKNOWN: Final = "unknown"
HANDSHAKE: Final = "handshake"
FAILED: Final = "tls.frontend.error"
"""The key of the fact that says why a handshake failed."""
SAID: Final = {
    SSL_REQUEST: "wanted TLS, was answered N and left",
    TLS: "began with TLS, which the server does not offer",
    UNKNOWN: "TLS, or not PostgreSQL; the server closed",
    HANDSHAKE: "asked for TLS, did not complete the handshake with pgtrace, and left",
}
REMEDY: Final = "--tls auto, or sslmode=disable towards pgtrace"
TRUST: Final = (
    "sslrootcert with pgtrace's CA (listen prints it, run sets PGSSLROOTCERT); --tls-cert and --tls-key with a certificate that the "
    "driver trusts; or sslmode=require towards pgtrace"
)


def began_with(session: Session, ended_by: str, facts: Mapping[str, str]) -> str:
    """How the driver of a session that has just ended began, if it was refused TLS; otherwise
    empty.

    `ended_by` is `driver`, `server` or `pgtrace`; `facts` are the recorder's.
    """
    opening = facts.get(OPENING)
    if session.startup or session.cancel or ended_by not in ("driver", "server"):
        return ""
    if FAILED in facts:
        return HANDSHAKE if ended_by == "driver" else ""
    if session.tls_refused and not session.unreadable and ended_by == "driver":
        return SSL_REQUEST
    if session.unreadable and session.bytes[FRONTEND] and not session.bytes[BACKEND]:
        return TLS if opening == "TLS" else UNKNOWN if opening is None else ""
    return ""


def in_words(how: str) -> str:
    """What happened to a driver that began in this way, with the remedy; empty if no TLS was
    refused."""
    return f"{SAID[how]}: {TRUST if how == HANDSHAKE else REMEDY}" if how else ""
