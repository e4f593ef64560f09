"""A session's beginning, the upstream's side: reads along until the first ReadyForQuery, and forwards.

For BackendKeyData, by which a CancelRequest finds its upstream (cancel.py); on an encrypted leg for the offer of SCRAM-SHA-256-PLUS, which a driver on a plain
leg must not see and one behind another certificate cannot use (tls.py). A refusal before authentication starts libpq's second try without (prefer) or with
(allow) TLS.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pgtrace.framing import Framer
from pgtrace.protocol import codes
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.proxy.relay import is_tls
from pgtrace.proxy.tls import CHANNEL_BINDING, PLUS, ChannelBindingFilter
from pgtrace.proxy.upstream import Endpoint, Opened

if TYPE_CHECKING:
    from pgtrace.proxy.startup import Reception


class Greeting(asyncio.Protocol):
    """The upstream's socket until the first ReadyForQuery."""

    def __init__(self, reception: Reception, endpoint: Endpoint | None, first: bytes) -> None:
        """`first` is what the upstream gets first."""
        self._reception = reception
        self._session = reception.session
        self._leg = reception.session.backend
        self._endpoint = endpoint
        self._framer = Framer(kept_bytes=512)
        self._framer.feed(FRONTEND, first)
        self._filter: ChannelBindingFilter | None = None
        self._binds = False  # a driver that binds to the channel would find another one than the server's
        self._second_try = False
        self._abandoned = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._leg.attach(transport)

    def opened(self, opened: Opened) -> None:
        """How the leg was opened; nothing has been read before."""
        self._endpoint = opened.endpoint
        self._second_try = opened.second_try
        if not opened.encrypted:
            return
        side = self._reception.server.driver_side
        if not is_tls(self._session.frontend.transport) or side is None:
            self._filter = ChannelBindingFilter()
        else:
            self._binds = opened.transport.get_extra_info("ssl_object").getpeercert(True) != side.certificate

    def data_received(self, data: bytes) -> None:
        if self._abandoned:
            return
        if self._second_try and data[:1] == b"E":
            self._abandoned = True
            if self._leg.transport is not None:
                self._leg.transport.abort()
            self._reception.try_again(data)
            return
        self._settle()
        session, over = self._session, False
        for original, sent in [(None, data)] if self._filter is None else self._filter.feed(data):
            self._leg.write(sent)
            if original is None:
                self._leg.record(sent)
            else:
                self._leg.rewritten(original, sent)
            for code, body, _ in self._framer.feed(BACKEND, sent):
                if self._binds and code == ord("R") and PLUS in body:
                    self._binds = False
                    self._reception.fact("channel_binding", CHANNEL_BINDING)
                    self._reception.server.warn(CHANNEL_BINDING)
                if code == ord("K") and self._endpoint is not None:
                    self._reception.server.cancels.add(session.number, body, self._endpoint)
                over = over or code in (ord("Z"), codes.OPAQUE)
        if over:
            self._leg.use(self._leg)

    def eof_received(self) -> bool:
        if self._abandoned:
            return False
        self._settle()
        return self._leg.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._abandoned:
            self._settle()
            self._leg.connection_lost(exc)

    def pause_writing(self) -> None:
        self._leg.pause_writing()

    def resume_writing(self) -> None:
        self._leg.resume_writing()

    def _settle(self) -> None:
        """There will be no second try: the driver's socket may go on."""
        if self._second_try:
            self._second_try = False
            self._reception.hand_over()
