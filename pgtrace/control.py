"""A recorder's process and its control pipe, as the parent sees them.

The other end is pgtrace/proxy/control.py, which lists the requests. The process has its own
session, so signals from the terminal reach only the parent. A request is one line; it waits for its
answer under a lock, so any thread may ask. The process's stderr is kept: its last line says why the
process ended.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

from pgtrace import errors
from pgtrace.callsites import DIRECTORY, MARKS
from pgtrace.errors import PgTraceError, RecorderError

START_S: Final = 20.0
ANSWER_S: Final = 10.0


class Control:
    """One recorder process, from its start to end()."""

    def __init__(self, pass_fds: Sequence[int] = ()) -> None:
        """`pass_fds`: descriptors that the process inherits."""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed in end)
        self._lock = threading.Lock()
        self._unread = b""
        self._requests = 0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pgtrace.proxy"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={name: value for name, value in os.environ.items() if name not in (DIRECTORY, MARKS)},
            start_new_session=True,
            pass_fds=pass_fds,
            bufsize=0,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._requests_to, self._answers_from = self.process.stdin, self.process.stdout

    def begin(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Send the settings. Returns what the process reports once it listens.

        Raises the recorder's own error, or RecorderError if it reports nothing.
        """
        self._send(settings)
        ready = self._read_line(time.monotonic() + START_S)
        if "error" in ready:
            raise _error(ready)
        return ready

    def ask(self, request: dict[str, Any], wait_s: float = ANSWER_S) -> dict[str, Any]:
        """Send a request and return its answer. Raises RecorderError if the process has ended or
        does not answer."""
        with self._lock:
            self._requests += 1
            self._send(request | {"id": self._requests})
            deadline = time.monotonic() + wait_s
            while True:
                answer = self._read_line(deadline)
                if answer.get("id") == self._requests:
                    return answer
                if "error" in answer:
                    raise _error(answer)

    @property
    def alive(self) -> bool:
        """Whether the process is running."""
        return self.process.poll() is None

    @property
    def log(self) -> str:
        """The first MiB of the text that the process wrote to stderr."""
        return os.pread(self._log.fileno(), 1 << 20, 0).decode(errors="replace")

    def end(self, wait_s: float) -> None:
        """Tell the process to stop, wait for it, and kill it if it takes too long. Call this
        once."""
        with self._lock:
            try:
                self._requests_to.write(b'{"do": "stop"}\n')
            except OSError:
                pass
            try:
                self.process.wait(wait_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self._requests_to.close()
            self._answers_from.close()
            self._log.close()

    def _send(self, line: dict[str, Any]) -> None:
        try:
            self._requests_to.write(json.dumps(line).encode() + b"\n")
        except OSError:
            raise RecorderError(f"the recorder has ended{self._last_words()}") from None

    def _read_line(self, deadline: float) -> dict[str, Any]:
        descriptor = self._answers_from.fileno()
        while b"\n" not in self._unread:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise RecorderError("the recorder does not answer: is the disk of the capture blocked?")
            data = os.read(descriptor, 65536)
            if not data:
                raise RecorderError(f"the recorder has ended{self._last_words()}")
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        lines = self.log.strip().splitlines()
        return f": {lines[-1]}" if lines else ""


def _error(answer: dict[str, Any]) -> PgTraceError:
    """The error that the recorder reported, as an exception."""
    kind = getattr(errors, str(answer["error"]), None)
    if not (isinstance(kind, type) and issubclass(kind, PgTraceError)):
        return RecorderError(f"the recorder refused: {answer.get('reason') or answer['error']}")
    error = kind.__new__(kind)
    error.args = (answer["text"],)
    vars(error).update(answer["fields"])
    return error
