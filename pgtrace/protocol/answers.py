"""Which message answers which: the one table for everyone who follows a conversation.

The backend answers in the order of the requests. Each message below is answered by one of the
messages beside it, preceded by any rows, notices and copy data. An ErrorResponse may take the place
of any of them; after one that refuses a start-up packet or a password, nothing else comes. What the
backend sends unprompted (ASYNCHRONOUS) answers nothing.

To follow a conversation you keep a queue of requests. session/ has all of the rules (errors that
make the backend discard, COPY that swallows Sync and Flush, copy data sent ahead). proxy/replies.py
has as many as a fault rule needs.

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
"""Frontend message -> what ends the reply to it. A ParameterDescription before `T` or `n` belongs
to the Describe of a statement."""
ERROR: Final = ord("E")
ASYNCHRONOUS: Final = frozenset(b"NAS")
"""NoticeResponse, NotificationResponse, ParameterStatus: they may come at any moment."""
EXTENDED: Final = frozenset(b"PBCDE")
"""If one of these fails, the backend discards everything before the next Sync."""
DISCARDED: Final = EXTENDED | frozenset(b"QFH")
"""What the backend discards then."""
RUNS: Final = frozenset(b"EQF")
"""The messages that run something."""
COPY_ENDS: Final = frozenset(b"cf")
"""CopyDone and CopyFail. The backend waits for one of them after CopyInResponse or
CopyBothResponse, and swallows Sync and Flush until then."""
COPY_IN: Final = frozenset(b"GW")
"""After these it is the frontend's turn."""
