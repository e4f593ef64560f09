"""How a capture file begins, and which versions of the format can be read.

The header says what the file is (magic), how to read it (version), which moment its monotonic times
refer to (both clocks, read together), and where it was made. It also has the file's `mark`: four
random bytes that begin every block. Without the mark, if one capture travelled through PostgreSQL
inside another, its bytes would look like blocks to a reader that has to search.

- The major version changes when an older reader would misread the file. A reader refuses a newer
  major version by name and supports every older one for ever: READERS has a function for each, and
  tests/data a sample.
- The minor version changes when something is added that an older reader can leave out: a record
  kind, a field at a record's end, a header field. 1.1 added Ended and Pause, 1.2 CallSite.

docs/captures.md has the layout, byte by byte.
"""

from __future__ import annotations

import os
import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pgtrace
from pgtrace.capture import record
from pgtrace.capture.record import Record
from pgtrace.errors import CaptureError, NewerCapture

VERSION: Final = (1, 2)
"""The major and minor version that this pgtrace writes."""

READERS: Final[dict[int, Callable[[bytes, int], list[Record]]]] = {1: record.decode_all}
"""Major version -> the function that turns a block's bytes and its first time into records."""

MAGIC: Final = b"\x89PGT\r\n\x1a\n"
"""The first eight bytes. They are not text, and any conversion of line ends breaks them."""

# magic, major, minor, length of the header, CRC-32 of what follows
_START: Final = struct.Struct(">8sHHII")
_CLOCKS: Final = struct.Struct(">4sQQ")  # mark, wall clock, monotonic clock
_LENGTH: Final = struct.Struct(">I")
LONGEST_HEADER: Final = 65536
_LATEST_WALL_NS: Final = 4 * 10**18
"""The end of 2096."""
_MOST_AHEAD_NS: Final = 5 * 10**17
"""The monotonic clock counts from the machine's start, so it is behind the wall clock. It may be
ahead by at most 15 years, longer than any machine has run."""


@dataclass(frozen=True, slots=True)
class Header:
    """The start of a capture file: format version, the two clocks read together, and who wrote it
    where."""

    version: tuple[int, int]
    mark: bytes
    wall_ns: int
    monotonic_ns: int
    pgtrace: str
    host: str

    @classmethod
    def now(cls) -> Header:
        """The header of a capture that begins now, on this machine."""
        import socket  # readers do not need it

        return cls(VERSION, os.urandom(4), time.time_ns(), time.monotonic_ns(), pgtrace.__version__, socket.gethostname())

    def encode(self) -> bytes:
        """The header's bytes."""
        rest = _CLOCKS.pack(self.mark, self.wall_ns, self.monotonic_ns)
        for text in (self.pgtrace, self.host):
            content = record.encode_text(text)
            rest += _LENGTH.pack(len(content)) + content
        return _START.pack(MAGIC, *self.version, _START.size + len(rest), zlib.crc32(rest)) + rest


def parse_header(path: str, data: bytes) -> tuple[Header, int] | None:
    """The header at the beginning of `data`, the first bytes of the file at `path`, and its length;
    None if it is not complete yet.

    Raises NewerCapture for a major version that this pgtrace does not know, CaptureError for
    everything that is not a capture.
    """
    if not MAGIC.startswith(data[: len(MAGIC)]):
        raise CaptureError(path, "not a pgtrace capture")
    if len(data) < _START.size:
        return None
    _, major, minor, length, crc = _START.unpack_from(data)
    if major > VERSION[0]:
        raise NewerCapture(path, major, VERSION[0])
    if major not in READERS or not _START.size + _CLOCKS.size + 8 <= length <= LONGEST_HEADER:
        raise CaptureError(path, "its header is damaged")
    if len(data) < length:
        return None
    if zlib.crc32(data[_START.size : length]) != crc:
        raise CaptureError(path, "its header is damaged")
    mark, wall_ns, monotonic_ns = _CLOCKS.unpack_from(data, _START.size)
    if wall_ns > _LATEST_WALL_NS or monotonic_ns > wall_ns + _MOST_AHEAD_NS:
        raise CaptureError(path, "the times in its header are impossible")
    texts = []
    position = _START.size + _CLOCKS.size
    for _ in range(2):
        size = int.from_bytes(data[position : position + 4], "big")
        texts.append(data[position + 4 : min(position + 4 + size, length)].decode("utf-8", "surrogateescape"))
        position += 4 + size
    return Header((major, minor), mark, wall_ns, monotonic_ns, texts[0], texts[1]), length
