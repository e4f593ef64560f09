"""Writing a capture file: append-only, private, and whole blocks only.

One call of write() or append() is one flush. The recorder collects records while it forwards, encoded already, and calls from a thread of its own, so a slow
disk is this module's problem and nobody else's; what append() costs is a join, a checksum and a system call for each block, whatever the number of records.

- The file is created 0600 whatever the umask says, never over an existing one and never through a symbolic link.
- What cannot be written goes back to the caller as the OSError it was. A block that was begun is cut off again, so that a full disk leaves no torn
  block in the middle; `records` says how many records stand whole, and the caller counts the rest as lost.
- Nothing is buffered here: when write() returns, readers see the block, and a kill loses nothing of it. There is no footer.
- Whoever writes says that it ends, with an End record; a file without one was cut short or is still growing.
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
    """The blocks that hold the records of these pieces (encode_parts()), each with the number of its records."""
    for start, stop in _cuts(parts):
        held = parts[start:stop]
        yield blocks.encode_block(mark, record.time_of(*held[:2]), record.time_of(*held[-2:]), held, flags), (stop - start) // 2


def _cuts(parts: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """Where one block ends and the next one begins."""
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
        return self.append(record.encode_parts(records), flags=flags)

    def append(self, parts: Sequence[bytes], notes: object = None, *, flags: int = 0) -> int:
        """The same with records that are encoded (encode_parts()); `notes` are for those who look at records, and nothing here."""
        for block, count in encode_blocks(self.header.mark, parts, flags):
            self._append(block)
            self.records += count
        return self.offset

    def copy(self, block: blocks.Block) -> None:
        """Append a block of another file as it is."""
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
