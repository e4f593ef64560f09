"""What commands write: lines on stdout, and the files of `-o`.

A reader that has seen enough (`| head`) closes the pipe. That is no error, and nobody's business but stdout's: click would end the command with code 1 and
Python would complain once more while it closes stdout, so both are told that it now leads nowhere.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from itertools import islice
from types import TracebackType
from typing import Final, Self

from pgtrace import sanitise
from pgtrace.errors import CaptureError, UsageError
from pgtrace.export.newfile import NewFile

STDOUT: Final = "-"
_AT_ONCE: Final = 1000


def write(lines: Iterable[str], end: str = "\n") -> bool:
    """Print the lines, or pieces that end in nothing; False where nobody reads them any more."""
    rest = iter(lines)
    try:
        while some := list(islice(rest, _AT_ONCE)):
            sys.stdout.write(end.join(some) + end)
        sys.stdout.flush()
    except BrokenPipeError:
        _lead_nowhere()
        return False
    return True


class Output:
    """A new file, or stdout. A context manager."""

    def __init__(self, path: str, *, binary: bool) -> None:
        """Create it. Raises OutputExists, CaptureError where that is not possible, UsageError for `binary` on a terminal."""
        self._new = None if path == STDOUT else NewFile(path)
        self._shown = self._new is None and sys.stdout.isatty()
        if binary and self._shown:
            raise UsageError("that is no text for a terminal: -o FILE, or pipe it into what reads it")

    def write(self, content: str | bytes) -> bool:
        """Append it, text as UTF-8, on a terminal with nothing in it that would be obeyed; False where nobody reads any more.

        Raises CaptureError where it cannot be written.
        """
        if self._new is not None:
            self._new.write(content)
            return True
        if self._shown:
            shown = content if isinstance(content, str) else content.decode("utf-8", "surrogateescape")
            content = "\t".join([sanitise.text(part, "\n") for part in shown.split("\t")])
        data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
        try:
            sys.stdout.buffer.write(data)
        except BrokenPipeError:
            _lead_nowhere()
            return False
        except OSError as error:
            raise _failed(error) from None
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._new is not None:
            self._new.__exit__(kind, error, trace)
            return
        try:
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            _lead_nowhere()
        except OSError as failure:
            raise _failed(failure) from None


def _failed(error: OSError) -> CaptureError:
    return CaptureError(STDOUT, f"cannot be written: {(error.strerror or str(error)).lower()}")


def _lead_nowhere() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
