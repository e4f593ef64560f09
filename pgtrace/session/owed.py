"""What the backend still owes: one item for each frontend message that will be answered, oldest
first.

The queue is the core of the state machine: a reply does not say what it answers; only the order of
replies does. An item of kind COPY_DATA or COPY_END was sent before it was known whether the backend
would be in copy mode when it reads the message; the reply before it decides.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pgtrace.session.statements import Statement

STARTUP = 0
"""A StartupMessage or an authentication response: answered by the next request that needs an
answer, or by ReadyForQuery."""
ENCRYPTION = 1
"""SSLRequest or GSSENCRequest."""
QUERY = 2
FUNCTION = 3
SYNC = 4
FLUSH = 5
PARSE = 6
BIND = 7
DESCRIBE = 8
EXECUTE = 9
CLOSE = 10
COPY_DATA = 11
COPY_END = 12
PAIRS = 13
"""The same Bind and Execute, `times` of each: a batch (machine.py)."""

NAMES = (
    "StartupMessage", "SSLRequest", "Query", "FunctionCall", "Sync", "Flush", "Parse", "Bind", "Describe", "Execute", "Close",
    "CopyData", "CopyDone",
)  # fmt: skip
"""The message names of the kinds."""
ANSWERED_BY_READY = frozenset({STARTUP, QUERY, FUNCTION, SYNC})
RUNS_SOMETHING = frozenset({QUERY, FUNCTION, EXECUTE})
MOST_BEFORE = 200
"""The most items that the note at the start of a round trip can have."""
_COPYING, _ANSWERED_BY_COPY = 0x80, 0x40
_KIND = 0x3F


class Owed:
    """One item of the queue. Only some kinds use the slots after the first three."""

    __slots__ = (
        "asked", "columns", "copy_flush_points", "copy_mode", "copying", "flush_point", "flushed_ns", "kind", "name", "parts", "portal",
        "result_formats", "rows", "sent_ns", "statement", "times",
    )  # fmt: skip

    def __init__(self, kind: int, sent_ns: int) -> None:
        self.kind = kind
        self.sent_ns = sent_ns
        self.asked: Any = None
        """The message it was made from, for the observer (watched.py)."""
        self.flush_point = False
        """Whether a flush point waits for it."""
        self.flushed_ns: int | None = None
        self.name = ""
        """The statement name of a Bind, or the name in a Describe or Close. For these two `portal`
        is `S` or `P`; for Bind and Execute it is the portal name."""
        self.statement: Statement | None = None
        self.portal = ""
        self.result_formats: tuple[int, ...] = ()
        self.parts: list[Statement] = []
        """The statements of a simple Query that are not answered yet."""
        self.copying = False
        """Whether CopyInResponse answered it and its COPY is not over."""
        self.copy_mode = 0
        """The type byte of its CopyInResponse, CopyOutResponse or CopyBothResponse; 0 before that,
        and after the statement is answered."""
        self.copy_flush_points = 0
        """The number of CopyDone and CopyFail messages of a simple COPY that wait for it."""
        self.rows = 0
        self.times = 1
        self.columns: tuple[int, int] | None = None
        """The numbers of text and binary columns of its rows, once known."""


def before(queue: Collection[Owed], copying: Owed | None, *, skipping: bool, copy_both: bool) -> bytes:
    """What was owed at a moment, as bytes: flags, then the kind of each item. Empty if nothing was
    owed, or too much."""
    if not (queue or skipping or copy_both) or len(queue) > MOST_BEFORE:
        return b""
    kinds = (item.kind | (_COPYING if item is copying else 0) | (_ANSWERED_BY_COPY if item.copying else 0) for item in queue)
    return bytes([skipping | copy_both << 1, *kinds])


def restored(note: bytes) -> tuple[list[Owed], Owed | None, bool, bool]:
    """The queue in a note of before(), the item whose copy data continues, whether the backend
    discards, and whether it is in copy-both mode."""
    queue: list[Owed] = []
    copying = None
    for byte in note[1:]:
        item = Owed(byte & _KIND, 0)
        item.copying = bool(byte & _ANSWERED_BY_COPY)
        queue.append(item)
        if byte & _COPYING:
            copying = item
    flags = note[0] if note else 0
    return queue, copying, bool(flags & 1), bool(flags & 2)
