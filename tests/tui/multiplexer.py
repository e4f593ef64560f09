"""pgtrace in a window of a real tmux: keys sent to it, and the screen that tmux made of what was written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

WITHIN_S = 60.0
TELLS = "pgtrace ended with "
THERE = shutil.which("tmux") is not None
_ELSEWHERE = ("TMUX", "NO_COLOR", "COLUMNS", "LINES")
"""What the terminal of the test run says of itself; readline, imported in a worker of the run, sets the last two."""


class Multiplexer:
    """A tmux server of its own with one window. A context manager; the server is gone afterwards."""

    def __init__(self, directory: Path, *args: str, size: tuple[int, int] = (120, 40)) -> None:
        self._directory = str(directory)
        self._socket = str(directory / "tmux")
        settings = directory / "tmux.conf"
        settings.write_text("set -g escape-time 0\nset -g status off\nset -g mouse on\n")
        around = ("sh", "-c", f'"$@"; echo "{TELLS}$?"; read line', "sh", sys.executable, "-m", "pgtrace", *args)
        self._tmux("-f", str(settings), "new-session", "-d", "-x", str(size[0]), "-y", str(size[1]), *around)

    def __enter__(self) -> Multiplexer:
        return self

    def __exit__(self, *exception: object) -> None:
        self._tmux("kill-server")

    def press(self, *keys: str) -> None:
        """Send keys, by tmux's names."""
        self._tmux("send-keys", *keys)

    def resize(self, width: int, height: int) -> None:
        """Make the window larger or smaller."""
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def shown(self) -> str:
        """The screen as it is now."""
        return self._tmux("capture-pane", "-p")

    def wait_for(self, text: str) -> list[str]:
        """The screen, once a text is on it; AssertionError where it does not come."""
        until_s = time.monotonic() + WITHIN_S
        while text not in (shown := self.shown()):
            assert time.monotonic() < until_s, f"{text!r} did not come:\n{shown}"
            time.sleep(0.02)
        return shown.splitlines()

    def wait_for_last(self, beginning: str) -> list[str]:
        """The screen, once its last line begins so."""
        until_s = time.monotonic() + WITHIN_S
        while not (lines := self.shown().splitlines() or [""])[-1].startswith(beginning):
            assert time.monotonic() < until_s, f"{beginning!r} did not come: {lines[-1]!r}"
            time.sleep(0.02)
        return lines

    def ended(self) -> int:
        """The exit code of pgtrace, which the shell around it tells on the screen that was there before."""
        told = next(line for line in self.wait_for(TELLS) if TELLS in line)
        return int(told.removeprefix(TELLS))

    def _tmux(self, *command: str) -> str:
        environment = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
        environment |= {"LC_ALL": "C.UTF-8", "XDG_STATE_HOME": self._directory}
        done = subprocess.run(["tmux", "-S", self._socket, *command], env=environment, capture_output=True, text=True, check=True)
        return done.stdout
