"""A driver's start-up: from its first byte until the upstream leg is open.

This is the driver's side; login.py is the upstream's side. In the path we handle only the messages
with which a session begins. The rules are PostgreSQL's own (backend_startup.c), so a driver gets
the answers that the server would give.

- We answer SSLRequest and GSSENCRequest ourselves: `N`, or `S` to an SSLRequest if we terminate TLS
  (driver_tls.py). We answer each of them once. After that its code counts as a protocol version
  that does not exist, and is refused as one. Plain bytes that came together with a request are
  refused, as the server does (CVE-2021-23214). If TLS is passed on, the server gets the SSLRequest.
- A whole StartupMessage or CancelRequest, or anything that is not PostgreSQL's, opens the upstream
  leg. From then on every byte is forwarded unchanged, and the server answers. If a driver begins a
  TLS handshake immediately, it does so with the server itself, unless we terminate TLS.
- Without an upstream, a StartupMessage is answered by ErrorResponse FATAL 57P03 with the reason:
  libpq then tries its next host, and pg_isready says "rejecting". When no descriptors are left for
  another session, the answer is 53300, except to a CancelRequest. A driver of another user that we
  do not serve (admission.py) gets 28000, and the upstream never sees it. Everything else is closed.
  With --dial-first there is an upstream before anything is answered, or the driver is reset. Once a
  byte of the server has been forwarded we never send anything of our own.
- Until the start-up is whole, both sides wait for the driver. After `startup_timeout_s` we close it
  without a message, as the server does after authentication_timeout. From then on the server
  watches the time itself, however long a login takes.
- Until login is over we hold at most BEFORE_LOGIN_BYTES of the driver's bytes (small_reads.py). A
  start-up packet is shorter, and we read nothing after one before we can forward it.

The states are a table (startup_states.py); what they do is here. The upstream leg is
upstream_leg.py. One task at a time works for a state, and leaving the state ends the task. Once
both sockets belong to their legs (relay.py), only SmallReads is left here, and it goes when login
is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic_ns
from typing import Final, cast

from pgtrace.address import Upstream
from pgtrace.capture import record
from pgtrace.capture.record import FIN, NEITHER, Fact
from pgtrace.errors import UpstreamError
from pgtrace.framing import NO_PACKET, TLS_HELLO, first_packet
from pgtrace.protocol import codes
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.proxy import delay, refusals
from pgtrace.proxy.admission import Admission, Terms
from pgtrace.proxy.cancel_keys import CancelKeys
from pgtrace.proxy.channel_binding import CHANNEL_BINDING
from pgtrace.proxy.driver_tls import Encrypted, HandshakeError, end_tls
from pgtrace.proxy.fault_rules import FaultRules
from pgtrace.proxy.faults import Faults
from pgtrace.proxy.log import Log
from pgtrace.proxy.login import LoginEvents
from pgtrace.proxy.refusals import Refusal
from pgtrace.proxy.relay import Session, is_tls
from pgtrace.proxy.sessions import Sessions
from pgtrace.proxy.small_reads import SmallReads
from pgtrace.proxy.startup_states import ASKED, ENCRYPTING, NEXT, OPENING, OVER, READING, REFUSED, SENT, WAITING, Countdown, State
from pgtrace.proxy.tls import SSL_REQUEST, DriverSide
from pgtrace.proxy.upstream_leg import UpstreamLeg

PROTOCOL_3: Final = 3 << 16
REFUSED_S: Final = 5.0
"""How long a driver may take to read a refusal."""
_ENCRYPTION: Final = (codes.SSL_REQUEST_CODE, codes.GSSENC_REQUEST_CODE)
_TLS_REMEDY: Final = "use --tls auto, or sslmode=disable towards pgtrace"
_NOT_OURS: Final = {TLS_HELLO: "TLS", NO_PACKET: "unknown"}
"""The fact about a driver that begins with anything but a start-up packet."""


@dataclass(frozen=True, slots=True)
class Service:
    """How the drivers of one leg are served. All of them share this."""

    upstream: Upstream
    admission: Admission
    sessions: Sessions
    cancels: CancelKeys
    leg: str
    """The letter of its leg; empty if there is only one."""
    log: Log
    passes_tls: bool
    driver_side: DriverSide | None
    """Set if pgtrace terminates TLS."""
    dials_first: bool
    startup_timeout_s: float
    faults: FaultRules | None


class Startup(asyncio.Protocol):
    """The driver's socket until the upstream leg is open."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.session: Session
        self._terms: Terms
        self._faults: Faults | None = None
        self._small_reads = SmallReads(self)
        self._state = WAITING
        self._unrecorded = b""  # read in a state that does not record
        self._unread = b""  # recorded, but not answered yet
        self._upstream: UpstreamLeg
        self._clock: Countdown  # until the start-up is whole
        self._answered: set[int] = set()  # requests for encryption that were answered
        self._encrypted: Encrypted | None = None
        self._work: asyncio.Task[None] | None = None  # for the present state

    # The socket.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        service = self._service
        self.session = service.sessions.open(transport, service.upstream.display, service.leg)
        self.session.at_end.append(lambda: service.cancels.forget(self.session.number))
        if service.faults is not None:
            self._faults = Faults(service.faults, self.session)
            self.session.at_end.append(self._faults.cancel)
        self._terms = service.admission.terms(transport)
        if self._terms.refusal is not None:
            self.fact("refused", self._terms.refusal.message)
        self.session.frontend.attach(transport)
        self._small_reads.attach(self._transport)
        self._upstream = UpstreamLeg(self.session, service.upstream, self._terms.context, service.cancels, self._faults, self.fact)
        self._clock = Countdown(self.session.loop, service.startup_timeout_s, self._time_out)
        wait_s = self._faults.begin(self._stop_answering) if self._faults is not None else 0.0
        if self._state is not WAITING:  # a fault has applied
            return
        if wait_s or self._dials_first:
            self._start(lambda: self._prepare(wait_s))
        else:
            self._enter(READING)

    def data_received(self, data: bytes) -> None:
        if not self._state.reads:
            self._pause()
        if self._state.records:
            self._take(data)
        else:
            self._unrecorded += data

    def eof_received(self) -> bool:
        self._notice_refused_tls()
        self.session.frontend.eof = True
        self.session.end(FRONTEND)
        if self._state.leaves:
            self._abandon()
        return not is_tls(self.session.frontend.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._notice_refused_tls()
        self._enter(OVER)
        self._upstream.hang_up()
        backend = self.session.backend
        if backend.transport is None or backend.transport.is_closing():
            backend.lost = True
        self.session.frontend.connection_lost(exc)

    def pause_writing(self) -> None:
        """Do nothing: nothing that we send is long enough to need this."""

    def resume_writing(self) -> None:
        """Do nothing; see pause_writing()."""

    def _notice_refused_tls(self) -> None:
        """If the driver leaves because of our `N`, report it."""
        refused = codes.SSL_REQUEST_CODE in self._answered and self._encrypted is None
        if self._state is READING and refused and not self._unread and not self.session.frontend.eof:
            self._service.log.warn(f"a driver wanted TLS, was answered N and left: {_TLS_REMEDY}")

    # States.

    def _enter(self, state: State) -> None:
        """Enter another state. The task of the previous state ends, unless it is the one that calls
        this."""
        if state is OVER and self._state is OVER:
            return
        if state not in NEXT[self._state]:  # a defect: report it, and continue
            self.session.report(RuntimeError(f"a start-up went from {self._state.name} to {state.name}"))
        self._state = state
        if self._work is not None and self._work is not asyncio.current_task():
            self._work.cancel()
        self._work = None
        self._clock.run(state.is_timed)
        if state is OVER or self.session.frontend.lost:
            return
        if state.records and self._unrecorded:
            data, self._unrecorded = self._unrecorded, b""
            self._take(data)
        if self._state is state:
            self._transport.resume_reading() if state.reads else self._transport.pause_reading()

    def _pause(self) -> None:
        """Stop reading the socket. During a handshake this is still the bare socket: TLS has no
        other way to wait."""
        self._transport.pause_reading()

    def _start(self, work: Callable[[], Awaitable[None]]) -> None:
        """Start a task that works for this state."""
        self._work = self.session.loop.create_task(self._watched(work))

    async def _watched(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as error:  # a defect in one session must not disturb another
            self._service.log.failed(error)
            self.session.close()

    def _time_out(self) -> None:
        """Close without a message, as the server does."""
        reason = f"no complete start-up within {self._service.startup_timeout_s:g} s"
        self.fact("refused", reason)
        self._service.log.warn(
            f"closed a driver: {reason}, as the server does after authentication_timeout (--startup-timeout changes this)"
        )
        encrypting = self._state is ENCRYPTING
        self._enter(OVER)
        self.session.end(NEITHER)
        if encrypting:
            self._abort()
            return
        if self.session.backend.transport is None:
            self.session.backend.lost = True
        self._transport.abort()

    def _stop_answering(self) -> None:
        """A fault has applied: answer the driver nothing more."""
        if REFUSED in NEXT[self._state]:
            self._enter(REFUSED)

    @property
    def _dials_first(self) -> bool:
        """Whether the upstream has to accept the connection before the driver gets an answer."""
        return self._service.dials_first and self._terms.refusal is None

    async def _prepare(self, wait_s: float) -> None:
        """Do everything that the driver has to wait for before its first answer."""
        until_s = self.session.loop.time() + wait_s
        if self._dials_first:
            try:
                await self._upstream.dial()
            except UpstreamError as error:  # as if nothing listened
                self._report(error)
                self._enter(OVER)
                self.session.backend.lost = True
                self.session.begin_end(NEITHER, "pgtrace")
                self.session.frontend.reset()
                return
        await asyncio.sleep(max(0.0, until_s - self.session.loop.time()))
        self._enter(READING)

    # The untyped packets.

    def _take(self, data: bytes) -> None:
        """Take the next bytes of the driver."""
        if not self._state.decides:
            self.session.frontend.record(data)
            if self._state.keeps:
                self._unread += data
            return
        packet = self._unread + data
        found = first_packet(packet)
        if found is not None and found[0] == TLS_HELLO and self._ends_tls and not self._is_underway:
            self._encrypt(packet)
            return
        # the bytes that came with it may already be TLS
        if found is not None and self._answers(found[0]):
            packet, self._unrecorded = packet[: found[1]], packet[found[1] :]
            data = packet[len(self._unread) :]
        self.session.frontend.record(data)
        self._unread = packet
        if found is not None:
            self._decide(found[0])

    @property
    def _ends_tls(self) -> bool:
        """Whether pgtrace can still terminate TLS."""
        return self._service.driver_side is not None and self._encrypted is None

    @property
    def _is_underway(self) -> bool:
        """Whether we have answered anything. A server accepts TLS without a request only as the
        very first bytes."""
        return bool(self._answered) or self._encrypted is not None

    def _answers(self, code: int) -> bool:
        """Whether this is a request for encryption that we answer instead of the server."""
        passes = code == codes.SSL_REQUEST_CODE and self._service.passes_tls and code not in self._answered
        return code in _ENCRYPTION and not passes

    def _decide(self, code: int) -> None:
        """Act on a whole packet, or on bytes that cannot be one."""
        if self._answers(code):
            self._unread = b""
            if code in self._answered:
                self._refuse(refusals.second_request(code))
                return
            self._enter(ASKED)
            self.session.loop.call_later(self.session.rtt_ns / 1e9, self._reply, code) if self.session.rtt_ns else self._reply(code)
            return
        if code in _NOT_OURS:
            self.fact(record.OPENING, _NOT_OURS[code])
        upstream = self._upstream
        if code == TLS_HELLO and self._is_underway and upstream.opened is None:
            self._close_silently()
            return
        upstream.code = code
        upstream.first, self._unread = self._unread, b""
        # With an SSLRequest, the server's answer decides who encrypts, or whether more follows.
        if code != codes.SSL_REQUEST_CODE:
            self._clock.stop()
        if upstream.opened is not None:
            self._forward(upstream.first)
            self._hand_over()
            return
        self._enter(OPENING)
        self._start(self._open)

    def _reply(self, request: int) -> None:
        """Answer a request for encryption."""
        if self._state is not ASKED:
            return
        accepts = request == codes.SSL_REQUEST_CODE and self._ends_tls
        self._answered |= set(_ENCRYPTION) if accepts else {request}
        self._send_own(b"S" if accepts else b"N")
        behind = self._unread or self._unrecorded
        if accepts:
            self._unrecorded = b""
            self._encrypt(behind)
        elif behind:
            self._refuse(refusals.unencrypted_data(request))
        else:
            self._enter(READING)

    def _encrypt(self, hello: bytes) -> None:
        """Terminate the driver's TLS here. `hello` is the part of it that the driver has already
        sent."""
        self._enter(ENCRYPTING)
        self._start(lambda: self._handshake(hello))

    async def _handshake(self, hello: bytes) -> None:
        assert self._service.driver_side is not None
        bare, timeout_s = self._transport, self._service.startup_timeout_s
        try:
            self._encrypted = await end_tls(
                bare,
                self._small_reads,
                self,
                self._service.driver_side,
                hello,
                timeout_s,
                at_once=codes.SSL_REQUEST_CODE not in self._answered,
            )
        except HandshakeError as error:
            self.fact("tls.frontend.error", str(error))
            self._service.log.warn(f"a driver's TLS handshake failed: {error}")
            self._enter(OVER)
            self.session.end(FRONTEND, FIN)
            self._abort()
            return
        self.session.frontend.attach(self._encrypted.transport)
        bare.resume_reading()  # _pause() may have stopped it
        self.session.decrypted()
        for key, value in self._encrypted.facts.items():
            self.fact(key, value)
        self._enter(READING)
        if not self._encrypted.watch():
            cast(asyncio.Protocol, self._encrypted.transport.get_protocol()).eof_received()

    # The upstream.

    async def _open(self) -> None:
        """Open the upstream leg. Whatever happens, it is handled in this task."""
        if self._terms.refusal is not None:
            self._no_upstream(self._terms.refusal)
            return
        if self._upstream.code != codes.CANCEL_REQUEST_CODE and self._service.sessions.is_full:
            self.fact("refused", refusals.FULL.message)
            self._no_upstream(refusals.FULL)
            return
        try:
            await self._upstream.open(self._events, self._certificate)
        except UpstreamError as error:
            self._report(error)
            hosts = self._service.upstream.hosts
            where = f"Host {hosts[0].name}, port {hosts[0].port}: {error.reason}." if len(hosts) == 1 else f"{error.reason}."
            self._no_upstream(refusals.no_upstream(error.upstream, where))
        else:
            self._send_first()

    @property
    def _events(self) -> LoginEvents:
        return LoginEvents(
            try_again=self._try_again,
            settled=self._settled,
            key=self._upstream.remember,
            channel_binding=self._refuse_channel_binding,
            logged_in=self._logged_in,
        )

    @property
    def _certificate(self) -> bytes | None:
        """The certificate that the driver sees; None if its leg is plain."""
        side = self._service.driver_side
        return side.certificate if side is not None and self._encrypted is not None else None

    def _send_first(self) -> None:
        """The upstream leg is open: send the driver's first packet."""
        upstream = self._upstream
        assert upstream.opened is not None
        self._forward(upstream.first)
        if upstream.opened.second_try or upstream.code == codes.SSL_REQUEST_CODE:
            self._enter(SENT)
        else:
            self._hand_over()

    def _settled(self, data: bytes) -> None:
        """The server has answered the driver's first packet, or has ended."""
        code = self._upstream.code
        if code == TLS_HELLO and not data:
            self._service.log.warn(f"a driver began with TLS, which the server does not offer: {_TLS_REMEDY}")
        if self._state is not SENT:
            return
        if code == codes.SSL_REQUEST_CODE and data == b"N" and not self._unread:
            # The server treats the next packet as the first one; here we know better.
            self._enter(READING)
            return
        self._clock.stop()
        self._hand_over()

    def _hand_over(self) -> None:
        """From here on the driver's socket belongs to its leg."""
        leg = self.session.frontend
        if self._state is OVER or leg.lost:
            return
        self._enter(OVER)
        if self._unread:
            self._forward(self._unread)
            self._unread = b""
        target = leg.delayed or leg
        if self._encrypted is None:
            self._small_reads.target = target
        else:
            self._encrypted.transport.set_protocol(target)
        if leg.eof:
            target.eof_received()
        else:
            self._transport.resume_reading()

    def _logged_in(self) -> None:
        """Login is over: read as much at a time as the loop can."""
        leg = self.session.frontend
        if leg.delayed is not None:
            leg.delayed.logged_in()
        if not leg.lost:
            self._small_reads.logged_in()
            if self._encrypted is not None:
                self._encrypted.transport.set_read_buffer_limits()  # type: ignore[attr-defined]

    def _refuse_channel_binding(self) -> None:
        self.fact("channel_binding", CHANNEL_BINDING)
        self._service.log.warn(CHANNEL_BINDING)

    def _try_again(self, refusal: bytes) -> None:
        """The server refused this kind of encryption. Make libpq's second try, or pass the refusal
        on."""
        if self._state is SENT:
            self._enter(OPENING)
            self._start(lambda: self._open_again(refusal))

    async def _open_again(self, refusal: bytes) -> None:
        session = self.session
        try:
            await self._upstream.open_again(self._events, self._certificate)
        except UpstreamError:
            session.backend.lost = True
            session.backend.write(refusal)
            session.backend.record(refusal)
            session.end(BACKEND)
            self._finish()
        else:
            self._send_first()

    def _forward(self, data: bytes) -> None:
        """Send bytes that are already recorded, through the delay if there is one."""
        leg = self.session.frontend
        if leg.delayed is None:
            delay.wrap(leg, leg, self._faults, before_login=True)
        if leg.delayed is not None:
            leg.delayed.forward(data)
        else:
            leg.write(data)

    # Ends.

    def _report(self, error: UpstreamError) -> None:
        self._service.log.upstream_failed(error)
        self.fact("upstream.error", f"{error.upstream}: {error.reason}")

    def _no_upstream(self, refusal: Refusal) -> None:
        code = self._upstream.code
        # No server can accept the TLS, so the answer is `N`; the start-up packet that follows gets
        # the reason.
        if code == codes.SSL_REQUEST_CODE:
            self._unread = self._upstream.first[len(SSL_REQUEST) :]
            self._enter(ASKED)
            self._reply(code)
        elif code in (TLS_HELLO, NO_PACKET, codes.CANCEL_REQUEST_CODE):
            self._close_silently()
        else:
            self._refuse(refusal)

    def _refuse(self, refusal: Refusal) -> None:
        """End the session with an ErrorResponse of our own. No byte of a server has been forwarded
        yet."""
        self.session.backend.lost = True
        self._send_own(refusal.response(self._upstream.code or PROTOCOL_3))
        self.session.end(NEITHER)
        self._finish()

    def _finish(self) -> None:
        """Send nothing more to the driver: it may read what was sent, and close."""
        self.session.frontend.finish()
        if self.session.frontend.eof:
            self._abandon()
            return
        self._enter(REFUSED)
        self.session.loop.call_later(REFUSED_S, self._abandon)

    def _close_silently(self) -> None:
        """Close without a message, as a server does if a packet makes no sense."""
        self.session.end(NEITHER)
        self._abandon()

    def _abandon(self) -> None:
        """Close the driver's socket, after everything written to it."""
        self._enter(OVER)
        if self.session.backend.transport is None:
            self.session.backend.lost = True
        if not self.session.frontend.lost:
            self._transport.close()

    def _abort(self) -> None:
        """Close the driver's socket in the middle of its TLS handshake. No event will report that
        it is lost."""
        self.session.backend.lost = True
        self._transport.abort()
        self.session.frontend.connection_lost(None)

    def _send_own(self, data: bytes) -> None:
        self.session.backend.write(data)
        self.session.backend.record_made(data)

    def fact(self, key: str, value: str) -> None:
        """Record a fact about the connection that its stream does not show."""
        self.session.tape.add(Fact(monotonic_ns(), self.session.number, key, value))

    @property
    def _transport(self) -> asyncio.Transport:
        transport = self.session.frontend.transport
        assert transport is not None
        return transport
