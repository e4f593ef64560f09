"""The sockets that drivers connect to.

- A LISTEN with several addresses is the same port on each of them. A loopback address that this
  machine does not have (::1 without IPv6) is left out. Port 0 picks a free port.
- A Unix socket has mode 0600 unless others are allowed, because its mode is what keeps them out.
  Its directory is created with mode 0700 if it does not exist. A socket that a dead process left
  behind is removed first. When we end, we remove the socket only if it is still our own.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from typing import Final

from pgtrace.address import LOOPBACK, Listen, bound_path, display_address, socket_path
from pgtrace.errors import ListenError
from pgtrace.proxy.upstream import Endpoint

BACKLOG: Final = 4096
PORT_TRIES: Final = 20
"""How often another free port is tried if the second loopback does not have the first one's."""


class Listener:
    """The sockets of one LISTEN."""

    def __init__(self, listen: Listen, *, allow_others: bool) -> None:
        """Bind the sockets. Raises ListenError."""
        self._own_socket: tuple[str, int] | None = None
        self.port = listen.port
        self.addresses: list[str] = []
        if listen.unix is not None:
            self.sockets = [self._unix_socket(listen, listen.unix, allow_others=allow_others)]
        else:
            self.sockets = self._tcp_sockets(listen)

    @property
    def hosts(self) -> list[str]:
        """The addresses of its TCP sockets."""
        return [sock.getsockname()[0] for sock in self.sockets if sock.family != socket.AF_UNIX]

    def close(self) -> None:
        """Close the sockets, if no driver has been accepted."""
        for sock in self.sockets:
            sock.close()

    def remove(self) -> None:
        """Remove the Unix socket's file, unless something else has replaced it."""
        if self._own_socket is not None:
            path, inode = self._own_socket
            self._own_socket = None
            try:
                if os.stat(path).st_ino == inode:
                    os.unlink(path)
            except OSError:
                pass

    def _tcp_sockets(self, listen: Listen) -> list[socket.socket]:
        for _ in range(PORT_TRIES):
            sockets: list[socket.socket] = []
            port = listen.port
            try:
                for host in listen.hosts:
                    sock = _bound(host, port, is_optional=host in (LOOPBACK[1], "::") and len(listen.hosts) > 1)
                    if sock is not None:
                        sockets.append(sock)
                        port = sock.getsockname()[1]
            except OSError as error:
                for sock in sockets:
                    sock.close()
                if error.errno == errno.EADDRINUSE and listen.port == 0:
                    continue
                raise ListenError(display_address(host, port), _reason(error, port)) from None
            if not sockets:
                raise ListenError(listen.display, "this machine has no such address")
            self.port = port
            self.addresses = [Endpoint(sock.family, sock.getsockname()).display for sock in sockets]
            return sockets
        raise ListenError(listen.display, "no port is free on both loopback addresses")

    def _unix_socket(self, listen: Listen, directory: str, *, allow_others: bool) -> socket.socket:
        path = socket_path(directory, listen.port)
        try:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                if listen.is_abstract:
                    sock.bind(bound_path(path))
                else:
                    self._bind_file(sock, directory, path, allow_others=allow_others)
                sock.listen(BACKLOG)
            except BaseException:
                sock.close()
                raise
            sock.setblocking(False)
        except OSError as error:
            raise ListenError(f"unix:{path}", _reason(error, listen.port)) from None
        self.addresses = [f"unix:{path}"]
        return sock

    def _bind_file(self, sock: socket.socket, directory: str, path: str, *, allow_others: bool) -> None:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        _remove_stale(path)
        before = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(before)
        if allow_others:
            os.chmod(path, 0o777)  # noqa: S103 (this is what --allow-others asks for)
        self._own_socket = (path, os.stat(path).st_ino)


def _bound(host: str, port: int, *, is_optional: bool) -> socket.socket | None:
    """A socket that listens there. None if this machine does not have an optional address. Raises
    OSError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except socket.gaierror as error:
        raise OSError(errno.EADDRNOTAVAIL, f"the name cannot be resolved ({error.strerror})") from None
    try:
        sock = socket.socket(family, kind, protocol)
    except OSError:
        if is_optional:
            return None
        raise
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        if is_optional and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return None
        raise
    return sock


def _remove_stale(path: str) -> None:
    """Remove a socket on which nobody listens. Raises OSError EADDRINUSE if somebody does, or if
    the file is not a socket."""
    try:
        kind = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        trial.setblocking(False)
        try:
            trial.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except OSError:
            pass
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _reason(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return "something already listens there: choose another port, or :0 for a free one"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "no permission" + (": choose a port from 1024" if 0 < port < 1024 else "")
    if error.errno == errno.EADDRNOTAVAIL and not (error.strerror or "").startswith("the name"):
        return "this machine has no such address"
    return error.strerror or str(error)
