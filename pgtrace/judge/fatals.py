"""FATAL errors with which a server or a pooler ends a session on its own, and what each means.

PostgreSQL's errors have their own SQLSTATEs. PgBouncer's all have 08P01 and an untranslated text
(`disconnect_client` in objects.c), and lack the fields that PostgreSQL always sends.
"""

from __future__ import annotations

from typing import Final

from pgtrace.trace.row import Label

FATAL: Final = ("FATAL", "PANIC")
BY_SERVER: Final = {
    "25P03": "idle_in_transaction_session_timeout",
    "25P04": "transaction_timeout",
    "57P05": "idle_session_timeout",
    "57P01": "an administrator's command, or a shutdown",
    "57P02": "the crash of another server process",
    "57P04": "its database was dropped",
}
"""SQLSTATE -> why the server ended the session."""
IDLE_CLIENT, IDLE_TRANSACTION = "client_idle_timeout", "idle transaction timeout"
WAITED, RAN, IN_TRANSACTION = "query_wait_timeout", "query timeout", "transaction timeout"
BY_POOLER: Final = {
    IDLE_CLIENT: "client_idle_timeout",
    IDLE_TRANSACTION: "idle_transaction_timeout",
    WAITED: "query_wait_timeout, no server connection was free",
    RAN: "query_timeout",
    IN_TRANSACTION: "transaction_timeout",
}
"""Text of PgBouncer's message -> the setting that it names."""
WAITED_IN_BLOCK: Final = frozenset({"25P03", "25P04", IDLE_TRANSACTION, IN_TRANSACTION})
"""The causes that mean a transaction lasted too long."""
_OWN: Final = "pgtrace:"
_LONGEST: Final = 80


def cause(label: Label) -> str:
    """Why the session was ended: a SQLSTATE of BY_SERVER, or the text of a pooler's message. Empty
    if the label has another error, or none.
    """
    for failure in label.failures:
        if failure.severity not in FATAL:
            continue
        if failure.sqlstate in BY_SERVER:
            return failure.sqlstate
        if not failure.is_postgres and not label.message.startswith(_OWN):
            return label.message[:_LONGEST] or failure.sqlstate
    return ""
