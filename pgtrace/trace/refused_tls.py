"""Drivers that asked for TLS, got none and left: what is known of them, in words.

- One that sent SSLRequest, was answered `N` and left without a StartupMessage. Whether it insists on TLS, or comes back without, shows only in what follows:
  some drivers (pgx) make a new connection for that, at once.
- One that began with TLS at once, and whose server closed without a byte: it has no TLS. The recorder notes such a beginning as a fact, since its bytes are not
  kept. In captures older than that fact they may have been anything that is not PostgreSQL; that is said.

pgtrace that closes, or a server that says something, is another matter.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from pgtrace.capture.record import OPENING
from pgtrace.protocol.codes import BACKEND, FRONTEND

if TYPE_CHECKING:
    from pgtrace.session.connection import Session
    from pgtrace.trace.connection import Connection
    from pgtrace.trace.trace import Trace

SSL_REQUEST: Final = "SSLRequest"
TLS: Final = "TLS"
UNKNOWN: Final = "unknown"
SAID: Final = {
    SSL_REQUEST: "wanted TLS, was answered N and left",
    TLS: "began with TLS, which the server does not do",
    UNKNOWN: "TLS, or not PostgreSQL; the server closed",
}
REMEDY: Final = "--tls auto, or sslmode=disable towards pgtrace"
COMES_BACK_NS: Final = 1_000_000_000
LOOKED_AT: Final = 8
"""Connections after it that are looked at."""


def began_with(connection: Connection, session: Session) -> str:
    """Of a connection that has just ended: what its driver began with, if that was TLS, refused; empty where it was not."""
    by = connection.ends[0].by if connection.ends else connection.closed_by
    is_whole = not (connection.joined or connection.was_put_aside)
    if not is_whole or session.startup or session.cancel or by not in ("driver", "server"):
        return ""
    if session.tls_refused and not session.unreadable and by == "driver":
        return SSL_REQUEST
    if session.unreadable and session.bytes[FRONTEND] and not session.bytes[BACKEND]:
        opening = connection.facts.get(OPENING)
        return TLS if opening == "TLS" else UNKNOWN if opening is None else ""
    return ""


def told(connection: Connection) -> str:
    """What became of its driver, with the remedy; empty where nobody wanted TLS in vain."""
    return f"{SAID[connection.tls_refused]}: {REMEDY}" if connection.tls_refused else ""


def came_back(trace: Trace, connection: Connection) -> bool:
    """Whether the same program, or at least one on the same host, connected without TLS right after."""
    until_ns = connection.last_ns + COMES_BACK_NS
    for other in trace.connections[connection.index + 1 : connection.index + 1 + LOOKED_AT]:
        if other.opened_ns > until_ns:
            return False
        if other.file == connection.file and other.startup_parameters and _who(other) == _who(connection):
            return True
    return False


def _who(connection: Connection) -> tuple[str, str]:
    from pgtrace.capture import peer

    return connection.client.rpartition(":")[0], connection.facts.get(peer.KEY, "")


def lines(trace: Trace) -> list[str]:
    """A line with the remedy for each way in which drivers asked for TLS, got none, left and did not come back."""
    counted = Counter(one.tls_refused for one in trace.connections if one.tls_refused and not came_back(trace, one))
    return [f"{number} {'connection' if number == 1 else 'connections'} {SAID[how]}: {REMEDY}" for how, number in sorted(counted.items())]
