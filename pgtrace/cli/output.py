"""What commands write: lines on stdout, and the files of `-o`.

A reader that has seen enough (`| head`) closes the pipe. That is no error, and nobody's business but stdout's: click would end the command with code 1 and
Python would complain once more while it closes stdout, so both are told that it now leads nowhere.
"""

from __future__ import annotations

import codecs
import io
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
_SPELLED: Final = "pgtrace-ascii"
_ASCII: Final = {"→": "->", "←": "<-", "·": ".", "×": "x", "…": "...", "≥": ">=", "─": "-", "✗": "x"}
"""What stands for the signs of the notation."""


def write(lines: Iterable[str], end: str = "\n") -> bool:
    """Print the lines, or pieces that end in nothing; False where nobody reads them any more."""
    rest = iter(lines)
    try:
        while some := list(islice(rest, _AT_ONCE)):
            sys.stdout.write(end.join(some) + end)
        sys.stdout.flush()
    except BrokenPipeError:
        lead_nowhere()
        return False
    except OSError as error:
        lead_nowhere()
        raise _failed(error) from None
    return True


def prepare() -> None:
    """Standard streams that are closed lead nowhere, and hold their numbers: what is opened next must not become stdout.

    Characters that the terminal's encoding does not have are spelled in ASCII.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (as long as the process)
    codecs.register_error(_SPELLED, _spell)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_SPELLED)


def _spell(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    spelled = "".join(_ASCII.get(character) or ascii(character)[1:-1] for character in error.object[error.start : error.end])
    return spelled, error.end


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
            lead_nowhere()
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
            lead_nowhere()
        except OSError as failure:
            raise _failed(failure) from None


def _failed(error: OSError) -> CaptureError:
    return CaptureError(STDOUT, f"cannot be written: {(error.strerror or str(error)).lower()}")


def lead_nowhere() -> None:
    """Nobody reads stdout any more, or it cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
