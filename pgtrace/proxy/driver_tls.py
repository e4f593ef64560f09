"""The driver's TLS handshake: from the byte that began it to a socket that is plain to us.

The event loop's own start_tls() does it, with the transport's socket and the same protocol object above. Three things it does not know:

- A driver that begins with TLS at once, or does not wait for the answer to its SSLRequest, has sent its ClientHello already; `hello` is given to the loop's
  TLS protocol as if it had been read there. Plain bytes in its place make a handshake fail: nobody gets them (CVE-2021-23214).
- Before login a socket is read a little at a time (small_reads.py), TLS included; and a handshake longer than BEFORE_LOGIN_BYTES is none.
- A close_notify ends the driver's direction alone (RFC 8446, 6.1), and PostgreSQL still answers what it was asked. The loop would end both: HalfClosing
  keeps it from reading the end, and tells the protocol above. The FIN that may come right behind it would end both as well: the socket is not read any more.

The driver's first plain bytes can come together with the end of its handshake, before start_tls() has returned. The protocol above holds them back until
then, so that the facts of the handshake are recorded before them.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast

from pgtrace.capture.record import DECRYPTED
from pgtrace.proxy.small_reads import BEFORE_LOGIN_BYTES, SmallReads, give
from pgtrace.proxy.tls import ALPN, DriverSide, Ending, server_name
from pgtrace.proxy.upstream import reason

SHUTDOWN_S: Final = 30.0
"""How long a driver may take to end its TLS."""


class HandshakeError(Exception):
    """The handshake failed; its text is the reason."""


class HalfClosing(Ending):
    """TLS whose other side may end its direction: nothing more is read then, and writing goes on."""

    on_end: Callable[[], object] | None = None
    """Called once, after what stands before the end has been delivered."""
    ended = False
    stop_reading: Callable[[], object] | None = None
    """Called at once, and again once what was read before has been delivered: the loop may have gone on reading for that."""

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        found = super().read(len, buffer)
        if found:
            return found
        if not self.ended:
            self.ended = True
            if self.stop_reading is not None:
                self.stop_reading()
            asyncio.get_running_loop().call_soon(self._tell)
        raise ssl.SSLWantReadError

    def _tell(self) -> None:
        if self.stop_reading is not None:
            self.stop_reading()
        if self.on_end is not None:
            self.on_end()


class Encrypted(NamedTuple):
    """A driver's socket behind its handshake."""

    transport: asyncio.Transport
    tls: HalfClosing
    facts: dict[str, str]

    def watch(self) -> bool:
        """Have the transport's protocol told of the end of the driver's direction; False where it has ended already."""
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
    """End the driver's TLS on its socket, read by `small_reads`; `hello` is what came of it already, and it began `at_once` where no SSLRequest came before.

    Raises HandshakeError.
    """
    side.context.sslobject_class = HalfClosing
    loop = asyncio.get_running_loop()
    waiting, received, over = hello, 0, False

    def connect() -> None:
        """Read for the loop's TLS protocol, which is there now; it begins its handshake behind this, and before anything is given to it."""
        tls_protocol = transport.get_protocol()

        def take(data: bytes) -> None:
            nonlocal waiting, received
            data, waiting = waiting + data, b""
            received += len(data)
            if over or received <= BEFORE_LOGIN_BYTES:
                give(tls_protocol, data)
            else:
                transport.abort()

        small_reads.target = tls_protocol
        small_reads.take = take
        small_reads.stand_before(transport)
        loop.call_soon(take, b"")  # the next read can come before it, and has the hello with it then

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
    if encrypted is None or tls is None:  # the socket was lost meanwhile
        raise HandshakeError("it is too long" if received > BEFORE_LOGIN_BYTES else "the driver left")
    tls.stop_reading = transport.pause_reading
    if tls.ended:
        tls.stop_reading()
    alpn = tls.selected_alpn_protocol()
    if at_once and alpn != ALPN:
        raise HandshakeError("it began with TLS and did not ask for ALPN postgresql")
    encrypted.set_read_buffer_limits(BEFORE_LOGIN_BYTES)  # type: ignore[attr-defined]
    facts = {
        DECRYPTED: tls.version(),
        f"{DECRYPTED}.cipher": encrypted.get_extra_info("cipher")[0],
        f"{DECRYPTED}.alpn": alpn,
        f"{DECRYPTED}.sni": server_name(tls),
    }
    return Encrypted(encrypted, tls, {key: value for key, value in facts.items() if value})
