"""A session's beginning, the upstream's side: reads along until the first ReadyForQuery, and forwards.

For BackendKeyData, by which a CancelRequest finds its upstream (cancel_keys.py); on an encrypted
leg for the offer of SCRAM-SHA-256-PLUS, which a driver on a plain leg must not see and one behind
another certificate cannot use (tls.py). What the server says first decides what becomes of the
driver's socket: a refusal before authentication starts libpq's second try without (prefer) or with
(allow) TLS.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, cast

from pgtrace.framing import Framer
from pgtrace.protocol import codes
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.proxy.relay import Leg
from pgtrace.proxy.tls import PLUS, ChannelBindingFilter
from pgtrace.proxy.upstream import Opened


class LoginEvents(NamedTuple):
    """What to call when the server has said something."""

    again: Callable[[bytes], None]
    """It refused this kind of encryption, in these words: there is a second try."""
    settled: Callable[[bytes], None]
    """Its first bytes are these, empty where it ended without any; called once, before they are forwarded. There is no second try any more."""
    key: Callable[[bytes], None]
    """The body of BackendKeyData."""
    binds: Callable[[], None]
    """It offers channel binding, and to another certificate than the driver sees."""
    logged_in: Callable[[], None]
    """The login is over, or nothing more of it can be read."""


class Login(asyncio.Protocol):
    """The upstream's socket until the first ReadyForQuery."""

    def __init__(self, leg: Leg, first: bytes, events: LoginEvents) -> None:
        """`first` is what the upstream gets first."""
        self._leg = leg
        self._events = events
        self._framer = Framer(kept_bytes=512)
        self._framer.feed(FRONTEND, first)
        self._filter: ChannelBindingFilter | None = None
        self._binds = False  # a driver that binds to the channel would find another one than the server's
        self._second_try = False
        self._is_settled = False
        self._abandoned = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._leg.lost:  # the session has ended while its upstream was being opened
            self._abandoned = True
            cast(asyncio.Transport, transport).abort()
        else:
            self._leg.attach(transport)

    def opened(self, opened: Opened, certificate: bytes | None) -> None:
        """How the leg was opened, and the certificate the driver sees, None where its leg is plain; nothing has been read before."""
        self._second_try = opened.second_try
        if not opened.encrypted:
            return
        if certificate is None:
            self._filter = ChannelBindingFilter()
        else:
            self._binds = opened.transport.get_extra_info("ssl_object").getpeercert(True) != certificate

    def data_received(self, data: bytes) -> None:
        if self._abandoned:
            return
        if self._second_try and data[:1] == b"E":
            self._abandoned = True
            if self._leg.transport is not None:
                self._leg.transport.abort()
            self._events.again(data)
            return
        self._settle(data)
        over = False
        for original, sent in [(None, data)] if self._filter is None else self._filter.feed(data):
            self._leg.write(sent)
            if original is None:
                self._leg.record(sent)
            else:
                self._leg.rewritten(original, sent)
            for code, body, _ in self._framer.feed(BACKEND, sent):
                if self._binds and code == ord("R") and PLUS in body:
                    self._binds = False
                    self._events.binds()
                if code == ord("K"):
                    self._events.key(body)
                over = over or code in (ord("Z"), codes.OPAQUE)
        if over:
            self._leg.use(self._leg)
            self._events.logged_in()

    def eof_received(self) -> bool:
        if self._abandoned:
            return False
        self._settle(b"")
        return self._leg.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._abandoned:
            self._settle(b"")
            self._leg.connection_lost(exc)

    def pause_writing(self) -> None:
        self._leg.pause_writing()

    def resume_writing(self) -> None:
        self._leg.resume_writing()

    def _settle(self, data: bytes) -> None:
        self._second_try = False
        if not self._is_settled:
            self._is_settled = True
            self._events.settled(data)
