"""Writing a capture file: append-only, private, and whole blocks only.

One call of write() is one flush. The recorder collects records while it forwards and calls from a thread of its own, so a slow disk is this module's
problem and nobody else's; what a flush costs is encoding (about 0.5 us a Data record, bench in tests/capture) and one system call a block.

- The file is created 0600 whatever the umask says, never over an existing one and never through a symbolic link.
- What cannot be written goes back to the caller as the OSError it was. A block that was begun is cut off again, so that a full disk leaves no torn
  block in the middle; `records` says how many records stand whole, and the caller counts the rest as lost.
- Nothing is buffered here: when write() returns, readers see the block, and a kill loses nothing of it. There is no footer.
- Whoever writes says that it ends, with an End record; a file without one was cut short or is still growing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Final, Self

from pgtrace.capture import blocks, record
from pgtrace.capture.record import Data, Record
from pgtrace.capture.versions import Header
from pgtrace.errors import CaptureError, OutputExists

BLOCK_BYTES: Final = 1024 * 1024
"""The most bytes of records put into one block, unless a single record is larger."""


def encode_blocks(mark: bytes, records: Iterable[Record], flags: int = 0) -> Iterator[tuple[bytes, int]]:
    """The blocks that hold `records`, each with the number of its records."""
    head = record.DATA_HEAD.pack
    fixed = record.DATA_FIXED
    parts: list[bytes] = []
    size = count = first_ns = last_ns = 0
    for item in records:
        if type(item) is Data:
            time_ns, connection, side, offset, data = item
            length = len(data) + fixed
            piece = head(length, record.DATA, time_ns, connection, side, offset)
            length += 4
        else:
            time_ns, piece, data = item[0], record.encode(item), b""
            length = len(piece)
        if size + length > BLOCK_BYTES and count:
            yield blocks.encode_block(mark, first_ns, last_ns, parts, flags), count
            parts = []
            size = count = 0
        if not count:
            first_ns = time_ns
        parts.append(piece)
        parts.append(data)
        last_ns = time_ns
        size += length
        count += 1
    if count:
        yield blocks.encode_block(mark, first_ns, last_ns, parts, flags), count


class CaptureWriter:
    """A capture file that is being written."""

    def __init__(self, path: str | os.PathLike[str], *, exclusive: bool = True, header: Header | None = None) -> None:
        """Create the file and write its header; with `exclusive` off, a file that is there is emptied first.

        Raises OutputExists, and CaptureError where the file cannot be made.
        """
        self.path = os.fspath(path)
        self.header = header or Header.now()
        self.records = 0
        """Records that stand in the file, whole."""
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
        """The end of the last whole block: where the next one will begin."""
        try:
            self._append(self.header.encode())
        except OSError as error:
            self.close()
            os.unlink(self.path)
            raise CaptureError(self.path, f"cannot be written: {(error.strerror or str(error)).lower()}") from None

    def write(self, records: Iterable[Record], *, flags: int = 0) -> int:
        """Append the records as one block, or several where they do not fit into one; returns the file's offset after them.

        Raises the OSError of the disk, after cutting the file back to its last whole block where that is possible.
        """
        for block, count in encode_blocks(self.header.mark, records, flags):
            self._append(block)
            self.records += count
        return self.offset

    def _append(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            self._cut()
            raise
        self.offset += len(data)

    def _cut(self) -> None:
        """Take back what a failed write left behind; where even that fails, a reader skips it as damage."""
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
