"""The hot path: two legs of one session, and the bytes between them.

A leg is the protocol of one socket. What it reads goes immediately to the other leg's transport,
then onto the tape: `data_received -> write -> append`. There is no decoding and no await, and
nothing is held back or joined. The head of a read's record is packed here, in one call, because
doing it later would not be cheaper. bench/ measures the cost; docs/forwarding.md gives the reasons.

- Time: bytes carry the time at which they were read. So what a driver does after a reply is later
  than the reply.
- Back-pressure (pauses.py): the two directions are independent pumps. If a transport could not
  write everything, it immediately pauses reading the other leg. So a peer that does not read costs
  one read of the loop (256,000 bytes in uvloop) and the bytes that the kernel holds.
- Half-close: the end of one direction is passed on (write_eof) while the other continues. A session
  is over when both have ended. On a TLS leg we pass on TLS's own end of one direction
  (close_notify) once everything is written. No transport offers that, so _close_notify() asks the
  TLS object. driver_tls.py notices a driver's close_notify.
- Reset: passed on as a reset (SO_LINGER 0) once the other side's kernel has accepted what came
  before, or accepts nothing more of it. A server that accepts nothing for TAKEN_S is reset while
  bytes are still on offer, because its driver is gone. A driver is reset that early only if it has
  sent bytes that nobody will read, so a slow driver gets everything.
- A lost leg never takes its bytes back. Bytes that had arrived are still written to the other leg,
  even if only the kernel has seen them.
- Ends are recorded when they pass the driver's socket (Session.end): the driver's end when it is
  read, the server's when it is passed on. A driver that has ended its direction may be gone, or may
  still read. Its kernel knows: if the driver is gone, the kernel answers what we write with a
  reset. So before we close such a socket we wait for the last bytes, and record a reset that
  arrives in the meantime.

We never add bytes of our own here, and a failure ends only its own session.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from time import monotonic_ns
from typing import Final, cast

from pgtrace.capture.record import CLOSE_NOTIFY, DATA, DATA_FIXED, DATA_HEAD, FIN, LOST, NEITHER, RST, Close, Ended
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.proxy import kernel
from pgtrace.proxy.direction import StartupRedaction
from pgtrace.proxy.pauses import Pauses, Reader
from pgtrace.proxy.tape import ITEM_BYTES

pack: Final = DATA_HEAD.pack
TAKEN_S: Final = 0.45
"""How long a peer may accept nothing of what was written to it before we pass on the other side's
reset anyway."""
CLOSING_S: Final = 30.0
"""How long a close waits for the last bytes to be accepted. They stay on offer after it."""
POLL_S: Final = 0.005
LONG_POLL_S: Final = 0.05


class Session:
    """One driver's connection: its number, its two legs and how it ended."""

    __slots__ = ("at_end", "backend", "ended", "ends", "frontend", "loop", "number", "rtt_ns", "tape")

    def __init__(self, number: int, pauses: Pauses, loop: asyncio.AbstractEventLoop, rtt_ns: int) -> None:
        self.number = number
        self.tape = pauses.tape
        self.loop = loop
        self.rtt_ns = rtt_ns
        self.frontend = DriverLeg(self, pauses)
        self.backend = ServerLeg(self, pauses)
        self.frontend.peer, self.backend.peer = self.backend, self.frontend
        pauses.add(self.frontend, self.backend)
        StartupRedaction((self.frontend, self.backend), self.tape.key, self.report)
        self.ended: tuple[int, str] | None = None
        """Which side ended first, and how; None while neither has ended."""
        self.ends: set[tuple[int, bool]] = set()
        """The ends that are recorded: the side, and whether it was a reset."""
        self.at_end: list[Callable[[], object]] = []
        """Called when both legs are gone."""

    def begin_end(self, side: int, how: str) -> None:
        """Remember what ends the session, unless something else has already ended it."""
        if self.ended is None:
            self.ended = (side, how)

    def end(self, side: int, how: str | None = None) -> None:
        """A direction ends on the driver's socket now: record it, if this is the first time. `how`
        says how its bytes end there, if not in the usual way."""
        self.begin_end(side, "pgtrace" if side == NEITHER else RST if how in (RST, LOST) else FIN)
        how = how or (CLOSE_NOTIFY if is_tls(self.frontend.transport) else FIN)
        if (side, True) not in self.ends and (side, how == RST) not in self.ends:
            self.ends.add((side, how == RST))
            self.tape.add(Ended(monotonic_ns(), self.number, side, how))

    def report(self, error: Exception) -> None:
        """Report a defect of pgtrace; the session continues."""
        self.loop.call_exception_handler({"message": str(error), "exception": error})

    def decrypted(self) -> None:
        """pgtrace has terminated the driver's TLS: from here on, everything is plain."""
        if self.frontend.redaction is not None:
            self.frontend.redaction.decrypted()

    def leg_lost(self) -> None:
        """A leg is gone for good. When both are, the session is over."""
        if self.frontend.lost and self.backend.lost:
            side, how = self.ended or (NEITHER, "pgtrace")
            self.tape.add(Close(monotonic_ns(), self.number, side, how))
            self.frontend.pauses.remove(self.frontend, self.backend)
            for action in self.at_end:
                action()
            del self.frontend.peer, self.backend.peer

    def close(self) -> None:
        """End both legs. Bytes that are already written are delivered."""
        self.end(NEITHER)
        for leg in (self.frontend, self.backend):
            if leg.transport is not None and not leg.lost:
                leg.transport.close()


class Leg(Reader, asyncio.Protocol):
    """One socket of a session. Bytes read here are sent through `write`."""

    __slots__ = ("finished", "is_reset", "session", "write")

    peer: Leg

    def __init__(self, session: Session, pauses: Pauses) -> None:
        super().__init__(session.number, pauses)
        self.session = session
        self.write: Callable[[bytes], None] = self.discard
        """Sends bytes read here to the peer; discard() if there is no peer."""
        self.finished = False  # the end was passed on to this socket
        self.is_reset = False  # the peer has reset this socket after we stopped reading it

    def attach(self, transport: asyncio.BaseTransport) -> None:
        """Use this transport: from now on the peer writes to it."""
        self.transport = cast(asyncio.Transport, transport)
        if is_tls(self.transport):
            # TLS counts "at least", so 0 would pause at every write.
            self.transport.set_write_buffer_limits(1, 0)
        else:
            self.transport.set_write_buffer_limits(0)
        self.peer.write = self.transport.write
        kernel.prepare(transport.get_extra_info("socket"))

    def hand_to(self, protocol: asyncio.Protocol) -> None:
        """Give this socket's bytes to `protocol`, through the delay if there is one."""
        if self.delayed is not None:
            self.delayed.set_protocol(protocol)
        elif self.transport is not None and not self.lost:
            self.transport.set_protocol(protocol)

    def pause_writing(self) -> None:
        self.peer.block()

    def resume_writing(self) -> None:
        self.peer.unblock()

    def eof_received(self) -> bool:
        self.eof = True
        self.session.end(self.side)
        self.release()
        if self.peer.eof or self.peer.lost:
            self.session.backend.leave()
            self.session.frontend.leave()
        else:
            self.peer.finish()
        return not is_tls(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.lost:
            return
        self.release()
        if self.delayed is None and self.redaction is None:
            for data in self.leftover(exc):
                self.data_received(data)
        self.lost = True
        self.pauses.forget(self)
        self.peer.write = self.peer.discard
        self.note_loss(exc)
        if not self.peer.lost and self.peer.transport is not None:
            if isinstance(exc, ConnectionError):
                self.peer.reset()
            elif self.peer.eof:
                self.peer.leave()
            else:
                self.peer.finish()
        self.session.leg_lost()

    def give_up(self) -> None:
        """The opening of this socket was cancelled: it is closed, and no event will report that."""
        if not self.lost:
            self.lost = True
            self.transport = None
            self.pauses.forget(self)
            self.peer.write = self.peer.discard
            self.session.leg_lost()

    def leftover(self, exc: Exception | None) -> Iterator[bytes]:
        """The bytes that had arrived before a reset but were not read, because this socket was
        paused or because a write noticed the reset first."""
        if isinstance(exc, ConnectionError) and self.transport is not None and not is_tls(self.transport):
            yield from kernel.leftover(self.transport.get_extra_info("socket"))

    def note_loss(self, exc: Exception | None) -> None:
        """Record the end of a lost socket. A server's reset is recorded when it is passed on."""
        if exc is None:
            if not self.eof and self.session.ended is None:  # TLS that ended without a close_notify
                self.session.end(self.side, FIN if self.side == FRONTEND else None)
        elif not isinstance(exc, ConnectionError):
            self.session.begin_end(self.side, RST)
            # The driver gets a FIN.
            self.session.end(self.side, LOST if self.side == FRONTEND else None)
        elif self.side == FRONTEND:
            self.session.end(FRONTEND, RST)
        else:
            self.session.begin_end(BACKEND, RST)

    def discard(self, data: bytes) -> None:
        """The peer is gone. Answer further bytes with a reset, as a closed socket does."""
        if self.side == BACKEND and (FRONTEND, False) in self.session.ends:
            # This is what the driver's kernel would report if it could still reach us: these bytes
            # did not arrive.
            self.session.end(FRONTEND, RST)
        if self.transport is not None and self.peer.lost:
            self.reset()

    def finish(self) -> None:
        """Pass the end of the stream on to this socket, after everything written to it."""
        if self.finished or self.lost or self.transport is None or self.transport.is_closing():
            return
        self.finished = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            since_ns, pending = monotonic_ns(), self._pending()
            self.session.loop.call_later(POLL_S, lambda: self._when_delivered(self._close_notify, is_close_overdue, since_ns, pending))

    def reset(self) -> None:
        """Reset this socket once its peer has accepted everything, or accepts nothing more: see
        _accepts_nothing_more()."""
        if self.lost or self.transport is None or self.transport.is_closing():
            return
        self.finished = True  # no end of the stream before the reset
        self.is_over = True
        if is_tls(self.transport):
            # TLS sends a close_notify only at its next read, which _close_notify() has asked for.
            self.session.loop.call_soon(self.transport.pause_reading)
        else:
            self.transport.pause_reading()
        self._when_delivered(self._abort, self._accepts_nothing_more, monotonic_ns(), self._pending())

    def close(self) -> None:
        """Close this socket once everything written to it has been delivered."""
        if self.lost or self.transport is None or self.transport.is_closing():
            return
        if self.transport.can_write_eof() and not self.finished:
            self.transport.write_eof()
        self.finished = True
        self._when_delivered(self.transport.close, is_close_overdue, monotonic_ns(), self._pending())

    def _accepts_nothing_more(self, waited_s: float) -> bool:
        """Whether to reset a peer while bytes are still on offer, after it has accepted nothing for
        this long."""
        return waited_s > TAKEN_S

    def leave(self) -> None:
        """Close this socket when both directions are over. If its driver ended first, wait: it may
        still answer the last bytes with a reset."""
        if self.transport is None or self.lost:
            return
        if self.side == FRONTEND and self.eof:
            self.close()
        else:
            self.transport.close()

    def _when_delivered(self, action: Callable[[], None], gives_up: Callable[[float], bool], since_ns: int, pending: int) -> None:
        """Run `action` once two checks in a row have found nothing pending. TLS keeps bytes that
        only the second check sees."""
        if self.lost:
            return
        now = self._pending()
        waited_s = (monotonic_ns() - since_ns) / 1e9
        if now == pending == 0 or (now >= pending and gives_up(waited_s)):
            action()
            return
        if now < pending:
            since_ns = monotonic_ns()
        next_s = POLL_S if waited_s < TAKEN_S else LONG_POLL_S
        self.session.loop.call_later(next_s, lambda: self._when_delivered(action, gives_up, since_ns, now))

    def _pending(self) -> int:
        """How many bytes written to this socket its peer's kernel has not acknowledged."""
        if self.transport is None or self.is_reset:
            return 0
        waiting = self.transport.get_write_buffer_size()
        sock = self.transport.get_extra_info("socket")
        if waiting or sock is None:
            # TLS forgets its socket a moment before it reports that the connection is lost.
            return waiting
        # This socket is not read any more, so nothing else would notice a reset. The kernel never
        # stops counting the bytes that a reset left behind.
        if (self.eof or self.is_over) and kernel.is_reset(sock, is_tls=is_tls(self.transport)):
            self.is_reset = True
            self.note_loss(ConnectionResetError())
            return 0
        return kernel.undelivered_bytes(sock)

    def _abort(self) -> None:
        if self.transport is None:
            return
        if self.side == FRONTEND:
            self.session.end(NEITHER if self.session.ended == (NEITHER, "pgtrace") else BACKEND, RST)
        kernel.reset_at_close(self.transport.get_extra_info("socket"))
        self.transport.abort()

    def _close_notify(self) -> None:
        """Half-close a TLS leg. This waits while reading is paused, because unread bytes would make
        TLS fail."""
        if self.lost or self.transport is None or self.transport.is_closing():
            return
        if not self.transport.is_reading():
            self.session.loop.call_later(POLL_S, self._close_notify)
            return
        self.transport.pause_reading()
        try:
            self.transport.get_extra_info("ssl_object").unwrap()
        except ssl.SSLWantReadError:
            pass  # it is written; the server's own may come later
        except (ssl.SSLError, ValueError):
            self.transport.close()
            return
        self.transport.resume_reading()  # this also sends what unwrap() wrote
        self.pause_or_resume()


class DriverLeg(Leg):
    """The driver's socket."""

    __slots__ = ()
    side = FRONTEND

    def _accepts_nothing_more(self, waited_s: float) -> bool:
        """What a lost server sent stays on offer, however slowly the driver reads. But a driver
        that waits to send must learn that nobody reads it."""
        return (
            super()._accepts_nothing_more(waited_s)
            and self.transport is not None
            and bool(kernel.unread_bytes(self.transport.get_extra_info("socket")))
        )

    def data_received(self, data: bytes) -> None:
        now = monotonic_ns()
        self.write(data)
        tape = self.tape
        if self.redaction is None and tape.room > 0:
            size = len(data)
            offset = self.offset
            self.offset = offset + size
            tape.room -= size + ITEM_BYTES
            append = tape.append
            append(pack(size + DATA_FIXED, DATA, now, self.number, FRONTEND, offset))
            append(data)
        else:
            self.put(now, data)


class ServerLeg(Leg):
    """The upstream's socket."""

    __slots__ = ()
    side = BACKEND

    def data_received(self, data: bytes) -> None:
        now = monotonic_ns()  # before the driver can have it: what it does next is later
        self.write(data)
        tape = self.tape
        if self.redaction is None and tape.room > 0:
            size = len(data)
            offset = self.offset
            self.offset = offset + size
            tape.room -= size + ITEM_BYTES
            append = tape.append
            append(pack(size + DATA_FIXED, DATA, now, self.number, BACKEND, offset))
            append(data)
        else:
            self.put(now, data)


def is_close_overdue(waited_s: float) -> bool:
    """Whether a close stops waiting for a peer that has accepted nothing for this long."""
    return waited_s > CLOSING_S


def is_tls(transport: asyncio.Transport | None) -> bool:
    """Whether we encrypt that socket."""
    return transport is not None and transport.get_extra_info("ssl_object") is not None
