"""The driver's TLS handshake: from the byte that began it to a socket that is plain to us.

The event loop's own start_tls() does it, with the transport's socket and the same protocol object above. Three things it does not know:

- A driver that begins with TLS at once has sent its ClientHello before anybody could ask for it; `hello` is given to the loop's TLS protocol as if it had
  been read there.
- The driver's first plain bytes can come together with the end of its handshake, before start_tls() has returned: they wait in `early`, so that the facts of
  the handshake stand before them.
- A close_notify ends the driver's direction alone (RFC 8446, 6.1), and PostgreSQL still answers what it was asked. The loop would end both: HalfClosing
  keeps it from reading the end, and tells the protocol above.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from pgtrace.capture.record import DECRYPTED
from pgtrace.proxy.tls import ALPN, DriverSide, Ending, server_name
from pgtrace.proxy.upstream import reason

if TYPE_CHECKING:
    from pgtrace.proxy.startup import Reception

HANDSHAKE_S: Final = 30.0
"""How long a driver may take for it."""


class HalfClosing(Ending):
    """TLS whose other side may end its direction: nothing more is read then, and writing goes on."""

    on_end: Callable[[], object] | None = None
    """Called once, after what stands before the end has been delivered."""
    ended = False

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        found = super().read(len, buffer)
        if found:
            return found
        if not self.ended:
            self.ended = True
            asyncio.get_running_loop().call_soon(self._tell)
        raise ssl.SSLWantReadError

    def _tell(self) -> None:
        if self.on_end is not None:
            self.on_end()


class Handshake:
    """One handshake on its way. Reception.encrypted() or not_encrypted() is its end."""

    __slots__ = ("_direct", "_reception", "_side", "_transport", "early", "over", "task")

    def __init__(self, reception: Reception, transport: asyncio.Transport, side: DriverSide, hello: bytes) -> None:
        self.early = b""
        self.over = False
        """Whether it succeeded; where it failed, nothing more is taken from the driver."""
        self._reception = reception
        self._transport = transport
        self._side = side
        self._direct = bool(hello)
        transport.pause_reading()
        side.context.sslobject_class = HalfClosing
        loop = asyncio.get_running_loop()
        self.task = loop.create_task(self._run(loop))
        if hello:
            # The task's first step asks the loop to connect the TLS protocol; this comes behind that, and before anything more is read.
            loop.call_soon(lambda: loop.call_soon(self._give, hello))

    async def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            encrypted = await loop.start_tls(
                self._transport,
                self._reception,
                self._side.context,
                server_side=True,
                ssl_handshake_timeout=HANDSHAKE_S,
                ssl_shutdown_timeout=HANDSHAKE_S,
            )
        except (OSError, ssl.SSLError) as error:
            self._reception.not_encrypted(reason(error))
            return
        assert encrypted is not None
        tls: HalfClosing = encrypted.get_extra_info("ssl_object")
        alpn = tls.selected_alpn_protocol()
        if self._direct and alpn != ALPN:
            self._reception.not_encrypted("it began with TLS and did not ask for ALPN postgresql")
            return
        self.over = True
        facts = {
            DECRYPTED: tls.version(),
            f"{DECRYPTED}.cipher": encrypted.get_extra_info("cipher")[0],
            f"{DECRYPTED}.alpn": alpn,
            f"{DECRYPTED}.sni": server_name(tls),
        }
        self._reception.encrypted(encrypted, {key: value for key, value in facts.items() if value})
        if self.early:
            self._reception.data_received(self.early)
        if tls.ended or self._reception.session.frontend.eof:
            self._reception.eof_received()
        else:
            tls.on_end = lambda: cast(asyncio.Protocol, encrypted.get_protocol()).eof_received()

    def _give(self, hello: bytes) -> None:
        """Have the loop's TLS protocol take what was read before it was there."""
        protocol: Any = self._transport.get_protocol()
        while hello and not self.task.done():
            room = protocol.get_buffer(len(hello))
            size = min(len(room), len(hello))
            room[:size] = hello[:size]
            protocol.buffer_updated(size)
            hello = hello[size:]
