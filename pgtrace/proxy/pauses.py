"""Which legs are not read, and why.

Two reasons, each of its own; a leg is read when neither holds:

- PEER: its peer's socket takes nothing, so what is read could not be handed on. Leg.is_blocked.
- DISK: the capture has no room and traffic waits for it (--when-behind wait). Then all legs pause together, for
  each of them would overdraw the room by a read of its own. Start-ups and cancels never wait: a leg whose start-up
  is not over is read, and its records have a reserve. Nor do ends: where one side of a session has ended, the other
  is read on, and what finds no room beyond a reserve is a counted gap; else a killed driver's backend would live until
  the disk has caught up. A leg that is not read hears of no end, so the kernel is asked for them with every tick.

Each pause is a record: of DISK both ends at once, of PEER what lasts longer than NOTED_NS, so that there are at most
ten a second of a leg. Its begin has the time at which it began.
"""

from __future__ import annotations

import select
from collections.abc import Mapping
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

from pgtrace.capture.record import DISK, NEITHER, PEER, Pause
from pgtrace.proxy import buffers

if TYPE_CHECKING:
    from pgtrace.proxy.relay import Leg, Session
    from pgtrace.proxy.tape import Tape

NOTED_NS: Final = 100_000_000
"""How long a peer takes nothing before that is worth a record."""
_ENDS: Final = (
    getattr(select, "EPOLLRDHUP", 0) | getattr(select, "EPOLLHUP", 0) | getattr(select, "EPOLLERR", 0) | getattr(select, "EPOLLONESHOT", 0)
)


class Pauses:
    """The legs that are not read."""

    __slots__ = ("_blocked", "_ends", "_noted", "_tape", "_watched", "holding", "sessions")

    def __init__(self, tape: Tape) -> None:
        self.holding = False
        """Whether the disk is waited for."""
        self.sessions: Mapping[int, Session] = {}
        """Everybody; set by the server."""
        self._tape = tape
        self._blocked: dict[Leg, int] = {}  # since when
        self._noted: set[Leg] = set()
        self._ends: Any = None  # asks the kernel for the ends of legs that are held
        self._watched: dict[int, Leg] = {}

    # A peer that takes nothing.

    def block(self, leg: Leg) -> None:
        """Its peer takes nothing."""
        self._blocked.setdefault(leg, monotonic_ns())

    def unblock(self, leg: Leg) -> None:
        """Its peer takes bytes again."""
        self._blocked.pop(leg, None)
        if leg in self._noted:
            self._noted.discard(leg)
            self._tape.add(Pause(monotonic_ns(), leg.number, leg.side, False, PEER))

    def forget(self, leg: Leg) -> None:
        """The leg is gone, and its pause with it."""
        self._blocked.pop(leg, None)
        self._noted.discard(leg)

    # The disk.

    def hold(self) -> None:
        """Stop reading: there is no room."""
        self.holding = True
        self._tape.add(Pause(monotonic_ns(), 0, NEITHER, True, DISK))
        if _ENDS:
            try:
                self._ends = select.epoll()
            except OSError:
                self._ends = None  # no descriptor is left: ends are heard when reading goes on
        for session in self.sessions.values():
            for leg in (session.frontend, session.backend):
                if leg.is_held:
                    self.watch(leg)
                    leg.steer()

    def watch(self, leg: Leg) -> None:
        """Hear of the end of a leg that is held."""
        sock = leg.transport.get_extra_info("socket") if leg.transport is not None else None
        if sock is not None and self._ends is not None and sock.fileno() not in self._watched:
            try:
                self._ends.register(sock.fileno(), _ENDS)
            except OSError:
                return
            self._watched[sock.fileno()] = leg

    def release(self) -> None:
        """Read on."""
        self.holding = False
        self._tape.add(Pause(monotonic_ns(), 0, NEITHER, False, DISK))
        if self._ends is not None:
            self._ends.close()
            self._ends = None
        self._watched.clear()
        for session in list(self.sessions.values()):
            for leg in (session.frontend, session.backend):
                if leg.startup is None:
                    leg.steer()

    def turn(self) -> None:
        """Called with every tick."""
        now = monotonic_ns()
        for leg, since_ns in self._blocked.items():
            if now - since_ns >= NOTED_NS and leg not in self._noted:
                self._noted.add(leg)
                self._tape.add(Pause(since_ns, leg.number, leg.side, True, PEER))
        if self._ends is not None:
            for descriptor, _ in self._ends.poll(0):
                leg = self._watched[descriptor]
                if leg.session.number in self.sessions:
                    leg.session.let_go(leg.side)

    def unread(self) -> list[tuple[Leg, int]]:
        """The legs that have bytes to be read, and how far their streams will stand then."""
        found: list[tuple[Leg, int]] = []
        for session in self.sessions.values():
            for leg in (session.frontend, session.backend):
                sock = None if leg.transport is None or leg.lost or leg.eof else leg.transport.get_extra_info("socket")
                if sock is not None and (size := buffers.unread_bytes(sock)):
                    found.append((leg, leg.offset + size))
        return found

    def is_read(self, leg: Leg, offset: int) -> bool:
        """Whether a leg has been read so far; one that cannot be, because of its peer, counts as read."""
        if leg.lost or leg.eof or leg.is_blocked or leg.offset >= offset or leg.transport is None:
            return True
        return not buffers.unread_bytes(leg.transport.get_extra_info("socket"))
