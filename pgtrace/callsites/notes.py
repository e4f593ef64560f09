"""Reads the notes that a program's processes leave: the line of code that was about to send each
statement.

    notes = Notes(directory)
    notes.read()        # what is new since the last time, of all processes, by time

Each process maps its own files, `<pid>-<time>-<n>.notes`, and appends the places in the source to a
text beside each, `.sites` (program/_pgtrace_callsites.py). A note is made before its statement is
sent, so once you have read the statement from the wire, the note is there.

A note has 32 bytes, little-endian:

    Q time      monotonic ns
    I crc       CRC-32 of the statement's text, of its first `length` bytes
    I length    bytes that the CRC covers; WHOLE for all
    I site      number of the line in `.sites`; 0 if it is not known
    I backend   backend process id, from BackendKeyData
    H port      local port of the driver's socket; 0 for a Unix socket
    H flags     BATCH: executions of one call, PREPARE: no execution, HANDED_ON: another task or
                thread, unrelated to this one, began the transaction that is open, MARK: the end of a
                mark, whose microseconds are in `length`; bits 8 to 10: its driver, one of DRIVERS
    I slot      its number from 1: an unfinished note has another, and may be finished after later ones

The directory is private to the user, but its contents are still not trusted: names, sizes and text
are bounded, and what does not fit is skipped.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from typing import Final, NamedTuple

SLOT: Final = struct.Struct("<QIIIIHHI")
WHOLE: Final = 0xFFFFFFFF
BATCH: Final = 1
PREPARE: Final = 2
HANDED_ON: Final = 4
MARK: Final = 8
DRIVERS: Final = ("", "asyncpg", "psycopg", "psycopg2", "pg8000")
_DRIVER_BITS: Final = 8
MARKS_IN: Final = "marks"
"""The name of the file with marks of any program."""
SEPARATOR: Final = "\x1f"
"""The character between two names of marks."""
DEEPEST: Final = 16

FILES_KEPT: Final = 4_096
"""The most files of one directory that are read."""
LARGEST_FILE: Final = 1 << 20
SITES_BYTES: Final = 16 << 20
"""The most that is read of a text of places."""
SITES_KEPT: Final = 100_000
LONGEST: Final = 1_024
"""The longest name of a file or a function, in characters."""
_NAME: Final = re.compile(r"\d+-[0-9a-f]+-\d+\.notes\Z")
_MARK_LINE: Final = re.compile(rb"(\d{1,18})[ \t]+(begin|end)[ \t]+(\S.*)", re.DOTALL)
MARK_LINES_BYTES: Final = 64 << 20
LONGEST_MARK_LINE: Final = 4_096
_ESCAPED: Final = re.compile(r"\\([\\tn])")
_ESCAPES: Final = {"\\": "\\", "t": "\t", "n": "\n"}
_READ_BYTES: Final = SLOT.size * 4_096
_UNFINISHED: Final = 64
"""How many slots of a file may be unfinished at once: a thread that has its slot may have to wait
while others write theirs."""


def driver(flags: int) -> str:
    """The driver in which a note was made; empty if the note does not say."""
    number = flags >> _DRIVER_BITS & 7
    return DRIVERS[number] if number < len(DRIVERS) else ""


class Site(NamedTuple):
    """A place in the source."""

    file: str
    line: int
    function: str

    @property
    def words(self) -> str:
        """`app/orders.py:41 in list_orders`."""
        return f"{self.file}:{self.line} in {self.function}"


class Note(NamedTuple):
    """A note that a statement was about to be sent."""

    time_ns: int
    crc: int
    length: int
    site: Site | None
    backend_pid: int
    port: int
    flags: int
    marks: tuple[str, ...] = ()
    """The marks that were open, the outermost first."""


class MarkLines:
    """Marks that any program appends to a file: lines of monotonic ns, `begin` or `end`, and a
    name."""

    def __init__(self, directory: str) -> None:
        self._file = _opened(os.path.join(directory, MARKS_IN))
        self._read_bytes = 0
        self._cut = b""

    def read(self) -> list[tuple[int, bool, str]]:
        """The new lines: time, whether it begins, name. Other lines are skipped.
        Never raises."""
        found: list[tuple[int, bool, str]] = []
        while self._file >= 0 and self._read_bytes < MARK_LINES_BYTES:
            try:
                data = os.pread(self._file, 1 << 16, self._read_bytes)
            except OSError:
                break
            if not data:
                break
            self._read_bytes += len(data)
            *lines, self._cut = (self._cut + data).split(b"\n")
            self._cut = self._cut[-LONGEST_MARK_LINE:]
            for line in lines:
                parts = _MARK_LINE.fullmatch(line[:LONGEST_MARK_LINE].rstrip(b"\r"))
                if parts is not None:
                    found.append((int(parts[1]), parts[2] == b"begin", parts[3].decode("utf-8", "surrogateescape")))
        return found


class Notes:
    """The notes of one directory."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.processes: set[int] = set()
        """Process ids that have noted something."""
        self._files: dict[str, _File] = {}

    def read(self) -> list[Note]:
        """The new notes, by time. Never raises."""
        try:
            names = [entry.name for entry in os.scandir(self.directory) if _NAME.match(entry.name)]
        except OSError:
            return []
        for name in names:
            if name not in self._files and len(self._files) < FILES_KEPT:
                self._files[name] = _File(os.path.join(self.directory, name.removesuffix(".notes")))
        found: list[Note] = []
        for name, file in self._files.items():
            if new := file.read():
                self.processes.add(int(name.partition("-")[0]))
                found += new
        found.sort(key=lambda note: note.time_ns)
        return found

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()


class _File:
    """One file of notes, and its places."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._notes = _opened(f"{path}.notes")
        self._texts = _opened(f"{path}.sites")
        self._slots = 0
        self._unfinished: list[int] = []
        """Earlier slots that were not finished yet."""
        self._sites: list[tuple[Site | None, tuple[str, ...]]] = []
        self._cut = b""
        self._sites_bytes = 0

    def read(self) -> list[Note]:
        if self._notes < 0:
            return []
        found: list[Note] = []
        for number in self._unfinished[:]:
            if self._take(number, self._read(number, SLOT.size), found):
                self._unfinished.remove(number)
        while self._slots * SLOT.size < LARGEST_FILE:
            before, first = self._slots, self._slots
            data = self._read(first, _READ_BYTES)
            for number in range(first, first + len(data) // SLOT.size):
                start = (number - first) * SLOT.size
                if self._take(number, data[start : start + SLOT.size], found):
                    self._unfinished += range(self._slots, number)
                    self._slots = number + 1
                elif number - self._slots >= _UNFINISHED:
                    break
            del self._unfinished[:-_UNFINISHED]
            if self._slots - before < _READ_BYTES // SLOT.size - _UNFINISHED:
                break
        return found

    def _read(self, slot: int, size: int) -> bytes:
        try:
            return os.pread(self._notes, size, slot * SLOT.size)
        except OSError:
            return b""

    def _take(self, number: int, data: bytes, found: list[Note]) -> bool:
        """The note of that slot, if it is finished."""
        if len(data) < SLOT.size:
            return False
        time_ns, crc, length, site, backend_pid, port, flags, slot = SLOT.unpack(data)
        if slot != number + 1:
            return False
        place, marks = self._site(site)
        found.append(Note(time_ns, crc, length, place, backend_pid, port, flags, marks))
        return True

    def _site(self, number: int) -> tuple[Site | None, tuple[str, ...]]:
        if number > len(self._sites):
            self._read_sites()
        return self._sites[number - 1] if 0 < number <= len(self._sites) else (None, ())

    def _read_sites(self) -> None:
        while self._texts >= 0 and self._sites_bytes < SITES_BYTES:
            try:
                data = os.pread(self._texts, 1 << 16, self._sites_bytes)
            except OSError:
                return
            if not data:
                return
            self._sites_bytes += len(data)
            *lines, self._cut = (self._cut + data).split(b"\n")
            for line in lines:
                if len(self._sites) < SITES_KEPT:
                    self._sites.append(_site_of(line))

    def close(self) -> None:
        for descriptor in (self._notes, self._texts):
            if descriptor >= 0:
                os.close(descriptor)
        self._notes = self._texts = -1


def _site_of(line: bytes) -> tuple[Site | None, tuple[str, ...]]:
    """Parse a line of `.sites`: number, line, file, function and marks, separated by tabs. Without
    a file it has only marks.
    """
    _, number, file, function, marks = [*line.decode("utf-8", "surrogateescape").split("\t"), "", "", "", "", ""][:5]
    names = tuple(_plain(name) for name in marks.split(SEPARATOR)[:DEEPEST]) if marks else ()
    if not file:
        return None, names
    return Site(_plain(file), int(number) if re.fullmatch(r"\d{1,9}", number) else 0, _plain(function)), names


def _plain(text: str) -> str:
    return _ESCAPED.sub(lambda found: _ESCAPES[found[1]], text[:LONGEST])


def _opened(path: str) -> int:
    """A descriptor for a regular file of this user; -1 if there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return -1
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        os.close(descriptor)
        return -1
    return descriptor
