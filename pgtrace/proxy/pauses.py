"""Which sockets are not read, and why.

There are two reasons, and a socket is read when neither applies:

- PEER: its peer's socket accepts nothing, so nothing could be forwarded. See Reader.is_blocked.
- DISK: the capture has no room and traffic waits for it (--when-behind wait). Then all sockets
  pause together, because each would otherwise overdraw the room by one more read.

The disk never delays a start-up or a cancel: a socket whose start-up is not over is read, and its
records have a reserve. It does not delay ends either. Once one side of a session has ended, the
other is still read; bytes beyond the reserve are a counted gap. Otherwise the backend of a killed
driver would live until the disk has caught up. A socket that is not read does not report its end,
so Pauses asks the kernel for ends at every tick.

Every pause is recorded. A DISK pause is recorded when it begins and when it ends. A PEER pause is
recorded only once it has lasted NOTED_NS, so a socket has at most ten of them per second; the
record carries the time at which the pause began.
"""

from __future__ import annotations

import asyncio
import select
from abc import abstractmethod
from time import monotonic_ns
from typing import Any, Final

from pgtrace.capture.record import PEER, Pause
from pgtrace.protocol.codes import FRONTEND
from pgtrace.proxy import kernel
from pgtrace.proxy.direction import Direction
from pgtrace.proxy.tape import Tape

NOTED_NS: Final = 100_000_000
"""How long a peer accepts nothing before that is recorded."""
_ENDS: Final = (
    getattr(select, "EPOLLRDHUP", 0) | getattr(select, "EPOLLHUP", 0) | getattr(select, "EPOLLERR", 0) | getattr(select, "EPOLLONESHOT", 0)
)


class Line(asyncio.Protocol):
    """Replaces the protocol of a socket and passes everything on later (delay.py)."""

    __slots__ = ()

    @abstractmethod
    def set_protocol(self, protocol: asyncio.Protocol) -> None:
        """Pass on to this protocol from now on."""

    @abstractmethod
    def pause_or_resume(self) -> None:
        """Read or pause the socket; pass on or hold back what waits."""

    @abstractmethod
    def forward(self, data: bytes) -> None:
        """Send bytes to the peer when their turn comes. They are already recorded."""

    @abstractmethod
    def logged_in(self) -> None:
        """Login is over: more bytes may wait here."""

    @abstractmethod
    def stop(self) -> None:
        """A fault ends the connection: pass on what came before it, then nothing but the end."""


class Reader(Direction):
    """One socket of a session: whether it is read."""

    __slots__ = ("delayed", "eof", "is_blocked", "is_over", "is_released", "lost", "pauses", "peer", "transport")

    def __init__(self, number: int, pauses: Pauses) -> None:
        super().__init__(number, pauses.tape)
        self.pauses = pauses
        self.peer: Reader
        self.transport: asyncio.Transport | None = None
        self.delayed: Line | None = None
        """Reads this socket for us if its bytes are delayed."""
        self.eof = False  # this socket will send nothing more
        self.is_over = False  # this socket is not read any more: it is about to be closed
        self.lost = False  # this socket is closed
        self.is_blocked = False  # the peer's socket accepts nothing
        self.is_released = False  # this socket does not wait for the disk any more

    @property
    def can_be_read(self) -> bool:
        """Whether more bytes may come."""
        return self.transport is not None and not (self.lost or self.eof or self.is_over)

    @property
    def is_held(self) -> bool:
        """Whether this socket is not read because traffic waits for the disk."""
        return self.tape.holding and self.redaction is None and not self.is_released

    def pause_or_resume(self) -> None:
        """Read this socket, or pause it."""
        if self.delayed is not None:
            self.delayed.pause_or_resume()
        elif self.transport is not None and self.can_be_read:
            if self.is_blocked or self.is_held:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def block(self) -> None:
        """The peer cannot be written to: stop reading."""
        self.is_blocked = True
        self.pauses.block(self)
        self.pause_or_resume()

    def unblock(self) -> None:
        """The peer can be written to again."""
        self.is_blocked = False
        self.pauses.unblock(self)
        self.pause_or_resume()

    def wait_for_room(self) -> bool:
        """The tape has no room for a read. If traffic waits for the disk, let the read overdraw the
        room, and hold back the next ones."""
        if not self.tape.hold():
            return False
        if self.is_held:
            self.pauses.watch(self)
            self.pause_or_resume()
        return True

    def release(self) -> None:
        """This socket has ended. Its peer does not wait for the disk any more; nor does a driver's
        own end, which comes after its bytes."""
        for one in (self, self.peer) if self.side == FRONTEND else (self.peer,):
            if not one.is_released:
                one.is_released = True
                if self.tape.holding:
                    one.pause_or_resume()


class Pauses:
    """The sockets of all sessions, and which of them are not read."""

    __slots__ = ("_blocked", "_ends", "_noted", "_readers", "_watched", "tape")

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        tape.on_holding = self._hold_or_release
        self._readers: dict[Reader, None] = {}
        self._blocked: dict[Reader, int] = {}  # the socket, and since when
        self._noted: set[Reader] = set()
        self._ends: Any = None  # reports the ends of sockets that are held
        self._watched: dict[int, Reader] = {}

    def add(self, *readers: Reader) -> None:
        """A session has begun."""
        self._readers.update(dict.fromkeys(readers))

    def remove(self, *readers: Reader) -> None:
        """A session is over."""
        for reader in readers:
            self._readers.pop(reader, None)

    # A peer that accepts nothing.

    def block(self, reader: Reader) -> None:
        """The socket's peer accepts nothing."""
        self._blocked.setdefault(reader, monotonic_ns())

    def unblock(self, reader: Reader) -> None:
        """The socket's peer accepts bytes again."""
        self._blocked.pop(reader, None)
        if reader in self._noted:
            self._noted.discard(reader)
            self.tape.add(Pause(monotonic_ns(), reader.number, reader.side, False, PEER))

    def forget(self, reader: Reader) -> None:
        """The socket is gone, and its pause with it."""
        self._blocked.pop(reader, None)
        self._noted.discard(reader)

    # The disk.

    def _hold_or_release(self) -> None:
        """The tape has begun to hold traffic back, or has stopped doing so."""
        if self.tape.holding:
            self._hold()
        else:
            self._release()

    def _hold(self) -> None:
        if _ENDS:
            try:
                self._ends = select.epoll()
            except OSError:
                self._ends = None  # no descriptor is left: ends are noticed when reading resumes
        for reader in self._readers:
            if reader.is_held:
                self.watch(reader)
                reader.pause_or_resume()

    def watch(self, reader: Reader) -> None:
        """Watch a held socket for its end."""
        sock = reader.transport.get_extra_info("socket") if reader.transport is not None else None
        if sock is not None and self._ends is not None and sock.fileno() not in self._watched:
            try:
                self._ends.register(sock.fileno(), _ENDS)
            except OSError:
                return
            self._watched[sock.fileno()] = reader

    def _release(self) -> None:
        if self._ends is not None:
            self._ends.close()
            self._ends = None
        self._watched.clear()
        for reader in list(self._readers):
            if reader.redaction is None:
                reader.pause_or_resume()

    def tick(self) -> None:
        """Called at every tick."""
        now = monotonic_ns()
        for reader, since_ns in self._blocked.items():
            if now - since_ns >= NOTED_NS and reader not in self._noted:
                self._noted.add(reader)
                self.tape.add(Pause(since_ns, reader.number, reader.side, True, PEER))
        if self._ends is not None:
            for descriptor, _ in self._ends.poll(0):
                reader = self._watched[descriptor]
                if reader in self._readers:
                    reader.release()

    def unread(self) -> list[tuple[Reader, int]]:
        """The sockets that have bytes to be read, and their offsets once those are read."""
        found: list[tuple[Reader, int]] = []
        for reader in self._readers:
            sock = None if reader.transport is None or reader.lost or reader.eof else reader.transport.get_extra_info("socket")
            if sock is not None and (size := kernel.unread_bytes(sock)):
                found.append((reader, reader.offset + size))
        return found

    def is_read(self, reader: Reader, offset: int) -> bool:
        """Whether a socket has been read up to `offset`. A socket that cannot be read because of
        its peer counts as read."""
        if reader.lost or reader.eof or reader.is_blocked or reader.offset >= offset or reader.transport is None:
            return True
        return not kernel.unread_bytes(reader.transport.get_extra_info("socket"))
