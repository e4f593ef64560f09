"""TLS on both legs: to the upstream in libpq's words, and to the driver where pgtrace ends it.

    disable       never            allow    only when the server refuses without it
    prefer        when the server does it, else without          require  or not at all
    verify-ca     and the certificate comes from a known CA      verify-full  and it carries the host's name

A root certificate that exists is used whatever the mode says, as libpq does it: `require` then verifies the CA. `sslrootcert=system` means the
system's store and needs verify-full. With a list of revoked certificates (sslcrl, sslcrldir, ~/.postgresql/root.crl beside a root certificate)
the whole chain is checked against it, and a list that cannot be used is refused. The name of the host is sent (SNI) unless sslsni=0, and ALPN
`postgresql` is offered; a server reached by sslnegotiation=direct must accept it.

The answer to SSLRequest is read as exactly one byte from the bare socket, before anything else can read from it: plain bytes that somebody put behind
it stay in the kernel and break the handshake (CVE-2021-23222).

Channel binding: SCRAM-SHA-256-PLUS binds a login to the TLS connection it runs in. A driver on a plain leg must not be offered the server's PLUS:
ChannelBindingFilter takes it out of AuthenticationSASL, the only bytes of a session pgtrace ever changes. With TLS on both legs nothing helps: a driver that
binds finds another certificate than the server's, and one that is not offered PLUS takes that for an attack. Unless the certificate is the server's own,
CHANNEL_BINDING says what can be done.

The driver's leg: ALPN `postgresql` is offered, and a driver that begins with TLS at once must ask for it, as a server demands it (a browser or a port scan
that is taken for a driver could be made to say what it does not mean).
"""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import os
import socket
import ssl
import struct
import warnings
from typing import Any, Final

from pgtrace.address import Upstream
from pgtrace.certificates import DriverTls
from pgtrace.errors import AddressError
from pgtrace.parameters import SSL_MODES
from pgtrace.protocol import codes
from pgtrace.proxy.keylog import log_keys

SSL_REQUEST: Final = struct.pack(">II", 8, codes.SSL_REQUEST_CODE)
ALPN: Final = "postgresql"
PLUS: Final = b"SCRAM-SHA-256-PLUS"
_BEGIN_OF_CERTIFICATE: Final = "-----BEGIN CERTIFICATE-----"
_END_OF_CERTIFICATE: Final = "-----END CERTIFICATE-----\n"
TLS_VERSIONS: Final = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}
LONGEST_AUTHENTICATION: Final = 2000
"""libpq's bound on an authentication request."""


CHANNEL_BINDING: Final = (
    "the server offers SCRAM-SHA-256-PLUS and both legs are encrypted with different certificates: a driver that uses channel binding (libpq at its default) "
    "is going to fail. Ways out: a plain driver leg (without --tls), channel_binding=disable in the driver, the server's own certificate and key "
    "(--tls-cert, --tls-key), or --tls pass"
)


class Ending(ssl.SSLObject):
    """TLS that can be read to its end after we ended our own direction.

    OpenSSL then says the end as an error, and the event loop throws away what it read before that in the same turn: a server's answer to a driver that
    has half-closed, where the server closes at once behind it.
    """

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        try:
            return super().read(len, buffer)
        except ssl.SSLZeroReturnError:
            return b""


class DriverSide:
    """What the driver's leg is encrypted with."""

    def __init__(self, tls: DriverTls) -> None:
        """AddressError where certificate or key cannot be used."""
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols([ALPN])
        self.context.sni_callback = _remember_name
        log_keys(self.context)
        try:
            self.context.load_cert_chain(tls.certificate, tls.key or None, password=lambda: b"")
            with open(tls.certificate, encoding="ascii") as file:
                first = file.read().partition(_END_OF_CERTIFICATE)[0]
            self.certificate = ssl.PEM_cert_to_DER_cert(first[first.index(_BEGIN_OF_CERTIFICATE) :] + _END_OF_CERTIFICATE)
        except (OSError, ssl.SSLError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise AddressError(tls.certificate, f"no certificate with its key for the driver's leg: {reason}") from None


def server_name(tls: ssl.SSLObject) -> str:
    """The name the driver asked for (SNI); empty where it asked for none."""
    name: str = getattr(tls, "requested_name", None) or ""
    return name


def _remember_name(tls: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
    tls.requested_name = name  # type: ignore[attr-defined]


def upstream_context(upstream: Upstream) -> ssl.SSLContext | None:
    """What the upstream leg is encrypted with, None where it never is; AddressError where a file cannot be used."""
    if upstream.sslmode == "disable" or all(host.unix is not None for host in upstream.hosts):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslobject_class = Ending
    with warnings.catch_warnings():  # the oldest versions are deprecated, and the user's choice
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = TLS_VERSIONS[upstream.ssl_min_protocol_version]
        if upstream.ssl_max_protocol_version:
            context.maximum_version = TLS_VERSIONS[upstream.ssl_max_protocol_version]
    context.set_alpn_protocols([ALPN])
    log_keys(context, upstream.sslkeylogfile)
    context.check_hostname = upstream.sslmode == "verify-full"
    _trust(context, upstream)
    if context.check_hostname and not upstream.sslsni:
        raise AddressError("", "sslsni=0 does not go with sslmode=verify-full here: the name that is verified is always sent")
    if upstream.sslcert is not None:
        try:
            context.load_cert_chain(upstream.sslcert, upstream.sslkey, password=upstream.sslpassword.encode)
        except (OSError, ssl.SSLError) as error:
            if upstream.sslcert_is_from_home and SSL_MODES.index(upstream.sslmode) < SSL_MODES.index("require"):
                # Nobody asked for it nor for TLS, and the server may know neither: libpq would not even have looked at it.
                return upstream_context(without_certificate(upstream))
            raise AddressError(upstream.sslcert, f"no certificate with its key: {error.strerror or error}") from None
    return context


def without_certificate(upstream: Upstream) -> Upstream:
    """The same upstream, to which nobody is introduced."""
    return dataclasses.replace(upstream, sslcert=None, sslkey=None, sslcert_is_from_home=False)


def _trust(context: ssl.SSLContext, upstream: Upstream) -> None:
    """Load whom to trust, and what was revoked. Lists of revoked certificates (sslcrl, sslcrldir) have to have one of each authority in the chain."""
    root = upstream.sslrootcert
    if root == "system":
        if upstream.sslmode != "verify-full":
            raise AddressError(upstream.display, f"sslrootcert=system needs sslmode=verify-full, not {upstream.sslmode}")
        context.load_default_certs()
    elif root is not None and os.path.exists(root):
        try:
            context.load_verify_locations(root)
        except (OSError, ssl.SSLError) as error:
            raise AddressError(root, f"no root certificate: {error.strerror or error}") from None
    elif SSL_MODES.index(upstream.sslmode) >= SSL_MODES.index("verify-ca"):
        raise AddressError(
            upstream.display,
            f"sslmode={upstream.sslmode} needs a root certificate and {root or '~/.postgresql/root.crt'} does not exist: set sslrootcert",
        )
    else:
        context.verify_mode = ssl.CERT_NONE
    revoked = upstream.sslcrl or upstream.sslcrldir
    if revoked is None:
        return
    if context.verify_mode == ssl.CERT_NONE:
        raise AddressError(revoked, "a list of revoked certificates is looked at only where certificates are verified: set sslrootcert")
    try:
        if upstream.sslcrldir and not os.path.isdir(upstream.sslcrldir):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), upstream.sslcrldir)
        context.load_verify_locations(upstream.sslcrl, upstream.sslcrldir)
    except (OSError, ssl.SSLError) as error:
        raise AddressError(revoked, f"no list of revoked certificates: {error.strerror or error}") from None
    context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_CHAIN


async def request_tls(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> bytes:
    """The server's answer to SSLRequest: one byte, `S` or `N`, or `E` and others from what is no such server; empty where it closed."""
    await loop.sock_sendall(sock, SSL_REQUEST)
    return await loop.sock_recv(sock, 1)


class ChannelBindingFilter:
    """Takes SCRAM-SHA-256-PLUS out of what the server offers, wherever its bytes are cut.

    Only an authentication request is ever held until it is whole, and fewer than five bytes of a header.
    """

    __slots__ = ("_held", "_skip", "done")

    def __init__(self) -> None:
        self.done = False
        """Whether there is nothing left to look for."""
        self._held = b""
        self._skip = 0  # bytes of a message that is none of ours

    def feed(self, data: bytes) -> list[tuple[bytes | None, bytes]]:
        """Pieces to send in this order: (None, bytes as they came) or (bytes as they came, bytes to send instead)."""
        data = self._held + data
        self._held = b""
        position = min(self._skip, len(data))
        self._skip -= position
        while not self.done and position < len(data):
            if position + 5 > len(data):
                self._held = data[position:]
                break
            length = int.from_bytes(data[position + 1 : position + 5], "big")
            stop = position + 1 + length
            if data[position] != 0x52:
                self.done = length < 4 or data[position] in b"EZ"
                self._skip = max(0, stop - len(data))
                position = min(stop, len(data))
                continue
            if not 8 <= length <= LONGEST_AUTHENTICATION:
                self.done = True
            elif stop > len(data):
                self._held = data[position:]
                break
            else:
                subtype = codes.authentication_subtype(data[position + 5 : stop])
                self.done = subtype in (codes.AUTH_OK, codes.AUTH_SASL)
                changed = _without_channel_binding(data[position + 5 : stop]) if subtype == codes.AUTH_SASL else None
                if changed is not None:
                    pieces: list[tuple[bytes | None, bytes]] = [
                        (None, data[:position]),
                        (data[position:stop], changed),
                        (None, data[stop:]),
                    ]
                    return [piece for piece in pieces if piece[1]]
                position = stop
        passed = data[: len(data) - len(self._held)]
        return [(None, passed)] if passed else []


def _without_channel_binding(body: bytes) -> bytes | None:
    """The whole AuthenticationSASL to send instead of this body of one, None where it does not offer SCRAM-SHA-256-PLUS.

    By hand, not by protocol/authentication.py: construct would take the first session 90 ms of everybody's time, and the process 10 MiB.
    """
    mechanisms = body[4:].split(b"\0")
    if PLUS not in mechanisms or mechanisms[-2:] != [b"", b""]:
        return None
    rest = body[:4] + b"\0".join(name for name in mechanisms if name != PLUS)
    return struct.pack(">cI", b"R", len(rest) + 4) + rest
