"""A session's beginning, the driver's side: from its first byte until there is an upstream to talk to. What a session begins with is all that is handled
in the path; the upstream's side is greeting.py.

- SSLRequest and GSSENCRequest are answered by pgtrace itself and go no further: `N`, or `S` to an SSLRequest where TLS ends here (encryption.py). Plain
  bytes that came together with one are refused, as the server does it (CVE-2021-23214). Where TLS is to be passed, the server gets the SSLRequest.
- A whole StartupMessage, a CancelRequest, or anything that is none of PostgreSQL's opens the upstream leg; from there on every byte is forwarded as
  it came. A driver that begins a TLS handshake at once speaks TLS with the server itself, where it does not end here: nothing is encrypted twice.
- No upstream: a StartupMessage is answered by ErrorResponse FATAL 57P03 that says so; libpq then tries its next host and pg_isready says "rejecting".
  No descriptors left for another session: the same with 53300, CancelRequests excepted. Everything else is closed. With --dial-first there is an upstream
  before anything is answered, or the driver is reset. Once a byte of the server was forwarded nothing of ours is ever sent.

After that both sockets belong to their legs (relay.py) alone.
"""

from __future__ import annotations

import asyncio
import struct
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

from pgtrace.capture.record import FIN, NEITHER, Fact
from pgtrace.errors import UpstreamError
from pgtrace.framing import LONGEST_STARTUP
from pgtrace.protocol import codes
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.proxy.delay import Delayed
from pgtrace.proxy.encryption import Handshake
from pgtrace.proxy.greeting import Greeting
from pgtrace.proxy.relay import Session, is_tls
from pgtrace.proxy.upstream import Dialled, Endpoint, Opened, dial, open_leg

if TYPE_CHECKING:
    from pgtrace.proxy.server import Server

REFUSED_S: Final = 5.0
"""How long a driver may take to read a refusal."""
FULL: Final = "too many connections"
TLS_HANDSHAKE: Final = 0x16
_HEADER: Final = struct.Struct(">II").unpack_from


class Reception(asyncio.Protocol):
    """The driver's socket until there is an upstream to talk to."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.session: Session
        self._unread = b""  # what no answer was given to yet
        self._first = b""  # what goes to the upstream first
        self._request = 0  # the code of the first packet, 0 where it is none of PostgreSQL's
        self._asked = 0  # the request for encryption that is to be answered
        self._passes_tls = server.passes_tls
        self._handshake: Handshake | None = None
        self._heard_nothing = True
        self._over = False  # refused, or the driver is gone
        self._waits = 0  # for a fault, for the upstream: nothing is answered before
        self._dialling: asyncio.Task[None] | None = None
        self._dialled: Dialled | None = None
        self._task: asyncio.Task[None] | None = None
        self._opened: Opened | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.session = self.server.open_session(transport)
        self.session.frontend.attach(transport)
        if self.session.faults is not None:
            wait_s = self.session.faults.begin(self._ignore)
            if wait_s:
                self._waits += 1
                self.session.loop.call_later(wait_s, self._begin)
        if self.server.dials_first and not self._over:
            self._waits += 1
            self._dialling = self.session.loop.create_task(self._dial())

    async def _dial(self) -> None:
        """Connect to the upstream before the driver is answered; where that fails the driver is reset, as if nobody listened."""
        try:
            self._dialled = await dial(self.server.upstream)
        except UpstreamError as error:
            self._tell(error)
            self._over = True
            self.session.backend.lost = True
            self.session.begin_end(NEITHER, "pgtrace")
            self.session.frontend.reset()
        else:
            self._begin()

    def _ignore(self) -> None:
        """A fault: the driver is answered nothing more."""
        self._over = True
        if self._task is not None:
            self._task.cancel()

    def _begin(self) -> None:
        """One thing the driver had to wait for is there."""
        self._waits -= 1
        if not self._waits and not self.session.frontend.lost and not self._over and self._unread:
            data, self._unread = self._unread, b""
            self._transport.resume_reading()
            self.data_received(data)

    def data_received(self, data: bytes) -> None:
        if self._waits:
            self._unread += data
            self._transport.pause_reading()
            return
        if self._handshake is None and data[0] == TLS_HANDSHAKE and self._heard_nothing and self.server.driver_side is not None:
            self._encrypt(data)
            return
        if self._handshake is not None and not self._handshake.over:
            self._handshake.early += data
            return
        self._heard_nothing = False
        self.session.frontend.record(data)
        if self._over:
            return
        self._unread += data
        if self._task is None and not self._asked:
            self._examine()

    def eof_received(self) -> bool:
        self.session.frontend.eof = True
        self.session.end(FRONTEND)
        if self._over or self._task is None:
            self._abandon()
        return not is_tls(self.session.frontend.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._over = True
        for task in (self._task, self._dialling):
            if task is not None:
                task.cancel()
        if self._dialled is not None:
            self._dialled[0].close()
        if self._handshake is not None:
            self._handshake.task.cancel()
        backend = self.session.backend
        if backend.transport is None or backend.transport.is_closing():
            backend.lost = True
        self.session.frontend.connection_lost(exc)

    def pause_writing(self) -> None:
        """Nothing of ours is long enough to need it."""

    def resume_writing(self) -> None:
        """See pause_writing()."""

    def _examine(self) -> None:
        """Decide what the first packet is, once that can be said."""
        packet = self._unread
        if packet[0] == 0:
            if len(packet) < 8:
                return
            length, request = _HEADER(packet)
            if 8 <= length <= LONGEST_STARTUP:
                if len(packet) < length:
                    return
                if request == codes.GSSENC_REQUEST_CODE or (request == codes.SSL_REQUEST_CODE and not self._passes_tls):
                    self._unread = packet[length:]
                    self._asked = request
                    self.session.loop.call_later(self.session.rtt_ns / 1e9, self._reply) if self.session.rtt_ns else self._reply()
                    return
                self._request = request
        self._transport.pause_reading()
        self._task = self.session.loop.create_task(self._open())

    def _reply(self) -> None:
        if self._over:
            return
        asked, self._asked = self._asked, 0
        accepts = asked == codes.SSL_REQUEST_CODE and self.server.driver_side is not None and self._handshake is None
        if not accepts:
            self._make(b"N")
        if self._unread:
            self._refuse("08P01", "received unencrypted data after a request for encryption", "This may be an attempt to inject bytes.")
        elif accepts:
            self._transport.pause_reading()  # what comes next is not for this protocol
            self._make(b"S")
            self._encrypt(b"")

    def _encrypt(self, hello: bytes) -> None:
        """End the driver's TLS here; `hello` is what came of it already."""
        assert self.server.driver_side is not None
        self._handshake = Handshake(self, self._transport, self.server.driver_side, hello)

    def encrypted(self, transport: asyncio.Transport, facts: dict[str, str]) -> None:
        """The handshake is over: what comes from here on is plain to us."""
        self.session.frontend.attach(transport)
        self.session.decrypted()
        for key, value in facts.items():
            self.fact(key, value)

    def not_encrypted(self, reason: str) -> None:
        """The handshake failed."""
        self.fact("tls.frontend.error", reason)
        self.server.warn(f"a driver's TLS handshake failed: {reason}")
        self._over = True
        self.session.backend.lost = True
        self.session.end(FRONTEND, FIN)
        self._transport.abort()
        self.session.frontend.connection_lost(None)

    async def _open(self) -> None:
        """Open the upstream leg; whatever happens ends here."""
        try:
            self._first, self._unread = self._unread, b""
            if self._request != codes.CANCEL_REQUEST_CODE and self.server.is_full:
                self.fact("refused", FULL)
                self._no_upstream("53300", FULL, "The recorder has as many open files as it may: raise the limit (ulimit -n).")
                return
            encrypted = False if self._first[0] == TLS_HANDSHAKE or self._request == codes.SSL_REQUEST_CODE else None
            endpoint = self.server.cancels.find(self._first) if self._request == codes.CANCEL_REQUEST_CODE else None
            self._adopt(await self._leg(endpoint, encrypted))
        except UpstreamError as error:
            self._tell(error)
            hosts = self.server.upstream.hosts
            where = f"Host {hosts[0].name}, port {hosts[0].port}: {error.reason}." if len(hosts) == 1 else f"{error.reason}."
            self._no_upstream("57P03", f"cannot reach the upstream {error.upstream}", where)
        except Exception as error:  # one session's trouble is never another's
            self.server.failed(error)
            self.session.close()

    async def _leg(self, endpoint: Endpoint | None, encrypted: bool | None) -> Opened:
        session, server = self.session, self.server
        greetings: list[Greeting] = []

        def greet() -> asyncio.Protocol:
            greetings.append(Greeting(self, endpoint, self._first))
            if not session.is_delayed:
                return greetings[-1]
            session.backend.delayed = Delayed(session.backend, greetings[-1])
            return session.backend.delayed

        dialled, self._dialled = self._dialled, None
        opened = await open_leg(server.upstream, server.context, greet, endpoint=endpoint, encrypted=encrypted, dialled=dialled)
        greetings[-1].opened(opened)
        return opened

    def _adopt(self, opened: Opened) -> None:
        """The upstream is there: send what the driver sent first."""
        self._opened = opened
        self.fact("server", opened.endpoint.display)
        tls = opened.transport.get_extra_info("ssl_object")
        if tls is not None:
            self.fact("tls.backend", tls.version())
            self.fact("tls.backend.cipher", tls.cipher()[0])
            if tls.selected_alpn_protocol():
                self.fact("tls.backend.alpn", tls.selected_alpn_protocol())
        self._forward(self._first)
        if not opened.second_try:
            self.hand_over()

    def hand_over(self) -> None:
        """From here on the driver's socket belongs to its leg."""
        leg = self.session.frontend
        if self._over or leg.lost:
            return
        self._over = True
        if self._unread:
            self._forward(self._unread)
            self._unread = b""
        self._transport.set_protocol(leg.delayed or leg)
        if leg.eof:
            leg.eof_received() if leg.delayed is None else leg.delayed.eof_received()
        else:
            self._transport.resume_reading()

    def try_again(self, refusal: bytes) -> None:
        """The server refused this kind of encryption: make libpq's second try, or pass the refusal on."""
        self._task = self.session.loop.create_task(self._second_try(refusal))

    async def _second_try(self, refusal: bytes) -> None:
        assert self._opened is not None
        first, session = self._opened, self.session
        try:
            self.fact("upstream.refused", f"{'with' if first.encrypted else 'without'} TLS")
            if session.faults is not None:
                session.faults.start_anew()
            opened = await self._leg(first.endpoint, not first.encrypted)
        except UpstreamError:
            session.backend.lost = True
            session.backend.write(refusal)
            session.backend.record(refusal)
            session.end(BACKEND)
            session.frontend.finish()
            self._over = True
            session.loop.call_later(REFUSED_S, self._abandon)
            self._transport.resume_reading()
        except Exception as error:  # as in _open()
            self.server.failed(error)
            session.close()
        else:
            self._adopt(opened)

    def _forward(self, data: bytes) -> None:
        """Send on what is on the tape already, behind the delay where there is one."""
        leg = self.session.frontend
        if self.session.is_delayed and leg.delayed is None:
            leg.delayed = Delayed(leg, leg)
        if leg.delayed is not None:
            leg.delayed.forward(data)
        else:
            leg.write(data)

    def _tell(self, error: UpstreamError) -> None:
        self.server.upstream_failed(error)
        self.fact("upstream.error", f"{error.upstream}: {error.reason}")

    def _no_upstream(self, sqlstate: str, message: str, detail: str) -> None:
        if self._request == codes.SSL_REQUEST_CODE:  # there is nobody to pass it to; the start-up that follows gets the reason
            self._request, self._task, self._passes_tls = 0, None, False
            self._make(b"N")
            self._transport.resume_reading()
        elif self._request >> 16 == 3:
            self._refuse(sqlstate, message, detail)
        else:
            self.session.backend.lost = True
            self.session.end(NEITHER)
            self._abandon()

    def _refuse(self, sqlstate: str, message: str, detail: str) -> None:
        """End the session with an ErrorResponse of our own: no byte of a server has been forwarded."""
        self._over = True
        self.session.backend.lost = True
        self._make(error_response(sqlstate, message, detail))
        self.session.end(NEITHER)
        self.session.frontend.finish()
        if self.session.frontend.eof:
            self._abandon()
            return
        self._transport.resume_reading()  # until the driver has read it and closes
        self.session.loop.call_later(REFUSED_S, self._abandon)

    def _abandon(self) -> None:
        self._over = True
        if self.session.backend.transport is None:
            self.session.backend.lost = True
        if not self.session.frontend.lost:
            self._transport.close()

    def _make(self, data: bytes) -> None:
        self.session.backend.write(data)
        self.session.backend.made(data)

    def fact(self, key: str, value: str) -> None:
        """Remember something about the connection that is not in its stream."""
        self.session.tape.add(Fact(monotonic_ns(), self.session.number, key, value))

    @property
    def _transport(self) -> asyncio.Transport:
        transport = self.session.frontend.transport
        assert transport is not None
        return transport


def error_response(sqlstate: str, message: str, detail: str) -> bytes:
    """An ErrorResponse FATAL that says it is pgtrace's."""
    fields = {"S": "FATAL", "V": "FATAL", "C": sqlstate, "M": f"pgtrace: {message}", "D": detail}
    body = b"".join(code.encode() + text.encode("utf-8", "replace") + b"\0" for code, text in fields.items()) + b"\0"
    return struct.pack(">cI", b"E", len(body) + 4) + body
