"""The upstream's side of a start-up: forwards until the first ReadyForQuery, and reads along.

We look for BackendKeyData, by which a CancelRequest finds its upstream (cancel_keys.py). On an
encrypted leg we also look for the offer of SCRAM-SHA-256-PLUS: a driver on a plain leg must not see
it, and a driver that sees another certificate cannot use it (channel_binding.py). The server's
first answer decides how the driver's socket continues. If it refuses before authentication, libpq's
second try follows: without TLS (prefer) or with it (allow).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, cast

from pgtrace.framing import Framer
from pgtrace.protocol import codes
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.proxy.channel_binding import PLUS, ChannelBindingFilter
from pgtrace.proxy.relay import Leg
from pgtrace.proxy.upstream import Opened


class LoginEvents(NamedTuple):
    """What to call when the server has answered."""

    try_again: Callable[[bytes], None]
    """The server refused this kind of encryption, with these bytes, and a second try is
    possible."""
    settled: Callable[[bytes], None]
    """The server's first bytes; empty if it ended without any. Called once, before they are
    forwarded. From then on no second try is possible."""
    key: Callable[[bytes], None]
    """The body of BackendKeyData."""
    channel_binding: Callable[[], None]
    """The server offers channel binding, and its certificate is not the one that the driver
    sees."""
    logged_in: Callable[[], None]
    """Login is over, or the rest of it cannot be read."""


class Login(asyncio.Protocol):
    """The upstream's socket until the first ReadyForQuery."""

    def __init__(self, leg: Leg, first: bytes, events: LoginEvents) -> None:
        """`first` is sent to the upstream first."""
        self._leg = leg
        self._events = events
        self._framer = Framer(kept_bytes=512)
        self._framer.feed(FRONTEND, first)
        self._filter: ChannelBindingFilter | None = None
        # Whether a driver that uses channel binding would not find the server's certificate.
        self._hides_certificate = False
        self._second_try = False
        self._is_settled = False
        self._abandoned = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._leg.lost:  # the session ended while its upstream was being opened
            self._abandoned = True
            cast(asyncio.Transport, transport).abort()
        else:
            self._leg.attach(transport)

    def opened(self, opened: Opened, certificate: bytes | None) -> None:
        """How the leg was opened, and the certificate that the driver sees (None if its leg is
        plain). Call this before anything is read."""
        self._second_try = opened.second_try
        if not opened.encrypted:
            return
        if certificate is None:
            self._filter = ChannelBindingFilter()
        else:
            self._hides_certificate = opened.transport.get_extra_info("ssl_object").getpeercert(True) != certificate

    def data_received(self, data: bytes) -> None:
        if self._abandoned:
            return
        if self._second_try and data[:1] == b"E":
            self._abandoned = True
            if self._leg.transport is not None:
                self._leg.transport.abort()
            self._events.try_again(data)
            return
        self._settle(data)
        over = False
        for original, sent in [(None, data)] if self._filter is None else self._filter.feed(data):
            self._leg.write(sent)
            if original is None:
                self._leg.record(sent)
            else:
                self._leg.record_rewritten(original, sent)
            for code, body, _ in self._framer.feed(BACKEND, sent):
                if self._hides_certificate and code == ord("R") and PLUS in body:
                    self._hides_certificate = False
                    self._events.channel_binding()
                if code == ord("K"):
                    self._events.key(body)
                over = over or code in (ord("Z"), codes.OPAQUE)
        if over:
            self._leg.hand_to(self._leg)
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
