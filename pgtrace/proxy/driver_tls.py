"""The driver's TLS handshake, from its first byte to a socket that delivers plain bytes.

The event loop's own start_tls() does it, with the transport's socket and the same protocol above
it. It lacks three things:

- A driver that begins with TLS immediately, or does not wait for the answer to its SSLRequest, has
  already sent its ClientHello. We give `hello` to the loop's TLS protocol as if it had been read
  there. If plain bytes come instead, the handshake fails and the bytes are discarded
  (CVE-2021-23214).
- Before login we read a socket in small pieces (small_reads.py), also during the handshake. A
  handshake longer than BEFORE_LOGIN_BYTES is refused.
- A close_notify ends only the driver's direction (RFC 8446, 6.1), and PostgreSQL still answers what
  it was asked. The loop would end both directions. HalfClosing hides the end from the loop and
  reports it to the protocol above. A FIN right after it would end both directions as well, so we
  stop reading the socket.

The driver's first plain bytes can arrive together with the end of its handshake, before start_tls()
has returned. The protocol above holds them back until then, so that the facts of the handshake are
recorded first.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast

from pgtrace.capture.record import DECRYPTED
from pgtrace.proxy.small_reads import BEFORE_LOGIN_BYTES, SmallReads, feed
from pgtrace.proxy.tls import ALPN, DriverSide, Ending, server_name
from pgtrace.proxy.upstream import reason

SHUTDOWN_S: Final = 30.0
"""How long a driver may take to end its TLS."""


class HandshakeError(Exception):
    """The handshake failed. Its text is the reason."""


class HalfClosing(Ending):
    """A TLS object whose other side may end its direction. After that we read nothing more, but can
    still write."""

    on_end: Callable[[], object] | None = None
    """Called once, after everything before the end has been delivered."""
    ended = False
    stop_reading: Callable[[], object] | None = None
    """Called immediately, and again once everything read before has been delivered, because the
    loop may have resumed reading for that."""

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        found = super().read(len, buffer)
        if found:
            return found
        if not self.ended:
            self.ended = True
            if self.stop_reading is not None:
                self.stop_reading()
            asyncio.get_running_loop().call_soon(self._notify)
        raise ssl.SSLWantReadError

    def _notify(self) -> None:
        if self.stop_reading is not None:
            self.stop_reading()
        if self.on_end is not None:
            self.on_end()


class Encrypted(NamedTuple):
    """A driver's socket after its handshake."""

    transport: asyncio.Transport
    tls: HalfClosing
    facts: dict[str, str]

    def watch(self) -> bool:
        """Report the end of the driver's direction to the transport's protocol. Returns False if it
        has already ended."""
        if not self.tls.ended:
            self.tls.on_end = lambda: cast(asyncio.Protocol, self.transport.get_protocol()).eof_received()
        return not self.tls.ended


async def end_tls(
    transport: asyncio.Transport,
    small_reads: SmallReads,
    protocol: asyncio.Protocol,
    side: DriverSide,
    hello: bytes,
    timeout_s: float,
    *,
    at_once: bool,
) -> Encrypted:
    """Terminate the driver's TLS on its socket, which `small_reads` reads. `hello` is the part of
    it that the driver has already sent. `at_once`: no SSLRequest came before it.

    Raises HandshakeError.
    """
    side.context.sslobject_class = HalfClosing
    loop = asyncio.get_running_loop()
    waiting, received, over = hello, 0, False

    def connect() -> None:
        """Read for the loop's TLS protocol, which exists now. Its handshake begins after this call
        and before it gets any bytes."""
        tls_protocol = transport.get_protocol()

        def take(data: bytes) -> None:
            nonlocal waiting, received
            data, waiting = waiting + data, b""
            received += len(data)
            if over or received <= BEFORE_LOGIN_BYTES:
                feed(tls_protocol, data)
            else:
                transport.abort()

        small_reads.target = tls_protocol
        small_reads.take = take
        small_reads.attach(transport)
        # The next read can come before this call, and then brings the hello.
        loop.call_soon(take, b"")

    transport.pause_reading()
    loop.call_soon(connect)
    try:
        encrypted = await loop.start_tls(
            transport, protocol, side.context, server_side=True, ssl_handshake_timeout=timeout_s, ssl_shutdown_timeout=SHUTDOWN_S
        )
    except (OSError, ssl.SSLError) as error:
        raise HandshakeError(reason(error)) from None
    over = True
    tls: HalfClosing | None = encrypted.get_extra_info("ssl_object") if encrypted is not None else None
    if encrypted is None or tls is None:  # the socket was lost in the meantime
        raise HandshakeError("the handshake is too long" if received > BEFORE_LOGIN_BYTES else "the driver left")
    tls.stop_reading = transport.pause_reading
    if tls.ended:
        tls.stop_reading()
    alpn = tls.selected_alpn_protocol()
    if at_once and alpn != ALPN:
        raise HandshakeError("it began with TLS but did not ask for ALPN postgresql")
    encrypted.set_read_buffer_limits(BEFORE_LOGIN_BYTES)  # type: ignore[attr-defined]
    facts = {
        DECRYPTED: tls.version(),
        f"{DECRYPTED}.cipher": encrypted.get_extra_info("cipher")[0],
        f"{DECRYPTED}.alpn": alpn,
        f"{DECRYPTED}.sni": server_name(tls),
    }
    return Encrypted(encrypted, tls, {key: value for key, value in facts.items() if value})
