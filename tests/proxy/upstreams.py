"""Servers without PostgreSQL to put behind a recorder."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

from pgtrace.address import Host, Upstream
from tests.proxy.wire import READY, STARTUP, read_exactly


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
            connection.settimeout(60)
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


def echo(connection: socket.socket) -> None:
    """Let everybody in, then send back what comes, then the end."""
    read_exactly(connection, len(STARTUP))
    connection.sendall(READY)
    while data := connection.recv(1 << 16):
        connection.sendall(data)
