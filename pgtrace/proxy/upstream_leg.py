"""The upstream leg of one session. It is dialled before the driver is answered or after its
start-up, then opened, and tried a second time if libpq would do so.

What we find out on the way is recorded as facts. The protocol of its socket is in login.py.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from pgtrace.address import Upstream
from pgtrace.framing import TLS_HELLO
from pgtrace.protocol import codes
from pgtrace.proxy import delay
from pgtrace.proxy.cancel_keys import CancelKeys
from pgtrace.proxy.faults import Faults
from pgtrace.proxy.login import Login, LoginEvents
from pgtrace.proxy.relay import Session
from pgtrace.proxy.upstream import Dialled, Endpoint, Opened, dial, open_leg


class UpstreamLeg:
    """The upstream leg on its way from an address to a socket that has the driver's first bytes."""

    def __init__(
        self,
        session: Session,
        upstream: Upstream,
        context: ssl.SSLContext | None,
        cancels: CancelKeys,
        faults: Faults | None,
        fact: Callable[[str, str], None],
    ) -> None:
        """Does nothing yet. `context` encrypts the leg; `fact` records a fact."""
        self.code = 0
        """The kind of the driver's first packet, as framing.first_packet() returns it."""
        self.first = b""
        """That packet, and the bytes that came with it."""
        self.opened: Opened | None = None
        self._session = session
        self._upstream = upstream
        self._context = context
        self._cancels = cancels
        self._faults = faults
        self._fact = fact
        self._dialled: Dialled | None = None

    async def dial(self) -> None:
        """Connect, before there is anything to send. Raises UpstreamError."""
        self._dialled = await dial(self._upstream)

    def hang_up(self) -> None:
        """Close a connection that was dialled and not used."""
        if self._dialled is not None:
            self._dialled[0].close()

    async def open(self, events: LoginEvents, certificate: bytes | None) -> None:
        """Open the leg for the driver's first bytes, which the caller sends. `certificate` is the
        one that the driver sees. Raises UpstreamError."""
        encrypted = False if self.code in (TLS_HELLO, codes.SSL_REQUEST_CODE) else None
        endpoint = self._cancels.find(self.first) if self.code == codes.CANCEL_REQUEST_CODE else None
        self._adopt(await self._open(events, certificate, endpoint, encrypted))

    async def open_again(self, events: LoginEvents, certificate: bytes | None) -> None:
        """The server refused before authentication: try the other kind of encryption. Raises
        UpstreamError."""
        assert self.opened is not None
        first = self.opened
        self._fact("upstream.refused", f"{'with' if first.encrypted else 'without'} TLS")
        if self._faults is not None:
            self._faults.reset()
        self._adopt(await self._open(events, certificate, first.endpoint, not first.encrypted))

    async def _open(self, events: LoginEvents, certificate: bytes | None, endpoint: Endpoint | None, encrypted: bool | None) -> Opened:
        backend = self._session.backend
        logins: list[Login] = []

        def log_in() -> asyncio.Protocol:
            logins.append(Login(backend, self.first, events))
            return delay.wrap(logins[-1], backend, self._faults)

        dialled, self._dialled = self._dialled, None
        try:
            opened = await open_leg(self._upstream, self._context, log_in, endpoint=endpoint, encrypted=encrypted, dialled=dialled)
        except asyncio.CancelledError:
            backend.give_up()
            raise
        logins[-1].opened(opened, certificate)
        return opened

    def _adopt(self, opened: Opened) -> None:
        self.opened = opened
        self._fact("server", opened.endpoint.display)
        tls = opened.transport.get_extra_info("ssl_object")
        if tls is not None:
            self._fact("tls.backend", tls.version())
            self._fact("tls.backend.cipher", tls.cipher()[0])
            if tls.selected_alpn_protocol():
                self._fact("tls.backend.alpn", tls.selected_alpn_protocol())

    def remember(self, key: bytes) -> None:
        """Remember the body of BackendKeyData. A CancelRequest with this key goes to this leg's
        address."""
        if self.opened is not None:
            self._cancels.add(self._session.number, key, self.opened.endpoint)
