"""One connection of a pcap: its bytes become records, one Data per packet, with the packet's time
and without secrets.

A connection is in one of these states:

- STARTING, if its beginning was seen. Everything goes through a Redactor until start-up is over, as
  in the recorder.
- JOINED, if its beginning was not seen, and after every loss: it may be in the middle of a
  start-up. All bytes are covered until a packet of the backend ends in a ReadyForQuery, because a
  start-up ends with its first one. That packet is covered too, except for the ReadyForQuery. After
  that the reader can resume as soon as a frontend packet is a chain of whole messages (framing.py
  explains this). A message in several packets would never be one, so the first message after a
  ReadyForQuery is joined into one record.
- PLAIN after that.
- OPAQUE for good, if bytes cannot be framed during start-up or are encrypted.

A connection that was joined in the middle begins with an empty Resume, so that no set-up is counted
and nothing is reported as lost. Times never decrease.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from pgtrace.capture.record import DECRYPTED, Close, Data, Ended, Fact, Gap, Opaque, Record, Resume
from pgtrace.capture.redact import BLANK, Redactor
from pgtrace.framing import Framer
from pgtrace.protocol import codes
from pgtrace.protocol.codes import BACKEND, FRONTEND

JOINED_BYTES: Final = 1024 * 1024
"""The longest first message that is joined into one record."""
_READY: Final = re.compile(rb"Z\x00\x00\x00\x05[ITE]\Z")
_READY_BYTES: Final = 6
_new: Callable[..., Data] = tuple.__new__


class Followed:
    """A connection that is being written to the capture."""

    __slots__ = ("_append", "_joined", "_number", "_opaque", "_redactor", "latest_ns")

    def __init__(self, number: int, append: Callable[[Record], None], key: bytes, time_ns: int, *, seen: bool) -> None:
        """`append` takes the records. `key` is the Redactor's. `seen`: whether the connection's
        beginning was seen."""
        self._number = number
        self._append = append
        self.latest_ns = time_ns
        """The time of its latest record."""
        # Whether bytes were lost after bytes that cannot be framed: neither side can be framed any
        # more.
        self._opaque = False
        self._redactor = Redactor(key) if seen else None
        self._joined = None if seen else _Joined()
        if not seen:
            append(Resume(time_ns, number, b"", (0, 0)))

    def take(self, side: int, time_ns: int, offset: int, data: bytes) -> None:
        """Take the next bytes of a side."""
        if time_ns < self.latest_ns:
            time_ns = self.latest_ns
        else:
            self.latest_ns = time_ns
        if self._redactor is not None:
            self._take_startup(self._redactor, side, time_ns, offset, data)
        elif self._joined is not None:
            self._take_joined(self._joined, side, time_ns, offset, data)
        else:
            self._append(_new(Data, (time_ns, self._number, side, offset, data)))

    def lose(self, side: int, time_ns: int, offset: int, size: int) -> None:
        """Bytes of a side are missing. If they would only have been counted, they still are."""
        self.latest_ns = max(self.latest_ns, time_ns)
        if self._opaque or (self._redactor is not None and self._redactor.is_lost(side)):
            self._append(Opaque(self.latest_ns, self._number, side, offset, size))
            return
        self._release()
        self._append(Gap(self.latest_ns, self._number, side, size, 0))
        if self._redactor is not None and self._redactor.lost:
            self._opaque = True
        else:
            self._redactor, self._joined = None, _Joined()

    def fact(self, key: str, value: str) -> None:
        """Add a fact about the connection. After DECRYPTED, the following bytes are the decrypted
        stream."""
        if key == DECRYPTED and self._redactor is not None:
            self._redactor.decrypted()
        self._append(Fact(self.latest_ns, self._number, key, value))

    def opaque(self, side: int, offset: int, size: int) -> None:
        """Count bytes that passed but are not kept."""
        self._release()
        self._append(Opaque(self.latest_ns, self._number, side, offset, size))

    def ended(self, side: int, time_ns: int, how: str) -> None:
        """A direction has ended. Bytes sent in that direction later did not arrive. The end is
        recorded once, and a reset after a FIN as well."""
        self._release()
        self.latest_ns = max(self.latest_ns, time_ns)
        self._append(Ended(self.latest_ns, self._number, side, how))

    def close(self, side: int, time_ns: int, how: str) -> None:
        """The connection is over."""
        self._release()
        self._append(Close(max(self.latest_ns, time_ns), self._number, side, how))

    def finish(self) -> None:
        """Nothing more will come."""
        self._release()

    def _take_startup(self, redactor: Redactor, side: int, time_ns: int, offset: int, data: bytes) -> None:
        covered = None if self._opaque else redactor.feed(side, data)
        if covered is None:
            self._append(Opaque(time_ns, self._number, side, offset, len(data)))
            return
        self._append(Data(time_ns, self._number, side, offset, covered))
        if redactor.done:
            self._redactor = None

    def _take_joined(self, joined: _Joined, side: int, time_ns: int, offset: int, data: bytes) -> None:
        for piece in joined.feed(side, time_ns, offset, data):
            self._append(Data(piece[0], self._number, *piece[1:]))
        if joined.over:
            self._joined = None

    def _release(self) -> None:
        if self._joined is not None:
            for piece in self._joined.release():
                self._append(Data(piece[0], self._number, *piece[1:]))


_Piece = tuple[int, int, int, bytes]
"""Time, side, offset, bytes."""


class _Joined:
    """A connection whose message boundaries are not known."""

    def __init__(self) -> None:
        self.over = False
        """Whether the boundaries are known now."""
        self._hidden = True  # start-up may still be in progress
        # The frontend's bytes after a ReadyForQuery that ended a packet.
        self._trial: Framer | None = None
        self._held: list[_Piece] = []  # those bytes
        self._held_bytes = 0

    def feed(self, side: int, time_ns: int, offset: int, data: bytes) -> list[_Piece]:
        """Take the next bytes of a side. Returns those that may be stored now."""
        if side == BACKEND:
            ready = _READY.match(data[-_READY_BYTES:]) is not None
            kept = _READY_BYTES if ready else 0
            shown = BLANK * (len(data) - kept) + data[len(data) - kept :] if self._hidden else data
            pieces = [*self.release(), (time_ns, side, offset, shown)]
            if ready:
                self._hidden = False
                self._trial = Framer.typed()
            return pieces
        if self._trial is None:
            return [(time_ns, side, offset, BLANK * len(data) if self._hidden else data)]
        self._held.append((time_ns, side, offset, data))
        self._held_bytes += len(data)
        known = all(code in codes.FRONTEND_NAMES for code, _, _ in self._trial.feed(FRONTEND, data))
        if not known or self._held_bytes > JOINED_BYTES:
            return self.release()
        if self._trial.unfinished(FRONTEND):
            return []
        self.over = True
        first_ns, _, first, _ = self._held[0]
        return [(first_ns, side, first, b"".join(piece[3] for piece in self._held))]

    def release(self) -> list[_Piece]:
        """The bytes held back for joining, unchanged: they could not be joined."""
        held, self._held, self._held_bytes, self._trial = self._held, [], 0, None
        return held
