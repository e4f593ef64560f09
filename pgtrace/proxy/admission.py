"""Who owns a driver's connection, and how it is served. This is decided before anything else is
done for the connection.

exposure.py says who a listener serves. If it does not serve everybody, we ask the kernel about each
connection once, when it is accepted:

- An abstract Unix socket: SO_PEERCRED gives the peer's user at the time it connected.
- TCP: the other end is a socket of this host, with the same two addresses the other way round. The
  kernel finds it (sock_diag.py) and knows its user. The answer counts only if a process holds that
  socket and both ends are connected: the other end according to the answer, our own end after it.
  While our own end is connected, the two addresses can belong to no other pair, so a user is never
  mistaken for somebody who uses the same port next.
- Every other connection belongs to somebody else: it comes from another host or another network
  namespace, its addresses were translated on the way, it was closed before we looked, or the kernel
  gives no answer. So this fails closed.

In a user namespace, all users without a number in it appear as the overflow uid
(user_namespaces(7)). If pgtrace itself runs as that uid, it cannot distinguish its own connections
from theirs, so none counts as its own.

A listener that serves only its own user is tested before it is opened, with a connection of our
own. So if a system gives no answer, we find out immediately and not when a driver is refused. One
lookup takes 8 us.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from pgtrace.address import Upstream
from pgtrace.errors import ListenError
from pgtrace.exposure import Served
from pgtrace.proxy.refusals import NOT_YOURS, Refusal
from pgtrace.proxy.sock_diag import SockDiag
from pgtrace.proxy.tls import upstream_context, without_certificate

_CREDENTIALS: Final = struct.Struct("iII")
_ESTABLISHED, _FIN_WAIT1, _FIN_WAIT2, _CLOSE_WAIT = 1, 4, 5, 8
_THEIRS: Final = frozenset({_ESTABLISHED, _FIN_WAIT1, _FIN_WAIT2})
"""The states of a connected far end: our own end is still open."""
_OURS: Final = frozenset({_ESTABLISHED, _CLOSE_WAIT})
_EVERY_UID: Final = 0xFFFFFFFF


class Terms(NamedTuple):
    """How one driver is served."""

    context: ssl.SSLContext | None
    """TLS of its upstream leg; None if that leg is never encrypted."""
    refusal: Refusal | None = None
    """Why it is not served at all; None if it is. The driver receives this error."""


class Admission:
    """Decides how each driver of a listener is served."""

    def __init__(self, served: Served, upstream: Upstream) -> None:
        """Raises AddressError if the TLS settings of the upstream leg cannot be used."""
        self._served = served
        self._for_own = self._for_others = Terms(upstream_context(upstream))
        if served is Served.OWN:
            self._for_others = Terms(None, NOT_YOURS)
        elif served is Served.OWN_GET_CERTIFICATE:
            self._for_others = Terms(upstream_context(without_certificate(upstream)))
        self._owners: Owners | None = None

    def open(self, display: str, hosts: Iterable[str]) -> None:
        """Call this before drivers connect. `display` is the listener's name, `hosts` its
        addresses. Raises ListenError if this system cannot distinguish our own connections from
        others'."""
        if self._served is Served.ALL:
            return
        try:
            self._owners = Owners()
        except OSError:
            pass
        if self._served is Served.OWN and not (self._owners is not None and all(map(self._owners.works_on, hosts))):
            raise ListenError(
                display, "this system cannot tell who owns a connection: listen on a socket (unix:/dir) or use --allow-others"
            )

    def terms(self, transport: asyncio.BaseTransport) -> Terms:
        """How to serve the driver that has just connected."""
        if self._served is Served.ALL:
            return self._for_own
        sock, peer, own = (transport.get_extra_info(name) for name in ("socket", "peername", "sockname"))
        return self._for_own if self._owners is not None and self._owners.is_ours(sock, peer, own) else self._for_others

    def close(self) -> None:
        """No more drivers will connect."""
        if self._owners is not None:
            self._owners.close()


class Owners:
    """Distinguishes connections of this process's own user from all others. Raises OSError if this
    system cannot do that."""

    def __init__(self) -> None:
        self._uid = os.geteuid()
        self._kernel = SockDiag()
        self._can_distinguish = not is_shared(self._uid, _read("/proc/sys/kernel/overflowuid"), _read("/proc/self/uid_map"))

    def is_ours(self, sock: Any, peer: Any, own: Any) -> bool:
        """Whether our own user owns this accepted connection. Also False if this system cannot
        tell. `peer` and `own` are the connection's addresses."""
        if not self._can_distinguish:
            return False
        try:
            if sock.family == socket.AF_UNIX:
                pid, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
                return bool(pid) and uid == self._uid
            theirs = self._kernel.tcp_socket(peer[:2], own[:2])
            return (
                theirs is not None
                and theirs.uid == self._uid
                and theirs.inode != 0
                and theirs.state in _THEIRS
                and sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in _OURS
            )
        except (OSError, ValueError, TypeError, IndexError, struct.error):
            return False

    def works_on(self, host: str) -> bool:
        """Whether a connection of our own to that address is recognised as ours."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            with socket.create_server((host, 0), family=family) as listener, socket.socket(family) as trial:
                trial.connect(listener.getsockname())
                accepted, peer = listener.accept()
                with accepted:
                    return self.is_ours(accepted, peer, accepted.getsockname())
        except OSError:
            return False

    def close(self) -> None:
        """Close the kernel's socket. Ask nothing afterwards."""
        self._kernel.close()


def is_shared(uid: int, overflow_uid: str, uid_map: str) -> bool:
    """Whether users without a number in this user namespace also appear under this uid, according
    to the texts of these files."""
    return uid == int(overflow_uid) and sum(int(line.split()[2]) for line in uid_map.splitlines()) < _EVERY_UID


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()
