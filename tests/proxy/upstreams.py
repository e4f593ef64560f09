"""Servers without PostgreSQL to put behind a recorder, and a look into what it recorded."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from pgtrace.address import Host, Listen, Upstream, bound_path
from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.record import Data, Made, Record, Rewrite
from pgtrace.protocol.codes import BACKEND
from pgtrace.recorder import Recorder

STARTUP = b"\0\0\0\x11\0\3\0\0user\0me\0\0"
SSL_REQUEST = struct.pack(">II", 8, 80877103)
GSSENC_REQUEST = struct.pack(">II", 8, 80877104)
READY = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"
ANY_PORT = Listen(("127.0.0.1",), 0)


class Scripted:
    """A server that gives each connection to `serve`, in a thread of its own, and remembers what went wrong there."""

    def __init__(self, serve: Callable[[socket.socket], None], path: str | None = None) -> None:
        self.accepted = 0
        self.errors: list[BaseException] = []
        self._serve = serve
        if path is None:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.port = self._listener.getsockname()[1]
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(path)
            self._listener.listen()
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)

    @property
    def upstream(self) -> Upstream:
        return Upstream((Host("127.0.0.1", self.port),), sslmode="disable")

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            thread = threading.Thread(target=self._one, args=(connection,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _one(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(20)
            try:
                self._serve(connection)
            except BaseException as error:
                self.errors.append(error)

    def __enter__(self) -> Scripted:
        self._accepting.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(20)
        if error is None:
            assert not self.errors, self.errors


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

    def receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                data += self._tls.read(size - len(data))
            except ssl.SSLWantReadError:
                self.take()
        return data

    def take(self) -> None:
        """Wait for bytes and take them."""
        data = self.sock.recv(1 << 16)
        if not data:
            raise ConnectionError("closed")
        self._incoming.write(data)


def echo(connection: socket.socket) -> None:
    """Let everybody in, then send back what comes, then the end."""
    read_exactly(connection, len(STARTUP))
    connection.sendall(READY)
    while data := connection.recv(1 << 16):
        connection.sendall(data)


@contextlib.contextmanager
def recording(upstream: Upstream, listen: Listen = ANY_PORT, **options: object) -> Iterator[Recorder]:
    """A running recorder with a temporary capture."""
    with Recorder(listen, upstream, **options) as recorder:  # type: ignore[arg-type]
        yield recorder
        assert recorder.stats()["failures"] == 0, recorder.log


def connect(recorder: Recorder) -> socket.socket:
    """A driver's socket before the recorder."""
    if recorder.listen.unix is not None:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(bound_path(recorder.addresses[0].removeprefix("unix:")))
    else:
        sock = socket.create_connection((recorder.host, recorder.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.settimeout(20)
    return sock


def log_in(sock: socket.socket) -> None:
    """Get past the start-up of a server that lets everybody in."""
    sock.sendall(STARTUP)
    assert read_exactly(sock, len(READY)) == READY


def row(data: bytes) -> bytes:
    """A message that holds `data`, so that a capture keeps it."""
    return struct.pack(">cI", b"D", len(data) + 4) + data


def read_exactly(sock: socket.socket, size: int) -> bytes:
    """That many bytes, fewer only at the end of the stream."""
    parts = bytearray()
    while len(parts) < size and (data := sock.recv(min(1 << 20, size - len(parts)))):
        parts += data
    return bytes(parts)


def read_all(sock: socket.socket) -> bytes:
    """Everything up to the end of the stream."""
    parts = bytearray()
    while data := sock.recv(1 << 20):
        parts += data
    return bytes(parts)


def reset(sock: socket.socket) -> None:
    """Close with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def records(recorder: Recorder) -> list[Record]:
    """All that is recorded up to now."""
    recorder.flush()
    return records_in(recorder.capture)


def records_in(path: Path) -> list[Record]:
    """All the records of a capture."""
    found: list[Record] = []
    with contextlib.closing(CaptureReader(path)) as reader:
        while blocks := reader.read():
            for block in blocks:
                found += block.records
    return found


def of_kind(found: list[Record], kind: type) -> list[Record]:
    """The records of one kind."""
    return [record for record in found if type(record) is kind]


def stream(found: list[Record], side: int, connection: int = 1) -> bytes:
    """One direction of a connection as the capture has it; the offsets must fit."""
    parts = bytearray()
    for record in found:
        mine = (type(record) in (Data, Rewrite) and record.side == side) or (type(record) is Made and side == BACKEND)  # type: ignore[union-attr]
        if mine and record.connection == connection:  # type: ignore[union-attr]
            assert record.offset == len(parts)  # type: ignore[union-attr]
            parts += record.data  # type: ignore[union-attr]
    return bytes(parts)


def wait_for_end(recorder: Recorder) -> list[Record]:
    """The records once no session is left."""
    while recorder.stats()["connections"]:
        pass
    return records(recorder)
