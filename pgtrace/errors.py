"""Everything that pgtrace refuses, as one family of errors with their fields and exit codes.

- `str(error)` is the one line that you read: what is wrong, then the remedy.
- `exit_code` is the exit code of the command: 2 for a usage error, 3 for a network failure, 4 for a
  capture that cannot be read, 127 for a program that cannot be started.
- Nothing on the wire ever raises an exception: a malformed message is an event, and the traffic
  continues. These errors are about the user's request.

These lines contain names, paths and other people's texts, so each passes the sanitiser here. An
error can be shown without further checks.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import ClassVar

from pgtrace import sanitise

AnyPath = str | os.PathLike[str]


class PgTraceError(Exception):
    """The base of all errors."""

    exit_code: ClassVar[int] = 1

    def __init__(self, *lines: str) -> None:
        super().__init__(sanitise.lines(lines))


class UsageError(PgTraceError):
    """A request that makes no sense."""

    exit_code = 2


class AddressError(UsageError):
    """A LISTEN or UPSTREAM that is not valid, or must not be used."""

    def __init__(self, text: str, reason: str) -> None:
        """`text` is the part of the address that may be shown: never a value that could be a
        secret. It is empty if no part may be shown."""
        super().__init__(f"{text!r}: {reason}" if text else reason)
        self.text = text
        self.reason = reason


_POINTED = 2_000
"""The most characters of a text that are shown."""


class PointedError(UsageError):
    """An invalid text in one of pgtrace's small languages. It points at the place of the error."""

    language: ClassVar[str]

    def __init__(self, text: str, position: int, length: int, reason: str) -> None:
        # If the text is very long, show the part around the place.
        first = max(0, position - _POINTED // 2)
        shown = "".join(character if sanitise.text(character) == character else " " for character in text[first : first + _POINTED])
        super().__init__(
            f"{self.language}: {reason}", f"    {shown}", f"    {' ' * (position - first)}{'^' * max(1, min(length, _POINTED))}"
        )
        self.text = text
        self.position = position
        """The index of the character at which `text` goes wrong; its length if something is missing
        at the end."""
        self.length = length
        self.reason = reason


class BudgetError(UsageError):
    """An invalid budget: an unknown counter, or a limit that is not a number."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.where = where
        """The option, or the file and the keys in it."""
        self.reason = reason


class FilterError(PointedError):
    """A filter that is not valid, or cannot be applied."""

    language = "filter"


class FaultError(PointedError):
    """A fault rule that is not valid."""

    language = "fault"


class OutputExists(PgTraceError):
    """The output file already exists; nothing is overwritten."""

    exit_code = 2

    def __init__(self, path: AnyPath) -> None:
        super().__init__(f"{os.fspath(path)} already exists: choose another name or remove it")
        self.path = os.fspath(path)


class MarkError(PgTraceError):
    """A mark cannot be set in a running recorder."""

    exit_code = 3

    def __init__(self, *lines: str) -> None:
        super().__init__(*(line for line in lines if line))


class NoOpenMark(PgTraceError):
    """You asked to end a mark that is not open."""

    exit_code = 2

    def __init__(self, name: str, names: Iterable[str]) -> None:
        there = ", ".join(map(repr, names))
        super().__init__(f"no mark {name!r} is open there", f"open: {there}" if there else "none is open")


class ProgramError(PgTraceError):
    """A program cannot be started. The exit code is the one that shells use for this."""

    exit_code = 127

    def __init__(self, program: str, reason: str) -> None:
        super().__init__(f"{program}: cannot be started: {reason}")
        self.program = program
        self.reason = reason


class MissingExtra(PgTraceError):
    """A package that only parts of pgtrace need is not installed."""

    exit_code = 2

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs packages that are not installed: pip install 'pgtrace[{extra}]'")
        self.extra = extra
        self.purpose = purpose


class ListenError(PgTraceError):
    """Listening on an address failed."""

    exit_code = 3

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"cannot listen on {address}: {reason}")
        self.address = address
        self.reason = reason


class UpstreamError(PgTraceError):
    """PostgreSQL cannot be reached."""

    exit_code = 3

    def __init__(self, upstream: str, reason: str) -> None:
        super().__init__(f"cannot reach the upstream {upstream}: {reason}")
        self.upstream = upstream
        self.reason = reason


class LoginsFailed(PgTraceError):
    """The server was reached, but refused every login."""

    exit_code = 3

    def __init__(self, reason: str) -> None:
        super().__init__(f"no connection could be opened: {reason}")


class CaptureError(PgTraceError):
    """A capture that cannot be read or written."""

    exit_code = 4

    def __init__(self, path: AnyPath, reason: str) -> None:
        super().__init__(f"{os.fspath(path)}: {reason}")
        self.path = os.fspath(path)
        self.reason = reason


class NewerCapture(CaptureError):
    """A capture of a major version that this pgtrace does not know."""

    def __init__(self, path: AnyPath, version: int, known: int) -> None:
        super().__init__(path, f"capture version {version} was written by a newer pgtrace (this one reads up to {known}): upgrade pgtrace")
        self.version = version
        self.known = known


class RecorderError(PgTraceError):
    """The recorder process could not be started, has ended, or does not answer."""

    exit_code = 3
