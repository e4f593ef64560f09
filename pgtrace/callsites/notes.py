"""The notes that a program's processes leave: which line of it was about to send a statement.

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
                thread, unrelated to this one, began the transaction that is open
    I slot      its number from 1: an unfinished note has another

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

FILES_KEPT: Final = 4_096
"""The most files of one directory that are read."""
LARGEST_FILE: Final = 1 << 20
SITES_BYTES: Final = 16 << 20
"""The most that is read of a text of places."""
SITES_KEPT: Final = 100_000
LONGEST: Final = 1_024
"""The longest name of a file or a function, in characters."""
_NAME: Final = re.compile(r"\d+-[0-9a-f]+-\d+\.notes\Z")
_ESCAPED: Final = re.compile(r"\\([\\tn])")
_ESCAPES: Final = {"\\": "\\", "t": "\t", "n": "\n"}
_READ_BYTES: Final = SLOT.size * 4_096


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
    """A statement was about to be sent."""

    time_ns: int
    crc: int
    length: int
    site: Site | None
    backend_pid: int
    port: int
    flags: int


class Notes:
    """The notes of one directory."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.processes: set[int] = set()
        """Process ids that have noted something."""
        self._files: dict[str, _File] = {}

    def read(self) -> list[Note]:
        """What is new, by time. Never raises."""
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
        found.sort()
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
        self._sites: list[Site] = []
        self._cut = b""
        self._sites_bytes = 0

    def read(self) -> list[Note]:
        if self._notes < 0:
            return []
        found: list[Note] = []
        while self._slots * SLOT.size < LARGEST_FILE:
            try:
                data = os.pread(self._notes, _READ_BYTES, self._slots * SLOT.size)
            except OSError:
                break
            before = self._slots
            for time_ns, crc, length, site, backend_pid, port, flags, slot in SLOT.iter_unpack(data[: len(data) // SLOT.size * SLOT.size]):
                if slot != self._slots + 1:
                    break
                self._slots += 1
                found.append(Note(time_ns, crc, length, self._site(site), backend_pid, port, flags))
            if self._slots - before < _READ_BYTES // SLOT.size:
                break
        return found

    def _site(self, number: int) -> Site | None:
        if number > len(self._sites):
            self._read_sites()
        return self._sites[number - 1] if 0 < number <= len(self._sites) else None

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


def _site_of(line: bytes) -> Site:
    """A line of `.sites`: number, line, file and function, separated by tabs."""
    _, number, file, function = [*line.decode("utf-8", "surrogateescape").split("\t"), "", "", "", ""][:4]
    return Site(_plain(file), int(number) if re.fullmatch(r"\d{1,9}", number) else 0, _plain(function))


def _plain(text: str) -> str:
    return _ESCAPED.sub(lambda found: _ESCAPES[found[1]], text[:LONGEST])


def _opened(path: str) -> int:
    """A descriptor of a regular file of ours; -1 if there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return -1
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        os.close(descriptor)
        return -1
    return descriptor
