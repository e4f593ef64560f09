"""TLS on both legs: to the upstream by libpq's rules, and to the driver if pgtrace terminates it.

    disable      never
    allow        only if the server refuses without it
    prefer       if the server offers it, otherwise without
    require      always
    verify-ca    always, and the certificate comes from a known CA
    verify-full  always, and the certificate also carries the host's name

As in libpq, a root certificate that exists is used whatever the mode: `require` then verifies the
CA. `sslrootcert=system` means the system's store and needs verify-full. With a list of revoked
certificates (sslcrl, sslcrldir, ~/.postgresql/root.crl beside a root certificate) the whole chain
is checked against it, and a list that cannot be used is refused. We send the name of the host (SNI)
unless sslsni=0, and offer ALPN `postgresql`. With sslnegotiation=direct the server must accept it.

We read the answer to SSLRequest as exactly one byte from the bare socket, before anything else can
read from it. If somebody put plain bytes after it, they stay in the kernel and break the handshake
(CVE-2021-23222).

On the driver's leg we offer ALPN `postgresql`, and a driver that begins with TLS immediately must
ask for it, as a server requires. Otherwise a browser, taken for a driver, could be made to send
something it does not mean.
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
_BEGIN_OF_CERTIFICATE: Final = "-----BEGIN CERTIFICATE-----"
_END_OF_CERTIFICATE: Final = "-----END CERTIFICATE-----\n"
TLS_VERSIONS: Final = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}


class Ending(ssl.SSLObject):
    """TLS that can be read to its end after we have ended our own direction.

    OpenSSL then reports the end as an error, and the event loop drops the bytes that it has read
    before the end in the same turn. It would drop a server's answer to a driver that has
    half-closed, if the server closes right after it.
    """

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        try:
            return super().read(len, buffer)
        except ssl.SSLZeroReturnError:
            return b""


class DriverSide:
    """How the driver's leg is encrypted."""

    def __init__(self, tls: DriverTls) -> None:
        """Raises AddressError if the certificate or key cannot be used."""
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
            raise AddressError(tls.certificate, f"cannot use this certificate and key for drivers: {reason}") from None


def server_name(tls: ssl.SSLObject) -> str:
    """The name that the driver asked for (SNI); empty if it asked for none."""
    name: str = getattr(tls, "requested_name", None) or ""
    return name


def _remember_name(tls: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
    tls.requested_name = name  # type: ignore[attr-defined]


def upstream_context(upstream: Upstream) -> ssl.SSLContext | None:
    """TLS of the upstream leg; None if it is never encrypted. Raises AddressError if a file cannot
    be used."""
    if upstream.sslmode == "disable" or all(host.unix is not None for host in upstream.hosts):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslobject_class = Ending
    with warnings.catch_warnings():  # the oldest versions are deprecated, but the user chose them
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = TLS_VERSIONS[upstream.ssl_min_protocol_version]
        if upstream.ssl_max_protocol_version:
            context.maximum_version = TLS_VERSIONS[upstream.ssl_max_protocol_version]
    context.set_alpn_protocols([ALPN])
    log_keys(context, upstream.sslkeylogfile)
    context.check_hostname = upstream.sslmode == "verify-full"
    _trust(context, upstream)
    if context.check_hostname and not upstream.sslsni:
        raise AddressError("", "sslsni=0 and sslmode=verify-full cannot be combined here: the name to verify is always sent")
    if upstream.sslcert is not None:
        try:
            context.load_cert_chain(upstream.sslcert, upstream.sslkey, password=upstream.sslpassword.encode)
        except (OSError, ssl.SSLError) as error:
            if upstream.sslcert_is_from_home and SSL_MODES.index(upstream.sslmode) < SSL_MODES.index("require"):
                # The user asked for neither the certificate nor TLS, and the server may know
                # neither: libpq would not even have looked at the certificate.
                return upstream_context(without_certificate(upstream))
            raise AddressError(upstream.sslcert, f"cannot use this certificate and key: {error.strerror or error}") from None
    return context


def without_certificate(upstream: Upstream) -> Upstream:
    """The same upstream, without a client certificate."""
    return dataclasses.replace(upstream, sslcert=None, sslkey=None, sslcert_is_from_home=False)


def _trust(context: ssl.SSLContext, upstream: Upstream) -> None:
    """Load the trusted and the revoked certificates. There must be a list of revoked certificates
    (sslcrl, sslcrldir) for each authority in the chain."""
    root = upstream.sslrootcert
    if root == "system":
        if upstream.sslmode != "verify-full":
            raise AddressError(upstream.display, f"sslrootcert=system needs sslmode=verify-full, not {upstream.sslmode}")
        context.load_default_certs()
    elif root is not None and os.path.exists(root):
        try:
            context.load_verify_locations(root)
        except (OSError, ssl.SSLError) as error:
            raise AddressError(root, f"cannot use this root certificate: {error.strerror or error}") from None
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
        raise AddressError(revoked, "revoked certificates are checked only if certificates are verified: set sslrootcert")
    try:
        if upstream.sslcrldir and not os.path.isdir(upstream.sslcrldir):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), upstream.sslcrldir)
        context.load_verify_locations(upstream.sslcrl, upstream.sslcrldir)
    except (OSError, ssl.SSLError) as error:
        raise AddressError(revoked, f"cannot use this list of revoked certificates: {error.strerror or error}") from None
    context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_CHAIN


async def request_tls(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> bytes:
    """The server's answer to SSLRequest: one byte, `S` or `N`; `E` or another if it is not such a
    server; empty if it closed the connection."""
    await loop.sock_sendall(sock, SSL_REQUEST)
    return await loop.sock_recv(sock, 1)
