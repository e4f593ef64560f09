"""Writing a capture file: append-only, private, whole blocks only.

One call of write() or append() is one flush. The recorder collects encoded records while it
forwards, and calls from a separate thread, so a slow disk does not hold up the traffic. append()
costs a join, a checksum and a system call per block, whatever the number of records.

- The file is created with mode 0600 whatever the umask, never over an existing one and never
  through a symbolic link.
- A failed write raises the original OSError. A block that was begun is cut off again, so a full
  disk leaves no torn block in the middle. `records` is the number of records that are whole in the
  file, and the caller counts the rest as lost.
- Nothing is buffered here. When write() returns, readers see the block, and a kill loses none of
  it. There is no footer.
- When a recording ends, an End record says so. A file without one was cut short or is still
  growing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Final, Self

from pgtrace.capture import blocks, record
from pgtrace.capture.record import Record
from pgtrace.capture.versions import Header
from pgtrace.errors import CaptureError, OutputExists

BLOCK_BYTES: Final = 1024 * 1024
"""The most bytes of records put into one block, unless a single record is larger."""


def encode_blocks(mark: bytes, parts: Sequence[bytes], flags: int = 0) -> Iterator[tuple[bytearray, int]]:
    """The blocks that hold the records of these pieces (encode_parts()), each with the number of
    its records."""
    for start, stop in _cuts(parts):
        held = parts[start:stop]
        yield blocks.encode_block(mark, record.time_of(*held[:2]), record.time_of(*held[-2:]), held, flags), (stop - start) // 2


def _cuts(parts: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """The start and end of each block's pieces in `parts`."""
    if sum(map(len, parts)) > BLOCK_BYTES:
        start = size = 0
        for at in range(0, len(parts), 2):
            length = len(parts[at]) + len(parts[at + 1])
            if size + length > BLOCK_BYTES and size:
                yield start, at
                start, size = at, 0
            size += length
        yield start, len(parts)
    elif parts:
        yield 0, len(parts)


class CaptureWriter:
    """A capture file that is being written."""

    def __init__(self, path: str | os.PathLike[str], *, exclusive: bool = True, header: Header | None = None) -> None:
        """Create the file and write its header. With `exclusive` off, an existing file is emptied
        first.

        Raises OutputExists, and CaptureError if the file cannot be created.
        """
        self.path = os.fspath(path)
        self.header = header or Header.now()
        self.records = 0
        """The number of records that are whole in the file."""
        flags = os.O_WRONLY | os.O_CREAT | (os.O_EXCL if exclusive else os.O_TRUNC)
        for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"):
            flags |= getattr(os, name, 0)
        try:
            self._descriptor = os.open(self.path, flags, 0o600)
        except FileExistsError:
            raise OutputExists(self.path) from None
        except OSError as error:
            raise CaptureError(self.path, f"cannot be created: {(error.strerror or str(error)).lower()}") from None
        self.offset = 0
        """The end of the last whole block, where the next one will begin."""
        try:
            self._append(self.header.encode())
        except OSError as error:
            self.close()
            os.unlink(self.path)
            raise CaptureError(self.path, f"cannot be written: {(error.strerror or str(error)).lower()}") from None

    def write(self, records: Iterable[Record], *, flags: int = 0) -> int:
        """Append the records as one block, or as several if they do not fit. Returns the file's
        offset after them.

        Raises OSError if the disk fails, after cutting the file back to its last whole block if
        possible.
        """
        return self.append(record.encode_parts(records), flags=flags)

    def append(self, parts: Sequence[bytes], notes: object = None, *, flags: int = 0) -> int:
        """Append encoded records (encode_parts()), as write() does. `notes` are for writers that
        need the records themselves; this class ignores them."""
        for block, count in encode_blocks(self.header.mark, parts, flags):
            self._append(block)
            self.records += count
        return self.offset

    def copy(self, block: blocks.Block) -> None:
        """Append a block of another file unchanged."""
        self._append(block.copied(self.header.mark))

    def _append(self, data: bytes | bytearray) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except BaseException:
            self._cut()
            raise
        self.offset += len(data)

    def _cut(self) -> None:
        """Remove what a failed write left. If even that fails, a reader skips it as damage."""
        try:
            os.ftruncate(self._descriptor, self.offset)
        except OSError:
            pass
        self.offset = os.lseek(self._descriptor, 0, os.SEEK_END)

    def close(self) -> None:
        """Close the file. Closing twice is fine."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
