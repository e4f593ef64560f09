"""How a capture file begins, and which versions of the format can be read.

The header says what the file is (magic), how it is to be read (version), which moment its monotonic times belong to (both clocks, read together),
and where it was made. It also draws the file's `mark`: four random bytes that stand in front of every block. Without it, the bytes of one capture
that travelled through PostgreSQL inside another one would look like blocks there once a reader has to search.

- The major version changes when an older reader would misread the file. A reader refuses a newer major version by name, and keeps every older one for
  ever: READERS has one function each, and tests/data one sample.
- The minor version changes when something is added that an older reader can leave out: a record kind, a field at a record's end, a header field. 1.1 added
  Ended and Pause, 1.2 CallSite.

The layout, byte by byte, is in docs/captures.md.
"""

from __future__ import annotations

import os
import socket
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
"""Major and minor version of what this pgtrace writes."""

READERS: Final[dict[int, Callable[[bytes, int], list[Record]]]] = {1: record.decode_all}
"""Major version -> what turns a block's bytes and its first time into records."""

MAGIC: Final = b"\x89PGT\r\n\x1a\n"
"""The first eight bytes: no text, and broken by whatever translates line ends."""

_START: Final = struct.Struct(">8sHHII")  # magic, major, minor, length of the header, CRC-32 of what follows here
_CLOCKS: Final = struct.Struct(">4sQQ")  # mark, wall clock, monotonic clock
_LENGTH: Final = struct.Struct(">I")
LONGEST_HEADER: Final = 65536
_LATEST_WALL_NS: Final = 4 * 10**18
"""The end of 2096."""
_MOST_AHEAD_NS: Final = 5 * 10**17
"""The monotonic clock counts from the start of the machine, so it is behind the wall clock, or as little before it as no machine has ever run: 15 years."""


@dataclass(frozen=True, slots=True)
class Header:
    """The start of a capture file: format version, the two clocks read together, and who wrote it where."""

    version: tuple[int, int]
    mark: bytes
    wall_ns: int
    monotonic_ns: int
    pgtrace: str
    host: str

    @classmethod
    def now(cls) -> Header:
        """The header of a capture that begins now, on this machine."""
        return cls(VERSION, os.urandom(4), time.time_ns(), time.monotonic_ns(), pgtrace.__version__, socket.gethostname())

    def encode(self) -> bytes:
        """The header's bytes."""
        rest = _CLOCKS.pack(self.mark, self.wall_ns, self.monotonic_ns)
        for text in (self.pgtrace, self.host):
            content = record.encode_text(text)
            rest += _LENGTH.pack(len(content)) + content
        return _START.pack(MAGIC, *self.version, _START.size + len(rest), zlib.crc32(rest)) + rest


def parse_header(path: str, data: bytes) -> tuple[Header, int] | None:
    """The header that `data`, the first bytes of the file at `path`, begins with, and its length; None where it has not been written to its end yet.

    Raises NewerCapture for a major version this pgtrace does not know, CaptureError for everything that is no capture.
    """
    if not MAGIC.startswith(data[: len(MAGIC)]):
        raise CaptureError(path, "not a pgtrace capture: it does not begin like one")
    if len(data) < _START.size:
        return None
    _, major, minor, length, crc = _START.unpack_from(data)
    if major > VERSION[0]:
        raise NewerCapture(path, major, VERSION[0])
    if major not in READERS or not _START.size + _CLOCKS.size + 8 <= length <= LONGEST_HEADER:
        raise CaptureError(path, "its header is damaged: versions and clocks cannot be trusted")
    if len(data) < length:
        return None
    if zlib.crc32(data[_START.size : length]) != crc:
        raise CaptureError(path, "its header is damaged: versions and clocks cannot be trusted")
    mark, wall_ns, monotonic_ns = _CLOCKS.unpack_from(data, _START.size)
    if wall_ns > _LATEST_WALL_NS or monotonic_ns > wall_ns + _MOST_AHEAD_NS:
        raise CaptureError(path, "its header says times that cannot be: its clocks cannot be trusted")
    texts = []
    position = _START.size + _CLOCKS.size
    for _ in range(2):
        size = int.from_bytes(data[position : position + 4], "big")
        texts.append(data[position + 4 : min(position + 4 + size, length)].decode("utf-8", "surrogateescape"))
        position += 4 + size
    return Header((major, minor), mark, wall_ns, monotonic_ns, texts[0], texts[1]), length
