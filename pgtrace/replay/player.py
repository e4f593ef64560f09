"""One connection of a replay without I/O: what to send next, and what that waits for.

The server may answer otherwise than it did when it was recorded, so what is waited for is not the
recorded answer but the end of any: ReadyForQuery; for a Flush as many replies as there are
messages, or an error; for a COPY the turn to send data, or an error. After an error in an extended
query nothing is answered before the next Sync. Data of a COPY that was refused is left out, and a
COPY that nobody has data for is failed.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from typing import Final

from pgtrace.replay.plan import Plan, Unit

_HEADER: Final = struct.Struct(">BI").unpack_from
_ENDS: Final = frozenset(b"123TnCIs")
_READY, _ERROR, _COPY_IN, _COPY_BOTH = b"ZEGW"
_ROWS: Final = frozenset(b"Dd")
_COPY_FAIL: Final = b"f" + struct.pack(">I", 4 + 22) + b"pgtrace: not recorded\0"


class _Sent:
    """What a unit that was sent still waits for."""

    __slots__ = ("ends", "flushes", "readies", "takes_turn")

    def __init__(self, unit: Unit, *, skipped: bool) -> None:
        """A skipped one comes after an error: nothing is answered but its Sync."""
        self.readies = unit.readies
        self.ends = 0 if skipped else unit.ends
        self.takes_turn = unit.takes_turn
        self.flushes = unit.flushes

    @property
    def is_answered(self) -> bool:
        return not (self.readies or self.ends or self.takes_turn)


class Player:
    """Feeds one connection."""

    __slots__ = ("_answered", "_rest", "_sent", "_skip", "_skipping", "_skips_copy", "_units", "_waiting", "cancels", "next")

    def __init__(self, plan: Plan) -> None:
        self._units: Iterator[tuple[Unit, bytes]] = iter(plan)
        self.next: tuple[Unit, bytes] | None = next(self._units, None)
        """What comes next."""
        self.cancels: list[Unit] = []
        """Units that were sent and are to be cancelled; the caller takes them."""
        self._waiting: deque[_Sent] = deque()
        self._answered = 0
        self._sent = 0
        self._rest = b""
        self._skip = 0
        self._skipping = self._skips_copy = False

    @property
    def sent(self) -> int:
        """Units sent so far."""
        return self._sent

    @property
    def done(self) -> bool:
        """Whether everything was sent and answered."""
        return self.next is None and not self._waiting

    def ready_units(self, until_ns: int) -> bytes:
        """What may be sent now, of what was recorded up to that time."""
        parts: list[bytes] = []
        while self.next is not None:
            unit, data = self.next
            if unit.after > self._answered or unit.sent_ns > until_ns:
                break
            self.next = next(self._units, None)
            self._sent += 1
            if unit.copies and self._skips_copy:
                self._answered += 1
                continue
            self._skips_copy = False
            parts.append(data)
            self._waiting.append(_Sent(unit, skipped=self._skipping))
            if unit.cancel_ns:
                self.cancels.append(unit)
            self._settle()
        return b"".join(parts) if len(parts) != 1 else parts[0]

    def feed(self, data: bytes) -> bytes:
        """Take what the server sent; returns what has to be sent at once."""
        if self._skip:
            taken = min(self._skip, len(data))
            self._skip -= taken
            data = data[taken:]
        if self._rest:
            data = self._rest + data
        at, size, reply = 0, len(data), b""
        while size - at >= 5:
            code, length = _HEADER(data, at)
            end = at + 1 + max(length, 4)
            if end > size:
                if code in _ROWS:
                    self._skip = end - size
                    at = size
                break
            at = end
            if code == _READY:
                self._is_ready()
            elif code in _ENDS:
                self._has_ended()
            elif code == _ERROR:
                self._has_failed()
            elif code in (_COPY_IN, _COPY_BOTH):
                reply += self._has_turn()
        self._rest = data[at:]
        return reply

    def _is_ready(self) -> None:
        self._skipping = False
        waiting = self._waiting
        while waiting and not waiting[0].readies and not waiting[0].takes_turn:
            waiting.popleft()  # flushed messages that were discarded
            self._answered += 1
        if not waiting:
            return
        head = waiting[0]
        if head.takes_turn:
            head.takes_turn, self._skips_copy = False, True
            head.readies = max(head.readies, 1)
        head.readies -= 1
        if not head.readies:
            head.ends = 0
        self._settle()

    def _has_ended(self) -> None:
        if self._waiting and self._waiting[0].ends:
            self._waiting[0].ends -= 1
            self._settle()

    def _has_failed(self) -> None:
        if not self._waiting:
            return
        head = self._waiting[0]
        if head.flushes and head.takes_turn:
            head.takes_turn, self._skips_copy = False, True
        elif not head.ends:
            return
        self._skipping = True
        for sent in self._waiting:
            if sent.readies:
                break
            sent.ends = 0
        self._settle()

    def _has_turn(self) -> bytes:
        if self._waiting and self._waiting[0].takes_turn:
            self._waiting[0].takes_turn = False
            self._settle()
            return b""
        return _COPY_FAIL

    def _settle(self) -> None:
        """Units that wait for nothing more are answered."""
        waiting = self._waiting
        while waiting and waiting[0].is_answered:
            waiting.popleft()
            self._answered += 1
