"""Which message answers which: the one table for all code that follows a conversation.

The backend answers in the order of the requests. The reply to each message below ends with one of
the messages beside it; rows, notices and copy data may come before that. An ErrorResponse may
replace any of them. After one that refuses a start-up packet or a password, nothing else follows.
Messages that the backend sends unprompted (ASYNCHRONOUS) answer nothing.

To follow a conversation you keep a queue of requests. session/ implements all of the rules: errors
that make the backend discard, COPY that swallows Sync and Flush, copy data sent ahead.
proxy/replies.py implements as many as a fault rule needs.

Source: PostgreSQL manual, "Message Flow".
"""

from __future__ import annotations

from typing import Final

from pgtrace.protocol.codes import STARTUP_MESSAGE

ENDS: Final[dict[int, frozenset[int]]] = {
    STARTUP_MESSAGE: frozenset(b"RE"),
    ord("p"): frozenset(b"RE"),
    ord("P"): frozenset(b"1"),
    ord("B"): frozenset(b"2"),
    ord("C"): frozenset(b"3"),
    ord("D"): frozenset(b"Tn"),
    ord("E"): frozenset(b"CIs"),
    ord("S"): frozenset(b"Z"),
    ord("Q"): frozenset(b"Z"),
    ord("F"): frozenset(b"Z"),
}
"""Frontend message -> the messages that can end its reply. A ParameterDescription before `T` or `n`
belongs to the Describe of a statement."""
ERROR: Final = ord("E")
ASYNCHRONOUS: Final = frozenset(b"NAS")
"""NoticeResponse, NotificationResponse and ParameterStatus: they may arrive at any moment."""
EXTENDED: Final = frozenset(b"PBCDE")
"""If one of these fails, the backend discards everything up to the next Sync."""
DISCARDED: Final = EXTENDED | frozenset(b"QFH")
"""The messages that the backend then discards."""
RUNS: Final = frozenset(b"EQF")
"""The messages that run something."""
COPY_ENDS: Final = frozenset(b"cf")
"""CopyDone and CopyFail. The backend waits for one of them after CopyInResponse or
CopyBothResponse, and swallows Sync and Flush until then."""
COPY_IN: Final = frozenset(b"GW")
"""After one of these it is the frontend's turn."""
