"""One connection of a replay, without I/O: decides what to send next, and when.

The server may answer differently than it did when it was recorded. So a unit waits not for the
recorded answer but for the end of any answer: ReadyForQuery; for a Flush, as many replies as there
are messages, or an error; for a COPY, the turn to send data, or an error. After an error in an
extended query nothing is answered before the next Sync. The data of a refused COPY is left out, and
a COPY without recorded data is ended with CopyFail.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from typing import Final

from pgtrace.replay.plan import COPIES, FLUSHES, TAKES_TURN, Fields, Plan

_HEADER: Final = struct.Struct(">BI").unpack_from
_ENDS: Final = frozenset(b"123TnCIs")
_READY, _ERROR = b"ZE"
_TURNS: Final = frozenset(b"GW")
_WAITED_FOR: Final = _ENDS | _TURNS | {_READY, _ERROR}
NEVER: Final = -1
"""A time before everything recorded."""
_COPY_FAIL: Final = b"f" + struct.pack(">I", 4 + 22) + b"pgtrace: not recorded\0"


class Player:
    """Feeds one connection."""

    __slots__ = (
        "_answered",
        "_awaits",
        "_ends",
        "_flushes",
        "_next",
        "_readies",
        "_rest",
        "_skip",
        "_skipping",
        "_skips_copy",
        "_takes_turn",
        "_units",
        "_waiting",
        "cancels",
        "sent",
    )

    def __init__(self, plan: Plan) -> None:
        self._units: Iterator[tuple[Fields, bytes]] = iter(plan)
        self._next: tuple[Fields, bytes] | None = next(self._units, None)
        self.cancels: list[int] = []
        """For units just sent, the times after which to cancel them; the caller removes them."""
        self.sent = 0
        """Units sent so far."""
        self._answered = 0
        # what the first unanswered unit still waits for
        self._awaits = False
        self._readies = self._ends = 0
        self._takes_turn = self._flushes = False
        self._waiting: deque[Fields] = deque()
        """The unanswered units after the first."""
        self._rest = b""
        self._skip = 0
        self._skipping = self._skips_copy = False

    @property
    def next_ns(self) -> int | None:
        """The recorded time of the next unit; None after the last."""
        return self._next[0][3] if self._next is not None else None

    @property
    def done(self) -> bool:
        """Whether everything was sent and answered."""
        return self._next is None and not self._awaits

    def feed(self, data: bytes, until_ns: int = NEVER) -> bytes:
        """Take data from the server. Returns the bytes to send now: necessary replies, and units
        that are free to go and were recorded up to `until_ns`.
        """
        if self._skip:
            taken = min(self._skip, len(data))
            self._skip -= taken
            data = data[taken:]
        if self._rest:
            data = self._rest + data
            self._rest = b""
        at, size, reply = 0, len(data), b""
        while size - at >= 5:
            code, length = _HEADER(data, at)
            end = at + 1 + (length if length > 4 else 4)
            if end > size:
                if code not in _WAITED_FOR:
                    self._skip = end - size
                    at = size
                break
            at = end
            if code == _READY:
                self._is_ready()
            elif code == _ERROR:
                self._has_failed()
            elif self._ends and code in _ENDS:
                self._ends -= 1
                self._settle()
            elif code in _TURNS:
                reply += self._has_turn()
        if at < size:
            self._rest = data[at:]
        return self._due(until_ns, reply)

    def _due(self, until_ns: int, reply: bytes) -> bytes:
        """The reply, followed by the units that are free to go."""
        while self._next is not None:
            fields, data = self._next
            _, _, after, sent_ns, readies, ends, flags, cancel_ns = fields
            if after > self._answered or sent_ns > until_ns:
                break
            self._next = next(self._units, None)
            self.sent += 1
            if self._skips_copy:
                if flags & COPIES:
                    self._answered += 1
                    continue
                self._skips_copy = False
            reply = reply + data if reply else data
            if cancel_ns:
                self.cancels.append(cancel_ns)
            if self._awaits:
                self._waiting.append(fields)
            else:
                self._await(readies, ends, flags)
                if not readies:
                    self._settle()
        return reply

    def _is_ready(self) -> None:
        self._skipping = False
        while self._awaits and not self._readies and not self._takes_turn:
            self._ends = 0  # flushed messages were discarded
            self._settle()
        if not self._awaits:
            return
        if self._takes_turn:
            self._takes_turn, self._skips_copy = False, True
            self._readies = max(self._readies, 1)
        self._readies -= 1
        if not self._readies:
            self._ends = 0
            self._settle()

    def _has_failed(self) -> None:
        if self._flushes and self._takes_turn:
            self._takes_turn, self._skips_copy = False, True
        elif not self._ends:
            return
        self._skipping = True
        if not self._readies:
            self._ends = 0
        self._settle()

    def _has_turn(self) -> bytes:
        if self._takes_turn:
            self._takes_turn = False
            self._settle()
            return b""
        return _COPY_FAIL

    def _await(self, readies: int, ends: int, flags: int) -> None:
        """Note what the next unit waits for. After an error only a Sync is answered."""
        self._awaits = True
        self._readies = readies
        self._ends = 0 if self._skipping else ends
        self._takes_turn = bool(flags & TAKES_TURN)
        self._flushes = bool(flags & FLUSHES)

    def _settle(self) -> None:
        """Drop the first unit if it waits for nothing more; then the next one becomes the first."""
        while not (self._readies or self._ends or self._takes_turn):
            self._answered += 1
            if not self._waiting:
                self._awaits = self._flushes = False
                break
            self._await(*self._waiting.popleft()[4:7])
