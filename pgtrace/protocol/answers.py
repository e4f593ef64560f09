"""Which message answers which: the one table that everybody reads who follows a conversation.

The backend answers in the order in which it was asked. Each message below is answered by one of the messages beside it, and by whatever rows, notices and
copy data come before that. An ErrorResponse may take the place of any of them; only behind one that refuses a start-up packet or a password nothing else
comes. What the backend sends of its own accord (ASYNCHRONOUS) answers nothing.

Who follows a conversation keeps a queue of what was asked. session/ has the whole of the rules (errors that make the backend discard, COPY that swallows
Sync and Flush, copy data sent ahead); proxy/replies.py needs as much of them as a fault rule does.

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
"""Message of the frontend -> what ends the reply to it. A ParameterDescription before `T` or `n` belongs to the Describe of a statement."""
ERROR: Final = ord("E")
ASYNCHRONOUS: Final = frozenset(b"NAS")
"""NoticeResponse, NotificationResponse, ParameterStatus: they may come at any moment."""
EXTENDED: Final = frozenset(b"PBCDE")
"""Where one of these fails, the backend discards what comes before the next Sync."""
DISCARDED: Final = EXTENDED | frozenset(b"QFH")
"""What the backend discards then."""
RUNS: Final = frozenset(b"EQF")
"""What runs something."""
COPY_ENDS: Final = frozenset(b"cf")
"""CopyDone and CopyFail. The backend waits for one of them after CopyInResponse or CopyBothResponse, and swallows Sync and Flush until then."""
COPY_IN: Final = frozenset(b"GW")
"""What hands the turn to the frontend."""
