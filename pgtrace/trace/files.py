"""The captures of a trace, read as one in the order of their times.

Several files share one time axis by wall clock. A position in a trace has the number of the file
above FILE_SHIFT and the reader's position below.
"""

from __future__ import annotations

import heapq
import os
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from operator import itemgetter
from typing import Final

from pgtrace.capture.blocks import Block
from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.record import Record
from pgtrace.capture.versions import Header
from pgtrace.errors import UsageError
from pgtrace.trace.blocks import Blocks
from pgtrace.trace.connection import Connection
from pgtrace.trace.disk_waits import DiskWaits
from pgtrace.trace.full_buffers import FullBuffers

FILE_SHIFT: Final = 56
MOST_FILES: Final = 1 << (64 - FILE_SHIFT)
BATCH: Final = 256
"""The number of records between two checks of the clock."""
_READ_BYTES: Final = 1024 * 1024
_POSITION: Final = (1 << FILE_SHIFT) - 1


class CaptureFile:
    """One capture of the trace."""

    __slots__ = ("blocks", "connections", "disk_waits", "full_buffers", "name", "number", "path", "reader", "shift_ns")

    def __init__(self, path: str, number: int, name: str, *, follow: bool) -> None:
        self.path = path
        self.name = name
        self.number = number
        self.reader = CaptureReader(path, follow=follow)
        header = self.reader.header
        self.shift_ns = header.wall_ns - header.monotonic_ns
        self.blocks = Blocks(self.reader)
        self.disk_waits = DiskWaits()
        self.full_buffers = FullBuffers()
        self.connections: dict[int, Connection] = {}
        """The connections by number, without those on the shelf."""

    def batches(self) -> Iterator[Batch]:
        """Everything that is available now, in batches of records."""
        while blocks := self.reader.read(_READ_BYTES):
            for block in blocks:
                yield from self.batches_of(block)

    def batches_of(self, block: Block) -> Iterator[Batch]:
        """The records of a block."""
        records, position = block.records, (self.number << FILE_SHIFT) | block.position
        for start in range(0, len(records), BATCH):
            yield self, position, records[start : start + BATCH]

    def records(self) -> Iterator[tuple[int, Batch]]:
        """The same as single records, each with its time."""
        for file, position, records in self.batches():
            for record in records:
                yield record[0] + self.shift_ns, (file, position, [record])


Batch = tuple[CaptureFile, int, list[Record]]
"""The records of one block of a file, and the block's position."""


class CaptureFiles:
    """The captures of one trace, in the order in which they were given."""

    def __init__(
        self, paths: Iterable[str | os.PathLike[str]], names: Iterable[str | os.PathLike[str]] | None, still: Collection[str]
    ) -> None:
        """Raises CaptureError and UsageError."""
        files = [os.fspath(path) for path in paths]
        shown = files if names is None else [os.fspath(name) for name in names]
        if len(files) > MOST_FILES:
            raise UsageError(f"{len(files)} captures at once: at most {MOST_FILES} are read as one")
        self.still = frozenset(still)
        self._files = [
            CaptureFile(path, number, name, follow=path not in self.still)
            for number, (path, name) in enumerate(zip(files, shown, strict=True))
        ]

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, number: int) -> CaptureFile:
        return self._files[number]

    def __iter__(self) -> Iterator[CaptureFile]:
        return iter(self._files)

    @property
    def read_bytes(self) -> int:
        return sum(file.reader.read_bytes for file in self._files)

    @property
    def size_bytes(self) -> int:
        return sum(file.reader.size_bytes for file in self._files)

    @property
    def torn_bytes(self) -> int:
        """The bytes at the ends of the files that are not a whole block."""
        return sum(file.reader.torn_bytes for file in self._files)

    @property
    def headers(self) -> list[Header]:
        """The headers of the captures."""
        return [file.reader.header for file in self._files]

    @property
    def complete(self) -> bool:
        """Whether all of the captures were read to the end of a finished recording."""
        return all(file.reader.complete for file in self._files)

    def name_of(self, file: int, number: int, leg: str) -> str:
        """The name of a connection: `c2`, or `b:2` for the second of several files. With several
        legs in a file it begins with the letter of its leg: `b2`."""
        return f"{leg.lower() or 'c'}{number}" if len(self._files) == 1 else f"{letters(file)}:{number}"

    def batches(self) -> Iterator[Batch]:
        """All current records, in the order of their times."""
        if len(self._files) == 1:
            return self._files[0].batches()
        return map(itemgetter(1), heapq.merge(*(file.records() for file in self._files), key=itemgetter(0)))

    def batches_again(self) -> Iterator[Batch]:
        """Everything that was read, again in the same order."""
        with closing(Again(self)) as again:
            yield from again.new(is_all=True)

    def again(self) -> Iterator[tuple[int, CaptureFile, Record]]:
        """Everything that was read, again in the same order, each record with its time."""
        for file, _, records in self.batches_again():
            for record in records:
                yield record[0] + file.shift_ns, file, record

    def blocks_at(self, position: int) -> tuple[Blocks, int, int]:
        """The blocks of the file to which a position belongs, the position in that file, and the
        shift of the file's clock to wall time."""
        file = self._files[position >> FILE_SHIFT]
        return file.blocks, position & _POSITION, file.shift_ns

    def end_with(self, other: CaptureFiles) -> None:
        """Read only as far as another reading of the same captures."""
        for mine, its in zip(self._files, other._files, strict=True):
            mine.reader.end_with(its.reader)

    def close(self) -> None:
        """Close the captures."""
        for file in self._files:
            file.reader.close()


class Again:
    """Reads again what was read of the captures, in the same order. As more is read, new() returns
    more."""

    def __init__(self, files: CaptureFiles) -> None:
        self._files = list(files)
        self._readers = [CaptureReader(file.path) for file in self._files]
        self._blocks: list[deque[Block]] = [deque() for _ in self._files]
        self._records: list[deque[tuple[int, Batch]]] = [deque() for _ in self._files]
        """With several files: the records that wait for those of other files."""
        # A heap: the time of a file's next record, and its number.
        self._heads: list[tuple[int, int]] = []
        self._without = set(range(len(self._files)))  # files without a next record

    def new(self, *, is_all: bool) -> Iterator[Batch]:
        """The records added since the last call. With several captures, records wait for those of a
        capture that still grows, unless `is_all`."""
        if len(self._files) == 1:
            while (block := self._next(0)) is not None:
                yield from self._files[0].batches_of(block)
            return
        ended = {number for number, file in enumerate(self._files) if is_all or file.reader.ended}
        dry: set[int] = set()
        while True:
            for number in self._without - dry:
                if self._fill(number):
                    self._without.discard(number)
                    heapq.heappush(self._heads, (self._records[number][0][0], number))
                elif number in ended:
                    dry.add(number)
                else:
                    return
            if not self._heads:
                return
            _, number = self._heads[0]
            records = self._records[number]
            yield records.popleft()[1]
            if records:
                heapq.heapreplace(self._heads, (records[0][0], number))
            else:
                heapq.heappop(self._heads)
                self._without.add(number)

    def close(self) -> None:
        """Close the files."""
        for reader in self._readers:
            reader.close()

    def _next(self, number: int) -> Block | None:
        """The next block, if it was read."""
        blocks = self._blocks[number]
        if not blocks:
            blocks.extend(self._readers[number].read(_READ_BYTES))
        return blocks.popleft() if blocks and blocks[0].position < self._files[number].reader.position else None

    def _fill(self, number: int) -> bool:
        """Take the records of a file's next blocks until there are some. Returns whether there
        are."""
        shift_ns, records = self._files[number].shift_ns, self._records[number]
        while not records and (block := self._next(number)) is not None:
            for file, position, batch in self._files[number].batches_of(block):
                records.extend((record[0] + shift_ns, (file, position, [record])) for record in batch)
        return bool(records)


def letters(number: int) -> str:
    """The name of a file by its number from 0: a, b, ... z, aa, ab ..."""
    text = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        text = chr(97 + rest) + text
    return text
