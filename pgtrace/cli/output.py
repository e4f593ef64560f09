"""The output of commands: lines on stdout and stderr, and the files of `-o`.

Nothing else in pgtrace/cli writes to either. Text from the wire, from files and from the command
line passes the sanitiser before it gets here or, for stderr, here. An export is written as it is.
If it may end up in a log of GitHub Actions, and one of its lines would be a command there, the log
is instructed to stop processing commands until the end of the export. Azure Pipelines and TeamCity
have no such instruction; there such lines are escaped.

A reader such as `| head` may close the pipe early. That is not an error, and concerns only stdout.
click would end the command with code 1, and Python would complain again while closing stdout, so
from then on stdout goes to the null device.
"""

from __future__ import annotations

import codecs
import io
import os
import shutil
import stat
import sys
import tempfile
import warnings
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
_STOPS: Final = "GITHUB_ACTIONS"
"""An environment variable that is set if a line can stop commands."""
_OBEY: Final = ("TF_BUILD", "TEAMCITY_VERSION")
"""Environment variables of other CI systems whose logs obey lines: Azure Pipelines, TeamCity."""
_LONGEST_LINE: Final = 64 * 1024
"""The most bytes that are kept of a line that comes in pieces."""
_SPELLED: Final = "pgtrace-ascii"
_ASCII: Final = {"→": "->", "←": "<-", "·": ".", "×": "x", "…": "...", "≥": ">=", "─": "-", "✗": "x"}
"""Symbol of the notation -> its form in ASCII."""


def write(lines: Iterable[Shown], end: str = "\n") -> bool:
    """Print the lines, or pieces with another `end`. Returns False if stdout was closed."""
    rest = iter(lines)
    try:
        while some := list(islice(rest, _AT_ONCE)):
            with _under_way:
                sys.stdout.write(end.join(some) + end)
        with _under_way:
            sys.stdout.flush()
    except BrokenPipeError:
        discard_stdout()
        return False
    except OSError as error:
        discard_stdout()
        raise _failed(error) from None
    return True


def styled(text: Shown, **style: Any) -> Shown:
    """The text with the escape sequences that colour it on a terminal."""
    return Shown(click.style(text, **style))


def print_stderr(*lines: str) -> None:
    """Print lines on stderr. A line break inside a line is escaped."""
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
    """A number that is odd during a write, and changes with each one."""
    return _under_way.steps


def columns(stream: IO[str]) -> int | None:
    """The width of the terminal that the stream writes to; None for a pipe or a file."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None


def has_screen() -> bool:
    """Whether there is a terminal that can show the live view."""
    return sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty() and not is_dumb()


def is_dumb() -> bool:
    """Whether the terminal says that it can only print lines."""
    return os.environ.get("TERM") == "dumb"


def prepare() -> None:
    """Connect closed standard streams to the null device, to reserve their numbers: the next opened
    file must not become stdout.

    Characters that the terminal's encoding lacks are spelled in ASCII. Python's warnings are off:
    PYTHONWARNINGS is meant for the program that `run` starts, and `error` would end pgtrace.
    """
    warnings.simplefilter("ignore")
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (as long as the process)
    codecs.register_error(_SPELLED, _spell_in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_SPELLED)


def _spell_in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    spelled = "".join(_ASCII.get(character) or ascii(character)[1:-1] for character in error.object[error.start : error.end])
    return spelled, error.end


class Output:
    """A new file, or stdout. A context manager."""

    def __init__(self, path: str, *, binary: bool) -> None:
        """Create it. Raises OutputExists, CaptureError if it cannot be created, UsageError for
        `binary` on a terminal."""
        self._new = None if path == STDOUT else NewFile(path)
        self._shown = self._new is None and sys.stdout.isatty()
        if binary and self._shown:
            raise UsageError("this output is binary: write it with -o FILE, or pipe it into a program")
        self._log = None if binary or self._new is not None or not _is_log() else _Log()

    def write(self, content: str | bytes) -> bool:
        """Append to the output, text as UTF-8, and on a terminal without escape sequences. Returns
        False if the reader has closed stdout.

        Raises CaptureError if it cannot be written.
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
            discard_stdout()
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
            discard_stdout()
        except OSError as failure:
            raise _failed(failure) from None


class _Log:
    """Text for the log of a CI system, held in a file until all its lines have been checked for
    commands.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by copy)
        self._begun = ""
        """The beginning of the current line."""
        self._commands = False

    def write(self, data: bytes) -> None:
        self._file.write(data)
        text = self._begun + data.decode("utf-8", "replace")
        self._commands = self._commands or sanitise.commands(text)
        self._begun = text[text.rfind("\n") + 1 :][-_LONGEST_LINE:]

    def copy(self, out: IO[bytes]) -> None:
        """Write the held text. If it has commands, put it between a line that stops commands and
        one that resumes them; if no line can stop them, escape the commands.
        """
        token = os.urandom(16).hex()
        with self._file as held:
            held.seek(0)
            if self._commands and not os.environ.get(_STOPS):
                for line in held:
                    shown = sanitise.obeyed_by_no_log(line.decode("utf-8", "surrogateescape"))
                    out.write(shown.encode("utf-8", "surrogateescape"))
                return
            if self._commands:
                out.write(f"::stop-commands::{token}\n".encode())
            shutil.copyfileobj(held, out)
            if self._commands:
                out.write(f"{self._begun and chr(10)}::{token}::\n".encode())


def _is_log() -> bool:
    """Whether stdout may be a log that obeys lines; a regular file is not."""
    return any(os.environ.get(name) for name in (_STOPS, *_OBEY)) and not stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)


def _failed(error: OSError) -> CaptureError:
    """The error for a stdout that cannot be written. Also prevents Python from trying again at
    exit.
    """
    discard_stdout()
    return CaptureError(STDOUT, f"cannot be written: {(error.strerror or str(error)).lower()}")


def discard_stdout() -> None:
    """Send stdout to the null device, because its reader has closed it or it cannot be written."""
    _redirect_to_null(sys.stdout)


def discard_output() -> None:
    """Send stdout and stderr to the null device, because their reader does not read and there is no
    time to wait.
    """
    _redirect_to_null(sys.stdout)
    _redirect_to_null(sys.stderr)


def _redirect_to_null(stream: IO[str]) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
