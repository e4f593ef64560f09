"""A person who watches: `pgtrace open` on a terminal, following a capture that grows, with less
right to the processors than the traffic (nice 10)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pgtrace.tui.app import NICE

SIZE = struct.pack("HHHH", 50, 160, 0, 0)
START_S = 30.0
STOP_S = 20.0
ON_ITS_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    f"os.nice({NICE}); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


@dataclass(frozen=True, slots=True)
class Viewer:
    """The viewer's process, and its terminal's other end."""

    pid: int
    terminal: int

    def press(self, keys: str) -> None:
        """As if somebody had typed."""
        os.write(self.terminal, keys.encode())


@contextmanager
def following(capture: Path, *program: str) -> Iterator[Viewer]:
    """A viewer, from when it has drawn something: `pgtrace open CAPTURE`, or another `program` for Python."""
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, SIZE)
    drawn = threading.Event()

    def take() -> None:
        with contextlib.suppress(OSError):  # EIO: nobody has the terminal open any more
            while os.read(master, 65536):
                drawn.set()

    screen = threading.Thread(target=take)
    screen.start()
    environment = os.environ | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "XDG_STATE_HOME": os.devnull}  # as if for the first time
    command = [sys.executable, "-c", ON_ITS_TERMINAL, *(program or ("-m", "pgtrace", "open", str(capture)))]
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment, start_new_session=True)
    os.close(terminal)
    try:
        if not drawn.wait(START_S) or process.poll() is not None:
            raise SystemExit("bench: the viewer did not start")
        yield Viewer(process.pid, master)
        if process.poll() is not None:
            raise SystemExit(f"bench: the viewer ended by itself, with {process.returncode}")
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        screen.join()
        os.close(master)
