"""One direction of a session on its way to the tape: its offset, and whether it may still hold
secrets.

- The offset counts every byte that passed, including bytes that the tape had no room for. So a
  reader knows what is missing.
- Until the start-up is over, both directions immediately pass through one Redactor
  (capture/redact.py). No secret ever waits on the tape, and none slips through because a piece
  before it was lost. What cannot be framed becomes Opaque. So does everything else once the
  Redactor itself fails: blanking fails closed, and traffic continues.
- After that `redaction` is None, and each read is packed where it was read (relay.py, the hot
  path).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic_ns

from pgtrace.capture.record import DATA, DATA_FIXED, DATA_HEAD, Data, Made, Opaque, Rewrite
from pgtrace.capture.redact import Redactor
from pgtrace.proxy.tape import ITEM_BYTES, Tape


class StartupRedaction:
    """The redaction that both directions of a session share until the start-up is over."""

    __slots__ = ("_directions", "_failed", "_redactor", "_report")

    def __init__(self, directions: Sequence[Direction], key: bytes, report: Callable[[Exception], None]) -> None:
        """`report` gets the error if the Redactor fails."""
        self._redactor = Redactor(key)
        self._directions = directions
        self._report = report
        self._failed = False
        for direction in directions:
            direction.redaction = self

    def blank(self, side: int, data: bytes) -> bytes | None:
        """What may be stored of `data`, the next bytes of `side`; None if nothing may be."""
        if self._failed:
            return None
        try:
            found = self._redactor.feed(side, data)
        except Exception as error:  # a defect of pgtrace must not disturb the traffic
            self._failed = True
            self._report(error)
            return None
        if self._redactor.done:
            for direction in self._directions:
                direction.redaction = None
        return found

    def decrypted(self) -> None:
        """Note that after an accepted SSLRequest, everything that follows is the decrypted
        stream."""
        self._redactor.decrypted()


class Direction:
    """One direction of a session, and what is recorded of it."""

    __slots__ = ("number", "offset", "redaction", "side", "tape")

    side: int

    def __init__(self, number: int, tape: Tape) -> None:
        self.number = number
        self.tape = tape
        self.offset = 0
        self.redaction: StartupRedaction | None = None

    def record(self, data: bytes) -> None:
        """Record a read that has just happened."""
        self.put(monotonic_ns(), data)

    def put(self, time_ns: int, data: bytes) -> None:
        """Record a read, in any state of the session and the tape."""
        size = len(data)
        offset = self._advance(size)
        tape = self.tape
        redaction = self.redaction
        blanked = redaction.blank(self.side, data) if redaction is not None else data
        if blanked is None:
            tape.add(Opaque(time_ns, self.number, self.side, offset, size))
        elif redaction is not None:
            tape.add(Data(time_ns, self.number, self.side, offset, blanked))
        elif tape.has_room() or self.wait_for_room():
            tape.room -= size + ITEM_BYTES
            tape.append(DATA_HEAD.pack(size + DATA_FIXED, DATA, time_ns, self.number, self.side, offset))
            tape.append(data)
        else:
            tape.lose(self.number, self.side, size)

    def wait_for_room(self) -> bool:
        """The tape has no room for a read. Returns whether the read may overdraw the room, because
        no other read will come before there is room."""
        return False

    def record_made(self, data: bytes) -> None:
        """Record bytes that pgtrace itself sent to the driver. There is nothing to blank in them,
        but the Redactor must see them."""
        offset = self._own(data)
        self.tape.add(Made(monotonic_ns(), self.number, offset, data))

    def record_rewritten(self, original: bytes, data: bytes) -> None:
        """Record a read that was replaced: `data` was sent on instead."""
        offset = self._own(data)
        self.tape.add(Rewrite(monotonic_ns(), self.number, self.side, offset, original, data))

    def _own(self, data: bytes) -> int:
        if self.redaction is not None:
            self.redaction.blank(self.side, data)
        return self._advance(len(data))

    def _advance(self, size: int) -> int:
        offset = self.offset
        self.offset = offset + size
        return offset
