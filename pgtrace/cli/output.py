"""What commands write: lines on stdout and stderr, and the files of `-o`.

Nothing else in pgtrace/cli writes to either: what comes from the wire, from files and from the command line passes the sanitiser before it gets here or, on
stderr, here. An export is written as it is. Where it may end in a log of GitHub Actions, and a line of it would be a command there, that log is told to take no
commands until its end.

A reader that has seen enough (`| head`) closes the pipe. That is no error, and nobody's business but stdout's: click would end the command with code 1 and
Python would complain once more while it closes stdout, so both are told that it now leads nowhere.
"""

from __future__ import annotations

import codecs
import io
import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable
from itertools import islice
from types import TracebackType
from typing import IO, Any, Final, Self

import click

from pgtrace import sanitise
from pgtrace.errors import CaptureError, UsageError
from pgtrace.export.newfile import NewFile
from pgtrace.sanitise import Shown

STDOUT: Final = "-"
_AT_ONCE: Final = 1000
_LONGEST_LINE: Final = 64 * 1024
"""Of a line that comes in pieces."""
_SPELLED: Final = "pgtrace-ascii"
_ASCII: Final = {"→": "->", "←": "<-", "·": ".", "×": "x", "…": "...", "≥": ">=", "─": "-", "✗": "x"}
"""What stands for the signs of the notation."""


def write(lines: Iterable[Shown], end: str = "\n") -> bool:
    """Print the lines, or pieces that end in nothing; False where nobody reads them any more."""
    rest = iter(lines)
    try:
        while some := list(islice(rest, _AT_ONCE)):
            with _under_way:
                sys.stdout.write(end.join(some) + end)
        with _under_way:
            sys.stdout.flush()
    except BrokenPipeError:
        lead_nowhere()
        return False
    except OSError as error:
        lead_nowhere()
        raise _failed(error) from None
    return True


def styled(text: Shown, **style: Any) -> Shown:
    """The text between the sequences that colour it on a terminal."""
    return Shown(click.style(text, **style))


def tell(*lines: str) -> None:
    """Lines on stderr. A line break within one is shown as such."""
    for line in lines:
        with _under_way:
            click.echo(sanitise.line(line), err=True)


class _UnderWay:
    """Counts the beginnings and ends of writes."""

    steps = 0

    def __enter__(self) -> None:
        self.steps += 1

    def __exit__(self, *_: object) -> None:
        self.steps += 1


_under_way = _UnderWay()


def writes() -> int:
    """A number that is odd while a write is under way, and another one for each."""
    return _under_way.steps


def has_screen() -> bool:
    """Whether there is a terminal that can show the live view."""
    return sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty() and not is_dumb()


def is_dumb() -> bool:
    """Whether the terminal says that it can do nothing but print lines."""
    return os.environ.get("TERM") == "dumb"


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
        self._log = None if binary or self._new is not None or not _is_log() else _Log()

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
        if self._log is not None:
            self._log.write(data)
            return True
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
            if self._log is not None:
                self._log.copy(sys.stdout.buffer)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            lead_nowhere()
        except OSError as failure:
            raise _failed(failure) from None


class _Log:
    """Text on its way into a log of GitHub Actions: held in a file until it is known whether commands are in it."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by copy)
        self._begun = ""
        """What the last line has so far, as far as it matters."""
        self._commands = False

    def write(self, data: bytes) -> None:
        self._file.write(data)
        text = self._begun + data.decode("utf-8", "replace")
        self._commands = self._commands or sanitise.commands(text)
        self._begun = text[text.rfind("\n") + 1 :][-_LONGEST_LINE:]

    def copy(self, out: IO[bytes]) -> None:
        """Write what is held, between a line that stops commands and one that lets them in again where it has any."""
        token = secrets.token_hex(16)
        with self._file as held:
            held.seek(0)
            if self._commands:
                out.write(f"::stop-commands::{token}\n".encode())
            shutil.copyfileobj(held, out)
            if self._commands:
                out.write(f"{self._begun and chr(10)}::{token}::\n".encode())


def _is_log() -> bool:
    """Whether stdout may end in a log of GitHub Actions: no regular file holds it."""
    return bool(os.environ.get("GITHUB_ACTIONS")) and not stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)


def _failed(error: OSError) -> CaptureError:
    return CaptureError(STDOUT, f"cannot be written: {(error.strerror or str(error)).lower()}")


def lead_nowhere() -> None:
    """Nobody reads stdout any more, or it cannot be written."""
    _lead_nowhere(sys.stdout)


def lead_all_nowhere() -> None:
    """Nobody reads what is written, and there is no time to wait for it."""
    _lead_nowhere(sys.stdout)
    _lead_nowhere(sys.stderr)


def _lead_nowhere(stream: IO[str]) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
