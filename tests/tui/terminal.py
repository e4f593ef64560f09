"""pgtrace on a real pseudo-terminal: what it writes, byte for byte, and keys sent to it.

Its process has imported the package already (tests/commands.py): that takes longer than most
journeys. `FRESH` is one that has not, where the start or the way it is started is what counts.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from tests.commands import FRESH, Forked

__all__ = ["FRESH", "WITHIN_S", "Terminal", "modes", "sequences"]
WITHIN_S = 60.0

_SEQUENCE = re.compile(
    r"\x1b\[[<=>?]?[0-9;:]*[ $]?[A-Za-z~]"  # CSI
    r"|\x1b\][0-9]+;[^\x07\x1b]*\x07"  # OSC
)

_CONTROLLED = "import fcntl, termios; fcntl.ioctl(1, termios.TIOCSCTTY, 0)"


class _Screen(Forked):
    """A command that shows the screen."""

    IMPORTED = ("pgtrace.cli.open", "pgtrace.tui.app")


class Terminal:
    """A pgtrace process and the other end of its terminal, which is its controlling one. A context
    manager; the process is gone afterwards."""

    def __init__(
        self,
        *args: str,
        size: tuple[int, int] = (120, 40),
        stdin: int | None = None,
        stderr: int | None = None,
        program: Sequence[str] = (),
        **environment: str,
    ) -> None:
        """`stdin` and `stderr`: in place of the terminal. `program`: what is run, where it is not a forked pgtrace."""
        self._controller, worker = pty.openpty()
        self._state = tempfile.TemporaryDirectory(prefix="pgtrace-state-")
        fcntl.ioctl(worker, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        self.before = termios.tcgetattr(worker)
        self._worker = worker
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PG", "LC_", "LANG", "COLOR", "NO_COLOR", "TERM", "COLUMNS", "LINES"))
        }
        options: dict[str, Any] = {
            "stdin": worker if stdin is None else stdin,
            "stdout": worker,
            "stderr": worker if stderr is None else stderr,
            "env": kept | {"TERM": "xterm-256color", "LANG": "C.UTF-8", "XDG_STATE_HOME": self._state.name} | environment,
            "start_new_session": True,
        }
        self.process: subprocess.Popen[bytes] = (
            subprocess.Popen([*program, *args], preexec_fn=lambda: fcntl.ioctl(worker, termios.TIOCSCTTY, 0), **options)
            if program
            else _Screen("pgtrace.cli", ["pgtrace", *args], before=_CONTROLLED, **options)
        )
        self.written = b""
        self._vanished = False
        self._came = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._worker)
        self._reader.join()
        if not self._vanished:
            os.close(self._controller)
        self._state.cleanup()

    def type(self, keys: str) -> int:
        """Send keys; what is written from here on begins at the place returned."""
        begin = len(self.written)
        os.write(self._controller, keys.encode())
        return begin

    def resize(self, width: int, height: int) -> int:
        """Give it another size; what is written from here on begins at the place returned."""
        begin = len(self.written)
        fcntl.ioctl(self._controller, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        return begin

    def vanish(self) -> None:
        """Nobody is at the other end any more. Something must be written for it to be noticed here."""
        self._vanished = True
        os.write(self._controller, b"?")
        self._reader.join()
        os.close(self._controller)

    def text(self, begin: int = 0) -> str:
        """What was printed from a place on, without the terminal's sequences."""
        return _SEQUENCE.sub("", self.written[begin:].decode(errors="replace"))

    def wait_for(self, text: str, begin: int = 0, timeout_s: float = WITHIN_S) -> float:
        """Seconds until a text is on the screen; AssertionError where it does not come."""
        return self._wait(lambda: text in self.text(begin), lambda: f"{text!r} did not come: {self.text(begin)[-2000:]!r}", timeout_s)

    def after(self, keys: str, text: str) -> None:
        """Send keys; the text comes."""
        self.wait_for(text, self.type(keys))

    def taken(self, times: int) -> None:
        """Wait until the screen has been taken that often."""
        self._wait(lambda: self.written.count(b"\x1b[?1049h") >= times, lambda: f"not taken {times} times", WITHIN_S)

    def ended(self) -> int:
        """The exit code, once everything that was written has been read."""
        code = self.process.wait(WITHIN_S)
        self._wait(lambda: b"\x1b[?1049l" in self.written, lambda: "the screen was not given back", WITHIN_S)
        return code

    @property
    def attributes(self) -> list[object]:
        """The terminal's settings now."""
        return termios.tcgetattr(self._worker)

    def _wait(self, met: Callable[[], bool], otherwise: Callable[[], str], timeout_s: float) -> float:
        started = time.monotonic()
        with self._came:
            while not met():
                left = started + timeout_s - time.monotonic()
                assert left > 0, otherwise()
                self._came.wait(left)
        return time.monotonic() - started

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._controller, 1 << 16)
            except OSError:  # Linux: nobody has the other end open
                data = b""
            with self._came:
                self.written += data
                self._came.notify_all()
            if not data or self._vanished:
                return


def sequences(written: str) -> list[str]:
    """Everything in it that a terminal obeys."""
    return _SEQUENCE.findall(written)


def modes(written: str) -> dict[str, bool]:
    """The terminal's private modes as the last sequence left each: `25` is the cursor, `1049` the other screen, `2004` paste."""
    found = {}
    for numbers, how in re.findall(r"\x1b\[\?([0-9;]+)([hl])", written):
        found.update(dict.fromkeys(numbers.split(";"), how == "h"))
    return found
