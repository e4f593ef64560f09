"""A driver's socket, without a driver."""

from __future__ import annotations

import contextlib
import socket
import ssl

from pgtrace.address import bound_path
from pgtrace.recorder import Recorder
from tests.proxy.wire import READY, STARTUP, read_exactly


def connect(recorder: Recorder) -> socket.socket:
    """A driver's socket before the recorder."""
    if recorder.listen.unix is not None:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(bound_path(recorder.addresses[0].removeprefix("unix:")))
    else:
        sock = socket.create_connection((recorder.host, recorder.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.settimeout(60)
    return sock


def log_in(sock: socket.socket) -> None:
    """Get past the start-up of a server that lets everybody in."""
    sock.sendall(STARTUP)
    assert read_exactly(sock, len(READY)) == READY


class Tls:
    """A driver's TLS without a socket of its own, so that its records can be sent in any pieces."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, name: str = "localhost") -> None:
        self.sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)

    def hello(self) -> bytes:
        """The first record."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        return self._outgoing.read()

    def handshake(self, then: bytes = b"", *, ends: bool = False) -> None:
        """The rest of the handshake; its last record is sent together with what comes `then`."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self.sock.sendall(self._outgoing.read())
                self.take()
            else:
                break
        self.send(then, ends=ends)

    def send(self, data: bytes, *, ends: bool = False) -> None:
        """Send it; with `ends` and a close_notify, in one go."""
        if data:
            self._tls.write(data)
        if ends:
            with contextlib.suppress(ssl.SSLWantReadError):
                self._tls.unwrap()
        self.sock.sendall(self._outgoing.read())

    def end(self) -> None:
        """Send a close_notify; reading goes on."""
        self.send(b"", ends=True)

    def is_over(self) -> bool:
        """Whether the other side ended in order, behind everything that was received."""
        with contextlib.suppress(ssl.SSLZeroReturnError):
            while True:
                try:
                    return self._tls.read(1) == b""
                except ssl.SSLWantReadError:
                    self.take()
        return True

    def has_ended(self) -> bool:
        """Whether the other side ended in order with what was received so far, and sent nothing else."""
        try:
            return self._tls.read(1) == b""
        except ssl.SSLZeroReturnError:
            return True
        except ssl.SSLWantReadError:
            return False

    def receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                data += self._tls.read(size - len(data))
            except ssl.SSLWantReadError:
                self.take()
        return data

    def some(self) -> bytes:
        """What comes next; nothing once the other side ended in order."""
        while True:
            try:
                return self._tls.read(1 << 16)
            except ssl.SSLWantReadError:
                self.take()
            except ssl.SSLZeroReturnError:
                return b""

    def take(self) -> None:
        """Wait for bytes and take them."""
        data = self.sock.recv(1 << 16)
        if not data:
            raise ConnectionError("closed")
        self._incoming.write(data)
