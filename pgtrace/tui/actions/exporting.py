"""Exports what is shown in the format of another program, in a thread that reads the captures
itself.

The screen's loop owns the growing trace, so the thread reads the captures again, up to the point at
which it began. Rows have the same places in both. The suffix of the file's name decides the format.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pgtrace.export import FORMATS, Format
from pgtrace.export.newfile import NewFile
from pgtrace.trace.trace import Trace

CAPTURE: Final = "pgtrace"
_SUFFIXES: Final = {"pqtrace": "trace", "markdown": "md"}


def suffix(name: str) -> str:
    """The suffix of files in that format."""
    return _SUFFIXES.get(name, name)


def format_of(path: str) -> str:
    """The format of a file by its name: one of FORMATS, CAPTURE, or empty."""
    ended = path.rpartition(".")[2]
    return next((name for name in (CAPTURE, *FORMATS) if suffix(name) == ended), "")


@dataclass(slots=True)
class Export:
    """A file being written."""

    wanted: Format
    path: str
    captures: Sequence[str]
    names: Sequence[str]
    places: Sequence[int] | None
    """The rows to write; None for everything."""
    done: float = 0.0
    """The share of the work that is done, from 0 to 1."""

    @property
    def selects(self) -> bool:
        """Whether only the rows that are shown go into the file."""
        return self.places is not None and "places" in self.wanted.options

    def write(self, file: NewFile) -> None:
        """Fill the file, in a thread. Raises PgTraceError."""
        trace = Trace.open(self.captures, names=self.names, still=self.captures)
        try:
            with file:
                while trace.update():
                    pass
                options: dict[str, Any] = {"places": self.places} if self.selects else {}
                for piece in self.wanted.load()(trace, **options):
                    file.write(piece.content)
                    self.done = piece.done
        finally:
            trace.close()
