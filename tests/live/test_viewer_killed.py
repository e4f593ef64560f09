"""The viewer is killed in the middle of the work: nobody who works notices.

`pgtrace listen` runs as its user runs it, on a terminal of its own (or as lines, without one),
while several clients work through it. `kill -9` takes the process they all came through; its
recorder, which has nobody left to tell, serves them to their end, then ends itself and leaves
nothing behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from pgtrace.demo.ports import free_port
from pgtrace.trace.trace import Trace
from tests.live.traffic import children, until, until_ended

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")

CLIENTS = 5
AFTERWARDS = 200
"""Queries each client still does once the viewer is gone."""
SHOWN = "seen_by_the_viewer"
"""A word of the clients' SQL: on the screen it says that the viewer is at work."""
ON_ITS_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


class Screen:
    """The other side of a terminal: takes what the viewer writes."""

    def __init__(self) -> None:
        self._master, self.terminal = pty.openpty()
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
        self.written = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # EIO: nobody has the terminal open any more
            while data := os.read(self._master, 65536):
                self.written += data

    def close(self) -> None:
        os.close(self.terminal)
        self._reader.join()
        os.close(self._master)


class Client(threading.Thread):
    """Asks and checks the answers until the viewer is gone, and then a while longer."""

    def __init__(self, url: str, number: int, gone: threading.Event) -> None:
        super().__init__()
        self.done = 0
        self.failure: Exception | None = None
        self._url, self._number, self._gone = url, number, gone

    def run(self) -> None:
        try:
            with psycopg.connect(self._url, autocommit=True) as connection:
                left = AFTERWARDS
                while left:
                    query = f"select %s::int as {SHOWN}, repeat('x', %s)"
                    assert connection.execute(query, (self._number, self.done % 5000)).fetchone() == (
                        self._number,
                        "x" * (self.done % 5000),
                    )
                    self.done += 1
                    left -= self._gone.is_set()
        except Exception as error:
            self.failure = error


@contextlib.contextmanager
def viewer(*arguments: str, temporary: Path) -> Iterator[tuple[subprocess.Popen[bytes], Screen]]:
    """`pgtrace listen` on a terminal."""
    environment = os.environ | {"TMPDIR": str(temporary), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
    for name in ("COLUMNS", "LINES"):  # pytest's own width is not the screen's
        environment.pop(name, None)
    command = [sys.executable, "-c", ON_ITS_TERMINAL, "-m", "pgtrace", "listen", *arguments]
    with closing(Screen()) as screen:
        ends = {"stdin": screen.terminal, "stdout": screen.terminal, "stderr": screen.terminal}
        with subprocess.Popen(command, env=environment, start_new_session=True, **ends) as process:
            try:
                yield process, screen
            finally:
                process.kill()


def recorder_of(viewer: int) -> int | None:
    """The recorder among the children of a process."""
    for child in children(viewer):
        if b"pgtrace.proxy" in Path(f"/proc/{child}/cmdline").read_bytes():
            return child
    return None


@pytest.mark.parametrize("options", [(), ("-w",), ("--no-tui",)], ids=["screen", "screen and file", "lines"])
def test_everybody_finishes(options, server, tmp_path):
    port, written = free_port(), tmp_path / "written.pgtrace"
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    arguments = [f"127.0.0.1:{port}", "--upstream", f"{server.host}:{server.port}", *options, *([str(written)] if "-w" in options else [])]
    gone = threading.Event()
    with viewer(*arguments, temporary=temporary) as (process, screen):
        recorder = until(lambda: recorder_of(process.pid))
        assert recorder is not None
        until(lambda: port in listening(recorder))
        clients = [Client(server.url("127.0.0.1", port), number, gone) for number in range(CLIENTS)]
        try:
            for client in clients:
                client.start()
            until(lambda: [client.done for client in clients], lambda done: min(done) > 20)
            until(lambda: SHOWN.encode() in screen.written)
            assert len(list(temporary.glob("*/capture"))) == ("-w" not in options)
            process.send_signal(signal.SIGKILL)
            assert process.wait(20) == -signal.SIGKILL
        finally:
            gone.set()
        for client in clients:
            client.join(60)
        until_ended(recorder)
    assert [client.failure for client in clients] == [None] * CLIENTS
    assert min(client.done for client in clients) >= AFTERWARDS + 20
    assert list(temporary.iterdir()) == []
    if written.exists():
        with closing(Trace.open([written])) as trace:
            trace.update()
            assert trace.complete
            assert trace.totals().executions == sum(client.done for client in clients)
    assert written.exists() == ("-w" in options)


def listening(pid: int) -> set[int]:
    """The local TCP ports of the process's network on which somebody listens."""
    lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {int(fields[1].rpartition(":")[2], 16) for fields in lines if fields[3] == "0A"}
