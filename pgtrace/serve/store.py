"""The bytes of a recording, in a temporary file that has no name.

A Stream is one direction of one connection. Bytes are appended, and read again at any place. They
are written in extents of EXTENT_BYTES, so the index of a stream is small: 16 bytes for each extent.
Bytes that have not been written yet stay in memory.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from array import array
from bisect import bisect_right
from typing import Final

EXTENT_BYTES: Final = 16 * 1024


class Store:
    """The temporary file."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the last user)
        weakref.finalize(self, self._file.close)
        self._end = 0

    def append(self, data: bytes | bytearray) -> int:
        """Write the bytes; returns their place."""
        place, view = self._end, memoryview(data)
        while view:
            written = os.pwrite(self._file.fileno(), view, self._end)
            self._end += written
            view = view[written:]
        return place

    def read(self, place: int, size: int) -> bytes:
        """Bytes that were written there."""
        parts: list[bytes] = []
        while size and (part := os.pread(self._file.fileno(), size, place)):
            parts.append(part)
            place += len(part)
            size -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        """Close and so remove the file."""
        self._file.close()


class Stream:
    """One direction of a recorded connection."""

    __slots__ = ("_buffer", "_places", "_starts", "_store", "_written")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._starts = array("Q")
        self._places = array("Q")
        self._written = 0
        self._buffer = bytearray()

    @property
    def length(self) -> int:
        """Bytes so far."""
        return self._written + len(self._buffer)

    def append(self, data: bytes) -> None:
        """Add bytes at its end."""
        self._buffer += data
        if len(self._buffer) >= EXTENT_BYTES:
            self.settle()

    def settle(self) -> None:
        """Write what is still in memory."""
        if self._buffer:
            self._starts.append(self._written)
            self._places.append(self._store.append(self._buffer))
            self._written += len(self._buffer)
            self._buffer = bytearray()

    def read(self, offset: int, size: int) -> bytes:
        """At most `size` bytes from there; fewer only at the end of the stream."""
        parts: list[bytes] = []
        index = bisect_right(self._starts, offset) - 1
        while size and offset < self._written:
            end = self._starts[index + 1] if index + 1 < len(self._starts) else self._written
            taken = min(size, end - offset)
            parts.append(self._store.read(self._places[index] + offset - self._starts[index], taken))
            offset += taken
            size -= taken
            index += 1
        if size:
            begin = offset - self._written
            parts.append(bytes(self._buffer[begin : begin + size]))
        return b"".join(parts)
