"""What an open connection waits for: the message that is owed, the side that owes it, since when,
and whose buffers are full.

    waits.of(trace, connection)     # Wait("server", "ParseComplete", 412_000_000), or None
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from pgtrace.protocol.codes import BACKEND
from pgtrace.session import owed

if TYPE_CHECKING:
    from pgtrace.trace.connection import Connection
    from pgtrace.trace.trace import Trace

_REPLIES: Final = {
    owed.STARTUP: "AuthenticationRequest",
    owed.ENCRYPTION: "SSLResponse",
    owed.QUERY: "CommandComplete",
    owed.FUNCTION: "FunctionCallResponse",
    owed.SYNC: "ReadyForQuery",
    owed.PARSE: "ParseComplete",
    owed.BIND: "BindComplete",
    owed.DESCRIBE: "RowDescription",
    owed.EXECUTE: "CommandComplete",
    owed.CLOSE: "CloseComplete",
    owed.PAIRS: "BindComplete",
}
"""The message that answers each kind of request first, if nothing fails and it returns no rows."""


class Wait(NamedTuple):
    """One wait. Times are ns since the start of the trace."""

    who: str
    """The side that owes something: `server` or `driver`."""
    owes: str
    """The message that it owes."""
    since_ns: int
    full: tuple[tuple[str, int], ...] = ()
    """The sides that do not accept the bytes that wait for them, each with the time since when."""


def of(trace: Trace, connection: Connection) -> Wait | None:
    """What this connection waits for; None if it is closed or nothing is owed."""
    session = connection.session
    if connection.closed_ns is not None or session is None:
        return None
    due = session.due
    full = tuple(("driver" if side == BACKEND else "server", since) for side, since in trace.full_buffers(connection))
    if due is None:
        return None
    who, owes = ("driver", "CopyDone") if due.copying else ("server", _REPLIES.get(due.kind, "an answer"))
    return Wait(who, owes, due.sent_ns, full)
