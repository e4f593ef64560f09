"""A capture that arrives through a pipe: its records, as its bytes arrive.

Torn and damaged bytes are found and reported as in a file, because the search is the same
(blocks.py). Only bytes in which no whole block has been found yet are kept.
"""

from __future__ import annotations

import struct
from typing import Final

from pgtrace.capture.blocks import Block, BlockFile
from pgtrace.capture.record import LONGEST, NEITHER, Gap, Open, Record
from pgtrace.capture.versions import LONGEST_HEADER, Header

_LENGTH: Final = struct.Struct(">12xI")
_READ_BYTES: Final = 1024 * 1024
_MOST_BYTES: Final = 4 * LONGEST
"""The most bytes that are kept while no whole block is found in them."""


class StreamedCapture:
    """Reads a capture from its first byte."""

    def __init__(self, path: str) -> None:
        """`path` is for error messages."""
        self.header: Header | None = None
        """The capture's header, once it has arrived."""
        self.connections = 0
        """The number of connections opened so far."""
        self._path = path
        self._early = b""
        self._window: _Window | None = None
        self._begun = False

    def feed(self, data: bytes) -> list[Record]:
        """The records of the blocks that `data`, the next bytes, completes. Raises CaptureError,
        and NewerCapture for a header that cannot be read."""
        window = self._window
        if window is None:
            self._early += data
            if len(self._early) < _LENGTH.size or len(self._early) < min(_LENGTH.unpack_from(self._early)[0], LONGEST_HEADER):
                return []
            window = self._window = _Window(self._path, self._early)
            self.header = window.header
        else:
            window.append(data)
        records = self._next_records(window)
        if window.left_bytes > _MOST_BYTES:
            records.append(Gap(records[-1][0] if records else window.header.monotonic_ns, 0, NEITHER, window.skip(), 0))
        return records

    def finish(self, *, cut: bool = False) -> list[Record]:
        """The stream has ended; `cut`: it ended too early. Returns the remaining records. Raises
        CaptureError if it did not even have a header."""
        if self._window is None:
            self._window = _Window(self._path, self._early)
        # The second search knows that no more bytes will come.
        return self._next_records(self._window) + self._next_records(self._window)

    def _next_records(self, window: _Window) -> list[Record]:
        records: list[Record] = []
        while blocks := window.next_blocks():
            for block in blocks:
                if not (block.carried and self._begun):
                    records += block.records
                self._begun = True
        self.connections += sum(type(record) is Open for record in records)
        return records

    def notes(self) -> list[str]:
        """A line about the last block, if it is cut off."""
        torn = self._window.left_bytes if self._window is not None else 0
        return [f"its last block is cut off after {torn} bytes; everything before it was read"] if torn else []

    def nothing_found(self) -> str:
        """Always empty: a capture may well have no connections."""
        return ""


class _Window(BlockFile):
    """The part of the stream that is still needed, as if it were the end of a file."""

    def __init__(self, path: str, data: bytes) -> None:
        self._data = bytearray(data)
        self._gone = 0  # bytes before it
        super().__init__(path)
        self._offset = self.start

    def append(self, data: bytes) -> None:
        """Add bytes."""
        self._data += data

    def next_blocks(self) -> list[Block]:
        """The next whole blocks, and Gaps for the damage between them."""
        blocks, self._offset = self.scan(self._offset, _READ_BYTES)
        del self._data[: self._offset - self._gone]
        self._gone = self._offset
        return blocks

    def skip(self) -> int:
        """Drop all bytes and return their number."""
        size = len(self._data)
        self._gone = self._offset = self._gone + size
        self._data.clear()
        return size

    @property
    def left_bytes(self) -> int:
        """The number of bytes that are not a whole block."""
        return len(self._data)

    def size(self) -> int:
        """The bytes of the stream so far."""
        return self._gone + len(self._data)

    def read_at(self, offset: int, size: int) -> bytes:
        """As for a file. `offset` is never before the window."""
        start = offset - self._gone
        return bytes(self._data[start : start + size])

    def _open(self) -> None:
        """Do nothing: there is no file to open."""
