"""Which of the driver's messages a server's message answers. This is what `reply to` in a fault
rule needs, and no more.

It is a queue of what the server still owes, by the table of protocol/answers.py. In an extended
query, an ErrorResponse is the reply to the message that is due, and nothing is owed for the
messages after that one, up to the next Sync. While the driver sends a COPY, the server swallows
Sync and Flush until CopyDone or CopyFail, also those that were sent ahead.

The recorder must not know a session's state (session/ has all of it, for readers). At worst, a
fault applies to the wrong message.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from pgtrace.faults import Rule
from pgtrace.protocol.answers import ASYNCHRONOUS, COPY_ENDS, COPY_IN, ENDS, ERROR, EXTENDED

_SYNC: Final = ord("S")


class Owed(NamedTuple):
    """A message that was sent, and the rules about the reply to it."""

    code: int
    rules: tuple[Rule, ...]


class Replies:
    """The queue of one connection."""

    __slots__ = ("_begun", "_copying", "_discarding", "_owed")

    def __init__(self) -> None:
        self._owed: deque[Owed] = deque()
        self._begun = False  # the reply to the first of them has begun
        self._discarding = False  # the server skips everything up to a Sync
        self._copying = False  # the server waits for CopyDone or CopyFail

    def sent(self, code: int, rules: tuple[Rule, ...] = ()) -> None:
        """The driver sent a message. `rules` are those about the reply to it."""
        if code in COPY_ENDS:
            self._owed.append(Owed(code, ()))
            self._copying = False
        elif code in ENDS and (not self._copying if code == _SYNC else not self._discarding):
            self._discarding = False
            self._owed.append(Owed(code, rules))

    def received(self, code: int) -> tuple[tuple[Rule, ...], tuple[Rule, ...]]:
        """The server sent a message. Returns the rules about the reply that begins with it, and
        those about the reply that ends with it."""
        while self._owed and self._owed[0].code in COPY_ENDS:
            self._owed.popleft()
        if not self._owed or code in ASYNCHRONOUS:
            return (), ()
        due = self._owed[0]
        begins = () if self._begun else due.rules
        self._begun = True
        if code in COPY_IN:
            self._swallow()
        failed = code == ERROR and due.code in EXTENDED
        if not failed and code not in ENDS[due.code]:
            return begins, ()
        self._owed.popleft()
        self._begun = False
        if failed:
            self._discard()
        return begins, due.rules

    def _swallow(self) -> None:
        """A COPY begins: messages sent ahead of its CopyDone get no reply."""
        due = self._owed.popleft()
        self._copying = True
        while self._owed and self._copying:
            self._copying = self._owed.popleft().code not in COPY_ENDS
        self._owed.appendleft(due)

    def _discard(self) -> None:
        """An extended query failed: nothing is answered before the next Sync."""
        self._copying = False
        while self._owed and self._owed[0].code != _SYNC:
            self._owed.popleft()
        self._discarding = not self._owed
