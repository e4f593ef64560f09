"""`open -`: a separate process imports standard input, so that neither the stream nor the screen
waits for the other.

That process is `pgtrace import -`. It writes a private temporary capture in segments, which the
screen follows like any recording. It owns standard input; in this process the terminal replaces it,
for the keys. It ends when this process ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from pgtrace.capture.inputs import STDIN
from pgtrace.cli import output
from pgtrace.cli.imports import keep_bytes, named_keylog, named_ports, temporary_directory
from pgtrace.errors import UsageError
from pgtrace.kept import Kept

_TERMINAL: Final = "/dev/tty"
_LOOK_AGAIN_S: Final = 0.02
_STOPPED: Final = (128 + signal.SIGTERM, 128 + signal.SIGKILL)
"""The exit codes of an import that was stopped before the end of its stream."""


class Streamed:
    """Standard input while it is imported into a capture."""

    def __init__(self, path: str, process: subprocess.Popen[bytes]) -> None:
        self.path = path
        """The path of the capture."""
        self._process = process

    @property
    def alive(self) -> bool:
        """Whether the import is still running."""
        return self._process.poll() is None


@contextmanager
def imported_stdin() -> Iterator[Streamed]:
    """Import standard input. The import's messages are printed at the end.

    Raises UsageError without a terminal, and click's Exit if nothing could be read from the stream,
    after printing the reason.
    """
    path = os.path.join(temporary_directory(), "capture")
    with open_terminal() as terminal, tempfile.TemporaryFile() as log:
        command = [sys.executable, "-m", "pgtrace", "import", STDIN, "-o", path, "-q", "--keep", str(keep_bytes())]
        for port in sorted(named_ports()):
            command += ["--port", str(port)]
        if (keylog := named_keylog()) is not None:
            command += ["--keylog", keylog]
        kept = Kept(command, removes=Path(path).parent, stdout=subprocess.DEVNULL, stderr=log)
        try:
            _wait_for(kept.process, path)
            os.dup2(terminal, sys.stdin.fileno())
            yield Streamed(path, kept.process)
        finally:
            code = kept.stop()
            log.seek(0)
            output.print_stderr(*log.read().decode(errors="replace").splitlines())
    if code and code not in _STOPPED:
        raise click.exceptions.Exit(code)


@contextmanager
def open_terminal() -> Iterator[int]:
    """The terminal of this process. Raises UsageError if there is none."""
    try:
        terminal = os.open(_TERMINAL, os.O_RDWR)
    except OSError:
        raise UsageError("`open` needs a terminal: use `pgtrace show` or `pgtrace stats` for text") from None
    try:
        yield terminal
    finally:
        os.close(terminal)


def _wait_for(process: subprocess.Popen[bytes], path: str) -> None:
    """Wait until the capture has begun, with the first bytes of the stream."""
    first = os.path.join(path, "000001.pgtrace")
    while not (os.path.exists(first) and os.path.getsize(first)):
        if process.poll() is not None:
            raise click.exceptions.Exit(process.returncode)
        time.sleep(_LOOK_AGAIN_S)
