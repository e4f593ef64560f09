"""Imports FILEs that are not captures into private temporary captures, for the reading commands.

- A single FILE is imported piece by piece while it is read, so counts do not depend on `--keep`,
  which limits the space on disk. Several FILEs are imported first, because otherwise their times
  could not be put in order.
- Packet files that are pieces of one recording (pieces.py) are one FILE, with the name of the
  first.
- A temporary capture is a directory that only this user can enter, removed when the command ends.
- Ctrl-C ends a stream (standard input, a named pipe, `<(...)`), not the command: you get the result
  for the data up to then. A second Ctrl-C ends the command as usual.
"""

from __future__ import annotations

import atexit
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import click

from pgtrace.capture.importing import Import, is_capture
from pgtrace.capture.inputs import STDIN
from pgtrace.cli import output
from pgtrace.cli.options import in_context
from pgtrace.errors import CaptureError
from pgtrace.parameters import DEFAULT_PORT
from pgtrace.temporary import PrivateDirectory

DEFAULT_KEEP_BYTES: Final = 1 << 30


class Imports:
    """A command's FILEs as captures."""

    def __init__(self, files: Sequence[str | os.PathLike[str]], begun: Callable[[Import], None]) -> None:
        """Begin to import the files that are not captures, and call `begun` for each. Raises the
        same errors as Import.
        """
        self._begun = begun
        self.names: list[str] = []
        """The FILEs; for the packet files of one recording, the first."""
        self.paths: list[str] = []
        """The path of the capture to read, for each name."""
        self._running: list[Import] = []
        self._all: dict[str, Import] = {}
        for name, *beside in _recordings([os.fspath(file) for file in files]):
            self.names.append(name)
            self.paths.append(name if name != STDIN and is_capture(name) else self._begin(name, beside))

    def step(self) -> bool:
        """Import one piece of the first unfinished FILE. Returns False when all are finished.
        Raises CaptureError.
        """
        if not self._running:
            return False
        if not self._running[0].step():
            self._running.pop(0).close()
        return True

    @property
    def captures(self) -> list[str]:
        """The FILEs that are captures already."""
        return [path for path, name in zip(self.paths, self.names, strict=True) if path == name]

    @property
    def running(self) -> bool:
        """Whether something is still to be imported."""
        return bool(self._running)

    @property
    def progress(self) -> float | None:
        """The imported share, from 0 to 1; None if it is not known, or if there is nothing to
        import.
        """
        sizes = [one.size_bytes for one in self._all.values()]
        if None in sizes or not sum(size or 0 for size in sizes):
            return None
        return sum(one.done_bytes for one in self._all.values()) / sum(size or 0 for size in sizes)

    def warn_of_losses(self) -> None:
        """Report on stderr what was lost or left out. Raises CaptureError if the only FILE holds no
        connection."""
        for name, one in self._all.items():
            if (nothing := one.nothing_found()) and len(self.names) == 1:
                raise CaptureError(name, nothing)
            for line in [nothing] if nothing else one.notes():
                output.print_stderr(f"pgtrace: {name}: {line}")

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
    """Within this context, the first Ctrl-C ends the streams whose Imports were passed to the
    yielded function. Data that is already in the stream is still read.
    """
    streams: list[Import] = []
    before = signal.getsignal(signal.SIGINT)

    def interrupt(_number: int, _frame: Any) -> None:
        signal.signal(signal.SIGINT, before)
        if not streams:
            raise KeyboardInterrupt
        for one in streams:
            one.interrupt()

    def register(one: Import) -> None:
        if one.is_stream:
            streams.append(one)

    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield register
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
    """A directory that only this user can enter, removed when the command ends."""
    directory = PrivateDirectory()
    context = click.get_current_context(silent=True)
    if context is None:
        atexit.register(directory.remove)
    else:
        context.call_on_close(directory.remove)
    return directory.path


def _recordings(names: Sequence[str]) -> list[list[str]]:
    """The files, grouped by recording."""
    if len(names) < 2:
        return [[*names]]
    from pgtrace.capture.pieces import recordings  # one file needs no decoder of packets

    return recordings(names)
