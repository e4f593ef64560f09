"""FILEs and standard input: their kind, from their first bytes, and their bytes, decompressed.

gzip, bzip2, xz and zstd are unpacked, whatever they contain. Memory stays bounded however well the
data was compressed. If a compressed file ends early or is damaged, everything that can be read of
it is read, and `trouble` says why the rest cannot. The same applies if unpacking needs more memory
than the output of xz -9 and zstd -19 does.

A stream (standard input, a named pipe, `<(...)`) is read once, as it arrives. interrupt() ends it:
bytes on their way are still read, then it counts as ended. That is how Ctrl-C ends a live stream. A
file is read up to the size it had when it was opened, since a file that grows as fast as it is read
would never end.
"""

from __future__ import annotations

import bz2
import importlib
import lzma
import os
import select
import stat
import sys
import time
import zlib
from collections.abc import Iterator
from functools import partial
from types import ModuleType
from typing import Any, Final

from pgtrace.errors import CaptureError, MissingExtra

STDIN: Final = "-"
READ_BYTES: Final = 256 * 1024
"""The bytes per read. Larger reads make importing slower: 400,000 packets/s with 256 KiB, 320,000
with 1 MiB."""
_PIECE_BYTES: Final = 1024 * 1024
_FIRST_BYTES: Final = 8
_PADDING: Final = b"\0"
"""Padding between the members of a compressed file and after the last one."""
_POLL_S: Final = 0.2
_LAST_S: Final = 1.0
"""How long a stream may continue after interrupt()."""
_GZIP: Final = b"\x1f\x8b"
_BZIP2: Final = b"BZh"
_XZ: Final = b"\xfd7zXZ\0"
_XZ_BYTES: Final = 80 * 1024 * 1024
"""The memory for unpacking xz: -9 needs 65 MiB."""
_TOO_LARGE: Final = f"needs more than {_XZ_BYTES >> 20} MiB of memory to unpack: unpack it with xz -dc first"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_MODULES: Final = ("compression.zstd", "backports.zstd")
"""The first is part of Python since 3.14; the other is the same module for older versions."""


class Input:
    """One FILE, read from its beginning to its end."""

    def __init__(self, path: str) -> None:
        """Open the FILE and read its first bytes. Raises CaptureError, and MissingExtra if it is
        compressed with zstd and no module for that is installed."""
        self.path = path
        self.trouble = ""
        """Why the FILE could not be read to its end; empty if it could."""
        self.done_bytes = 0
        """The bytes read so far, as they are on disk."""
        self._end_s: float | None = None  # when it ends, after interrupt()
        try:
            self._descriptor = sys.stdin.fileno() if path == STDIN else os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            status = os.fstat(self._descriptor)
            self.is_stream = path == STDIN or not stat.S_ISREG(status.st_mode)
            """Whether it can be read only once and may still grow."""
            self._left = None if self.is_stream else status.st_size
            first = self._read()
            while 0 < len(first) < _FIRST_BYTES and (more := self._read()):
                first += more
        except OSError as error:
            raise CaptureError(path, (error.strerror or str(error)).lower()) from None
        self._chunks = self._decompressed(first)
        self.first = next(self._chunks, b"")
        """Its first bytes, decompressed. read() returns them again."""
        self._given = False

    @property
    def size_bytes(self) -> int | None:
        """The file's size on disk; None for a stream."""
        return None if self._left is None else self.done_bytes + self._left

    def read(self) -> bytes:
        """The next bytes, decompressed; empty at the end."""
        if not self._given:
            self._given = True
            return self.first
        return next(self._chunks, b"")

    def pauses(self) -> bool:
        """Whether this is a stream from which nothing has arrived for a moment."""
        return self.is_stream and self._given and not self._is_ready()

    def interrupt(self) -> None:
        """Make a stream end soon."""
        self._end_s = time.monotonic() + _LAST_S

    def close(self) -> None:
        """Close the file. Standard input stays open."""
        if self.path != STDIN and self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def _read(self) -> bytes:
        while self.is_stream and hasattr(select, "poll"):
            ready = self._is_ready()
            if self._end_s is not None and (not ready or time.monotonic() > self._end_s):
                return b""
            if ready:
                break
        data = os.read(self._descriptor, READ_BYTES if self._left is None else min(READ_BYTES, self._left))
        self.done_bytes += len(data)
        if self._left is not None:
            self._left -= len(data)
        return data

    def _is_ready(self) -> bool:
        """Whether a read would return within a moment; True if that cannot be known."""
        if not hasattr(select, "poll"):  # Windows has neither poll() nor a way to wait for a pipe
            return True
        return bool(select.select([self._descriptor], [], [], _POLL_S)[0])

    def _raw(self, first: bytes) -> Iterator[bytes]:
        data = first
        while data:
            yield data
            try:
                data = self._read()
            except OSError as error:
                self.trouble = (error.strerror or str(error)).lower()
                return

    def _decompressed(self, first: bytes) -> Iterator[bytes]:
        if first.startswith(_GZIP):
            return self._inflated(self._raw(first), _Gzip)
        if first.startswith(_BZIP2):
            return self._inflated(self._raw(first), bz2.BZ2Decompressor, OSError)
        if first.startswith(_XZ):
            return self._inflated(self._raw(first), partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, _XZ_BYTES), lzma.LZMAError)
        if first.startswith(_ZSTD):
            module = _zstd()
            return self._inflated(self._raw(first), module.ZstdDecompressor, module.ZstdError)
        return self._raw(first)

    def _inflated(self, chunks: Iterator[bytes], decompressor: Any, failure: type[Exception] = zlib.error) -> Iterator[bytes]:
        """Decompress members, or frames, one after the other, in pieces of bounded size."""
        current = None
        try:
            for chunk in chunks:
                data = chunk if current is not None else chunk.lstrip(_PADDING)
                while data or (current is not None and not current.needs_input):
                    current = current or decompressor()
                    piece = current.decompress(data, _PIECE_BYTES)
                    data = b""
                    if piece:
                        yield piece
                    if current.eof:
                        data, current = current.unused_data.lstrip(_PADDING), None
        except failure as error:
            self.trouble = _TOO_LARGE if "usage limit" in str(error) else f"damaged: {error}"
            return
        if current is not None:
            self.trouble = self.trouble or "cut off: the compressed data is incomplete"


class _Gzip:
    """One member of a gzip file, with the interface of the zstd module's decompressor."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
        # The last piece was cut at its bound: more may follow without further input.
        self._full = False

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    @property
    def needs_input(self) -> bool:
        return not (self._full or self._inflate.unconsumed_tail)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        piece = self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)
        self._full = len(piece) == max_length
        return piece


def _zstd() -> ModuleType:
    for name in _ZSTD_MODULES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise MissingExtra("zstd", "reading zstd")
