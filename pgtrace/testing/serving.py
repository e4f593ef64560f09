"""A recorded server for a test: `pgtrace.serve(...)` and the marker `pgtrace_serve`.

The server is `pgtrace serve` in a separate process, which ends when pytest ends. It cannot be a
thread: a driver written in C may hold Python's lock while it waits for the server. Its recording is
a golden that leaves nothing out, `captures/NAME.trace` beside the test, or a capture with its full
name. With --pgtrace-update, or if there is no recording yet, the test runs against PostgreSQL
through the recorder, and its traffic becomes the recording.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote

from pgtrace.errors import CaptureError, UsageError
from pgtrace.kept import Kept
from pgtrace.testing import golden
from pgtrace.testing.window import Window

OPTIONS: Final = ("order", "any_values", "timing")


def path_of(test_file: Path, name: str) -> Path:
    """The recording with that name. Raises UsageError if it is not a valid file name."""
    if name.endswith(".pgtrace"):
        return golden.path_of(test_file, name.removesuffix(".pgtrace")).with_suffix(".pgtrace")
    return golden.path_of(test_file, name.removesuffix(".trace"))


def record(window: Window, path: Path) -> None:
    """Write the traffic of a window as a recording. Raises NotKept, UsageError, CaptureError."""
    from pgtrace.export import golden as exporter

    if path.suffix != ".trace":
        raise UsageError(f"{path.name} is a capture, which is not written here: name a .trace, or record it with pgtrace run -w")
    golden.write(path, exporter.text(window.trace, places=list(window.places), plain=True, everything=True))


class Serving:
    """A recording that is served; a context manager."""

    def __init__(self, path: Path, options: dict[str, Any]) -> None:
        """Prepare to serve; start() starts the server. Raises UsageError for an option that does
        not exist.
        """
        if wrong := [name for name in options if name not in OPTIONS]:
            raise UsageError(f"{wrong[0]}= is not an option of serving: {', '.join(OPTIONS)}")
        self.path = path
        self.host = "127.0.0.1"
        self.port = 0
        self.user = ""
        self.database = ""
        self.mismatches: list[str] = []
        """Lines on requests that differed from the recording; complete after stop()."""
        self._arguments = [
            *(["--order", str(options["order"])] if "order" in options else []),
            *(["--any-values"] if options.get("any_values") else []),
            *(["--timing", str(options["timing"])] if "timing" in options else []),
        ]
        self._kept: Kept | None = None

    @property
    def dsn(self) -> str:
        """The connection URL, with the recorded user and database."""
        return self.url()

    def url(self, *, scheme: str | None = None, user: str | None = None, database: str | None = None) -> str:
        """The connection URL with some of its parts replaced."""
        name = quote(user or self.user, safe="")
        return f"{scheme or 'postgresql'}://{name}@{self.host}:{self.port}/{quote(database or self.database, safe='')}"

    def start(self) -> None:
        """Start the process, and wait until it listens. Raises CaptureError."""
        line = [sys.executable, "-m", "pgtrace", "serve", str(self.path), "127.0.0.1:0", "--json", *self._arguments]
        self._kept = Kept(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        process = self._kept.process
        assert process.stdout is not None
        first = process.stdout.readline()
        if not first:
            reason = process.communicate()[1].strip().removeprefix("pgtrace: ").removeprefix(f"{self.path}: ")
            raise CaptureError(self.path, reason or "cannot be served")
        listening = json.loads(first)
        self.port = int(listening["listening"][0].rpartition(":")[2])
        self.user, self.database = listening["user"], listening["database"]

    def stop(self) -> list[str]:
        """Stop the server. Returns the lines on differences from the recording."""
        kept, self._kept = self._kept, None
        if kept is None:
            return self.mismatches
        kept.release()
        out, _ = kept.process.communicate()
        for line in out.splitlines():
            found = json.loads(line).get("mismatch")
            if found is not None:
                self.mismatches += [found["where"], f"  expected  {found['expected']}", f"  got       {found['got']}"]
                self.mismatches += [f"  {found['detail']}"] if found["detail"] else []
        return self.mismatches

    def lines(self) -> list[str]:
        """The lines of a failure."""
        again = f"if this is intended: run pytest --pgtrace-update, review the change to {self.path.name} and commit it"
        return [f"pgtrace: the driver did not send what {self.path.name} has", *self.mismatches, "", again]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
