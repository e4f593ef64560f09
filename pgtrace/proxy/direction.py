"""One direction of a session, as it goes onto the tape: where its stream stands, and whether secrets may still pass.

- An offset moves on by every byte that passed, those included for which the tape had no room: so a reader knows what it missed.
- Until the start-up is over both directions go through one Redactor (capture/redact.py), here and at once: no secret ever waits on the tape, and none is let
  through because a piece before it was lost. What cannot be framed becomes Opaque, and so does the whole rest where the Redactor itself fails: blanking
  fails closed, and traffic goes on.
- From there on `startup` is None, and a read is packed where it was read (relay.py, the hot path).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic_ns

from pgtrace.capture.record import DATA, DATA_FIXED, DATA_HEAD, Data, Made, Opaque, Rewrite
from pgtrace.capture.redact import Redactor
from pgtrace.proxy.tape import ITEM_BYTES, Tape


class StartupRedaction:
    """What both directions of a session share until its start-up is over."""

    __slots__ = ("_directions", "_failed", "_redactor", "_report")

    def __init__(self, directions: Sequence[Direction], key: bytes, report: Callable[[Exception], None]) -> None:
        """`report` is told of a defect."""
        self._redactor = Redactor(key)
        self._directions = directions
        self._report = report
        self._failed = False
        for direction in directions:
            direction.redaction = self

    def blanked(self, side: int, data: bytes) -> bytes | None:
        """What may be stored of the next bytes of `side`; None where they must not be."""
        if self._failed:
            return None
        try:
            found = self._redactor.feed(side, data)
        except Exception as error:  # a defect of ours is not the traffic's
            self._failed = True
            self._report(error)
            return None
        if self._redactor.done:
            for direction in self._directions:
                direction.redaction = None
        return found

    def decrypted(self) -> None:
        """What follows an accepted SSLRequest is the plain stream."""
        self._redactor.decrypted()


class Direction:
    """One direction, and what is recorded of it."""

    __slots__ = ("number", "offset", "redaction", "side", "tape")

    side: int

    def __init__(self, number: int, tape: Tape) -> None:
        self.number = number
        self.tape = tape
        self.offset = 0
        self.redaction: StartupRedaction | None = None

    def record(self, data: bytes) -> None:
        """Put a read on the tape, with the time of now."""
        self.put(monotonic_ns(), data)

    def put(self, time_ns: int, data: bytes) -> None:
        """Put a read on the tape, whatever the state of the session and of the tape."""
        size = len(data)
        offset = self._advance(size)
        tape = self.tape
        redaction = self.redaction
        blanked = redaction.blanked(self.side, data) if redaction is not None else data
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
        """There is no room for a read that has come: whether it may overdraw it, for no other one comes before there is."""
        return False

    def made(self, data: bytes) -> None:
        """Bytes of our own, in the backend's direction. There is nothing to blank in them, but whoever blanks the rest must see them."""
        offset = self._own(data)
        self.tape.add(Made(monotonic_ns(), self.number, offset, data))

    def rewritten(self, original: bytes, data: bytes) -> None:
        """A read of which `data` was sent on."""
        offset = self._own(data)
        self.tape.add(Rewrite(monotonic_ns(), self.number, self.side, offset, original, data))

    def _own(self, data: bytes) -> int:
        if self.redaction is not None:
            self.redaction.blanked(self.side, data)
        return self._advance(len(data))

    def _advance(self, size: int) -> int:
        offset = self.offset
        self.offset = offset + size
        return offset
