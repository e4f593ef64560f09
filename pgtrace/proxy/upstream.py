"""Opens the upstream leg: a socket to the first address that answers, encrypted as sslmode says.

Names are resolved every time, so a server that has moved is found. As in libpq, hosts are tried in
order, and every address of each. If a host cannot be resolved or connected to, it is skipped; a
later failure (TLS, authentication) is final. We connect the bare socket and request TLS on it. A
transport is made only when the next bytes are the session's. A Unix socket is never encrypted.

With `prefer` and `allow` libpq has a second try: the other kind of encryption, if the server
refuses the first before authentication. `Opened.second_try` says whether it is possible. The
start-up makes it (startup.py); nothing has been forwarded by then.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
import ssl
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from pgtrace.address import Host, Upstream, bound_path, display_address
from pgtrace.errors import UpstreamError
from pgtrace.proxy.tls import ALPN, request_tls

CONNECT_S: Final = 10.0
"""How long one address, and one TLS handshake, may take."""
RETRY_S: Final = 0.01
"""How soon to try again: a Unix socket with a full queue refuses instead of waiting."""
_UCRED: Final = struct.Struct("iII")
_XUCRED: Final = struct.Struct("II")
_LOCAL_PEERCRED: Final = 1


class Endpoint(NamedTuple):
    """One resolved address."""

    family: int
    address: Any
    name: str = ""
    """The name that its certificate must carry."""

    @property
    def display(self) -> str:
        if self.family == socket.AF_UNIX:
            return f"unix:{os.fsdecode(self.address).replace(chr(0), '@')}"
        return display_address(self.address[0], self.address[1])


Dialled = tuple[socket.socket, Endpoint]
"""A connection on which no byte has passed yet."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An upstream leg that is ready for the session's bytes."""

    transport: asyncio.Transport
    endpoint: Endpoint
    encrypted: bool
    second_try: bool
    """Whether the other kind of encryption may be tried if the server refuses this one."""


async def open_leg(
    upstream: Upstream,
    context: ssl.SSLContext | None,
    factory: Callable[[], asyncio.Protocol],
    *,
    endpoint: Endpoint | None = None,
    encrypted: bool | None = None,
    dialled: Dialled | None = None,
) -> Opened:
    """Connect, encrypt, and give the socket to the protocol of `factory`. Raises UpstreamError with
    the system's reason.

    `endpoint` is an address that is already known. `encrypted` asks for one kind of encryption,
    without falling back to the other. `dialled` is a connection to use.
    """
    mode = upstream.sslmode
    if dialled is not None and endpoint not in (None, dialled[1]):
        dialled[0].close()
        dialled = None
    first = dialled or await dial(upstream, endpoint)
    if context is None or encrypted is False:
        return await _open(upstream, None, factory, first)
    if encrypted:
        return await _open(upstream, context, factory, first, insist=True)
    if mode == "allow":
        opened = await _open(upstream, None, factory, first)
        return Opened(opened.transport, opened.endpoint, False, opened.endpoint.family != socket.AF_UNIX)
    if mode == "prefer":
        try:
            opened = await _open(upstream, context, factory, first, insist=False)
        except _NoTls:
            return await _open(upstream, None, factory, await dial(upstream, endpoint))
        return Opened(opened.transport, opened.endpoint, opened.encrypted, opened.encrypted)
    return await _open(upstream, context, factory, first, insist=True)


class _NoTls(UpstreamError):
    """TLS failed on an open connection: `prefer` continues without TLS."""


async def _open(
    upstream: Upstream,
    context: ssl.SSLContext | None,
    factory: Callable[[], asyncio.Protocol],
    dialled: Dialled,
    *,
    insist: bool = False,
) -> Opened:
    loop = asyncio.get_running_loop()
    sock, endpoint = dialled
    if endpoint.family == socket.AF_UNIX:
        context = None
    try:
        if upstream.requirepeer is not None and endpoint.family == socket.AF_UNIX:
            check_peer(sock, upstream)
        if context is not None and upstream.sslnegotiation == "postgres":
            async with asyncio.timeout(CONNECT_S):
                reply = await request_tls(loop, sock)
            if reply == b"N" and not insist:
                context = None
            elif reply == b"N":
                raise UpstreamError(upstream.display, f"the server does not offer TLS, and sslmode={upstream.sslmode} requires it")
            elif reply != b"S":
                raise _NoTls(
                    upstream.display,
                    f"the server answered SSLRequest with {reply!r}" if reply else "the server closed the connection at SSLRequest",
                )
        if context is None:
            transport = await _transport(loop, sock, factory, None, "")
        else:
            transport = await _transport(loop, sock, factory, context, endpoint.name if upstream.sslsni else "")
            tls = transport.get_extra_info("ssl_object")
            if upstream.sslnegotiation == "direct" and tls.selected_alpn_protocol() != ALPN:
                transport.abort()
                raise UpstreamError(upstream.display, "the server does not accept ALPN postgresql, which sslnegotiation=direct needs")
    except (OSError, ssl.SSLError) as error:
        sock.close()
        raise _NoTls(upstream.display, f"TLS failed: {reason(error)}") from None
    except BaseException:
        sock.close()
        raise
    return Opened(transport, endpoint, context is not None, False)


def check_peer(sock: socket.socket, upstream: Upstream) -> None:
    """Check the user of the server process. Raises UpstreamError if the process at the other end of
    a Unix socket is not `requirepeer`'s, or if this system cannot tell."""
    uid = _peer_uid(sock)
    try:
        name = pwd.getpwuid(uid).pw_name if uid is not None else ""
    except KeyError:
        name = ""
    if name != upstream.requirepeer:
        unnamed = "the server's user has no name" if uid is not None else "this system cannot tell who the server runs as"
        actual = f"the server runs as {name}" if name else unnamed
        raise UpstreamError(upstream.display, f"requirepeer={upstream.requirepeer}, but {actual}")


def _peer_uid(sock: socket.socket) -> int | None:
    """The user of the process that listens on a Unix socket; None if the system does not say."""
    if sys.platform == "linux":
        return _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))[1]  # type: ignore[no-any-return]
    if sys.platform == "darwin":
        return _XUCRED.unpack_from(sock.getsockopt(0, _LOCAL_PEERCRED, 256))[1]  # type: ignore[no-any-return]
    return None


async def _transport(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, factory: Callable[[], asyncio.Protocol], context: ssl.SSLContext | None, host: str
) -> asyncio.Transport:
    if sock.family == socket.AF_UNIX:
        return (await loop.create_unix_connection(factory, sock=sock))[0]
    if context is None:
        return (await loop.create_connection(factory, sock=sock))[0]
    return (
        await loop.create_connection(
            factory, sock=sock, ssl=context, server_hostname=host, ssl_handshake_timeout=CONNECT_S, ssl_shutdown_timeout=CONNECT_S
        )
    )[0]


async def dial(upstream: Upstream, known: Endpoint | None = None) -> Dialled:
    """Connect to the known address, otherwise to the first address that accepts. Raises
    UpstreamError with the reason for each."""
    loop = asyncio.get_running_loop()
    if known is not None:
        try:
            return await _dial(loop, known), known
        except OSError as error:
            raise UpstreamError(known.display, reason(error)) from None
    reasons: dict[str, None] = {}
    for host in upstream.hosts:
        try:
            endpoints = await _resolve(loop, host)
        except OSError as error:
            reasons[upstream.about(host, reason(error))] = None
            continue
        for endpoint in endpoints:
            try:
                return await _dial(loop, endpoint), endpoint
            except OSError as error:
                reasons[upstream.about(host, reason(error))] = None
    raise UpstreamError(upstream.display, "; ".join(reasons))


async def _dial(loop: asyncio.AbstractEventLoop, endpoint: Endpoint) -> socket.socket:
    """A connected socket. Raises OSError."""
    sock = socket.socket(endpoint.family, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        async with asyncio.timeout(CONNECT_S):
            if endpoint.family == socket.AF_UNIX:
                await _connect_unix(sock, endpoint.address)
            else:
                await loop.sock_connect(sock, endpoint.address)
    except BaseException:
        sock.close()
        raise
    return sock


async def _connect_unix(sock: socket.socket, path: str) -> None:
    while True:
        try:
            sock.connect(path)
        except BlockingIOError:
            await asyncio.sleep(RETRY_S)
        else:
            return


async def _resolve(loop: asyncio.AbstractEventLoop, host: Host) -> list[Endpoint]:
    """All addresses of a host. Raises OSError."""
    if host.unix is not None:
        return [Endpoint(socket.AF_UNIX, bound_path(host.socket_path), host.name)]
    async with asyncio.timeout(CONNECT_S):
        found = await loop.getaddrinfo(host.hostaddr or host.name, host.port, type=socket.SOCK_STREAM)
    return [Endpoint(info[0], info[4], host.name) for info in found]


def reason(error: OSError | ssl.SSLError) -> str:
    """The reason for a failure, in the system's words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    if isinstance(error, TimeoutError) and error.errno is None:
        return f"no answer within {CONNECT_S:.0f} s"
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    if isinstance(error, socket.gaierror):
        return f"the name cannot be resolved ({error.strerror})"
    return os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
