"""FILEs that are no captures, for the commands that read: imported into private temporary captures, which are then read like any other.

- A single FILE is imported piece by piece while it is read, so what is counted does not depend on `--keep`, which bounds what stays on disk. Several are
  imported first: only then can their times be put in one order.
- Packet files that are pieces of one recording (pieces.py) are one FILE, with the name of the first.
- A temporary capture is a directory only this user can enter, gone when the command ends.
- Ctrl-C ends a stream (standard input, a pipe with a name, `<(...)`), not the command: what came until then is what was asked for. The second Ctrl-C is the
  usual one.
"""

from __future__ import annotations

import atexit
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import click

from pgtrace.address import DEFAULT_PORT
from pgtrace.capture.importing import Import, is_capture
from pgtrace.capture.inputs import STDIN
from pgtrace.capture.pieces import recordings
from pgtrace.cli import output
from pgtrace.cli.options import in_context
from pgtrace.errors import CaptureError
from pgtrace.temporary import PrivateDirectory

DEFAULT_KEEP_BYTES: Final = 1 << 30


class Imports:
    """The FILEs of a command as captures."""

    def __init__(self, files: Sequence[str | os.PathLike[str]], begun: Callable[[Import], None]) -> None:
        """Begin to import those that are no captures, and tell `begun` of each. Raises what Import raises."""
        self._begun = begun
        self.names: list[str] = []
        """The FILEs; of packet files that are one recording the first."""
        self.paths: list[str] = []
        """Of each of them: the capture to read."""
        self._running: list[Import] = []
        self._all: dict[str, Import] = {}
        for name, *beside in recordings([os.fspath(file) for file in files]):
            self.names.append(name)
            self.paths.append(name if name != STDIN and is_capture(name) else self._begin(name, beside))

    def step(self) -> bool:
        """One piece of the first that is not at its end; False when all are. Raises CaptureError."""
        if not self._running:
            return False
        if not self._running[0].step():
            self._running.pop(0).close()
        return True

    @property
    def captures(self) -> list[str]:
        """The paths that are FILEs themselves."""
        return [path for path, name in zip(self.paths, self.names, strict=True) if path == name]

    @property
    def running(self) -> bool:
        """Whether something is still to be imported."""
        return bool(self._running)

    @property
    def progress(self) -> float | None:
        """How much has been imported, from 0 to 1; None where that cannot be told, or nothing is to be imported."""
        sizes = [one.size_bytes for one in self._all.values()]
        if None in sizes or not sum(size or 0 for size in sizes):
            return None
        return sum(one.done_bytes for one in self._all.values()) / sum(size or 0 for size in sizes)

    def tell(self) -> None:
        """What was lost or left out, on stderr. Raises CaptureError where the only FILE holds no connection."""
        for name, one in self._all.items():
            if (nothing := one.nothing_found()) and len(self.names) == 1:
                raise CaptureError(name, nothing)
            for line in [nothing] if nothing else one.notes():
                output.tell(f"pgtrace: {name}: {line}")

    def _begin(self, name: str, beside: list[str]) -> str:
        if name in self._all:
            raise CaptureError(name, "named twice")
        directory = temporary_directory()
        path = os.path.join(directory, "capture")
        one = Import(name, path, keep_bytes=keep_bytes(), named=named_ports(), beside=beside, keylog=named_keylog())
        self._begun(one)
        self._all[name] = one
        self._running.append(one)
        return path


@contextmanager
def ending_on_interrupt() -> Iterator[Callable[[Import], None]]:
    """While this lasts, the first Ctrl-C ends what is a stream, with all that is on its way, once its import was told to what is yielded."""
    streams: list[Import] = []
    before = signal.getsignal(signal.SIGINT)

    def interrupt(_number: int, _frame: Any) -> None:
        signal.signal(signal.SIGINT, before)
        if not streams:
            raise KeyboardInterrupt
        for one in streams:
            one.interrupt()

    def told(one: Import) -> None:
        if one.is_stream:
            streams.append(one)

    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield told
    finally:
        signal.signal(signal.SIGINT, before)


def named_ports() -> frozenset[int]:
    """The ports of `--port`."""
    return frozenset(in_context("port", (DEFAULT_PORT,)))


def named_keylog() -> str | None:
    """The file of `--keylog`."""
    path = in_context("keylog", None)
    return None if path is None else os.fspath(path)


def keep_bytes() -> int:
    """The bound of `--keep`."""
    kept: int = in_context("keep", DEFAULT_KEEP_BYTES)
    return kept


def temporary_directory() -> str:
    """A directory only this user can enter, gone when the command ends."""
    directory = PrivateDirectory()
    context = click.get_current_context(silent=True)
    if context is None:
        atexit.register(directory.remove)
    else:
        context.call_on_close(directory.remove)
    return directory.path
