"""A queue of lines of any length: in memory at first, then in an unnamed file.

A pipeline of a million messages is one round trip, and the backend's messages cannot be written
before the frontend's last message. No line holds a zero byte (a String ends at one, and values are
printed without), so a zero byte separates lines.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO, Final

IN_MEMORY_BYTES: Final = 8 * 1024 * 1024
_READ_BYTES: Final = 256 * 1024


class Waiting:
    """A queue of lines."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._bytes = 0
        self._file: IO[bytes] | None = None

    def append(self, line: str) -> None:
        """Append a line."""
        self._lines.append(line)
        self._bytes += len(line)
        if self._bytes > IN_MEMORY_BYTES:
            self._file = self._file or tempfile.TemporaryFile()  # noqa: SIM115  (taken() closes it)
            self._file.write("".join([f"{one}\0" for one in self._lines]).encode("utf-8", "surrogateescape"))
            self._lines.clear()
            self._bytes = 0

    def taken(self) -> Iterator[str]:
        """Remove and yield all lines, in order."""
        if self._file is not None:
            with self._file as file:
                self._file = None
                file.seek(0)
                rest = b""
                while data := file.read(_READ_BYTES):
                    *whole, rest = (rest + data).split(b"\0")
                    for line in whole:
                        yield line.decode("utf-8", "surrogateescape")
        lines, self._lines, self._bytes = self._lines, [], 0
        yield from lines
