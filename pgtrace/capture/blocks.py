"""Blocks: the result of one flush, and how to find it again in a file that is torn, damaged or
growing.

A block is the file's own magic, a CRC-32, a length, flags, the times of its first and last record,
and the records. The magic is BLOCK plus the mark in the file's header. The CRC covers everything
after it, so it catches a flipped bit anywhere in a block, the length included.

One rule answers both "torn, or not written yet?" and "damaged?". Bytes that are not a whole block
are skipped once a whole block is found after them, and are reported there as one Gap record. As
long as no whole block follows, they are the file's torn tail. No length is trusted before its CRC
has been checked, and nothing larger than LONGEST is ever allocated.

The search takes time linear in the bytes it covers, even when false block heads overlap: the CRC of
each stretch follows from those of a single pass (checksums.py). A stretch that was searched without
success is searched again only when it has grown by half, or when nothing more will be written.

This module knows files by descriptor and offset. reader.py decides which files to read.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from pgtrace.capture.checksums import crc32, of_stretch
from pgtrace.capture.record import LATEST_NS, LONGEST, NEITHER, Gap, Record, may_concern
from pgtrace.capture.versions import LONGEST_HEADER, READERS, Header, parse_header
from pgtrace.errors import CaptureError

BLOCK: Final = b"PGTB"
"""The first four bytes of a block. The file's mark follows."""
CARRIED: Final = 1
"""The flag of a block that repeats records of earlier segments. A reader that has read those
segments skips it."""
# magic and mark, CRC-32, length of the records, flags, first and last time
_HEAD: Final = struct.Struct(">8sIIIQQ")
_CRC: Final = struct.Struct(">I")
_COVERED: Final = 12  # where the bytes covered by the CRC begin
_SEARCHED: Final = 1024 * 1024
_DAMAGE_KEPT: Final = 1000
"""The most damaged stretches whose ends are remembered."""

Decoder = Callable[[bytes, int], list[Record]]
"""Turns a block's bytes and its first time into records."""

HEAD_SIZE: Final = _HEAD.size


def encode_block(mark: bytes, first_ns: int, last_ns: int, parts: Sequence[bytes], flags: int = 0) -> bytearray:
    """One block around encoded records."""
    length = sum(map(len, parts))
    if length > LONGEST:
        raise ValueError(f"a block of {length} bytes is larger than the format's {LONGEST}")
    block = bytearray().join((_HEAD.pack(BLOCK + mark, 0, length, flags, first_ns, last_ns), *parts))
    _CRC.pack_into(block, _COVERED - _CRC.size, crc32(memoryview(block)[_COVERED:]))
    return block


class Block:
    """One block of a capture. Its records are decoded on the first request."""

    __slots__ = ("_decode", "_payload", "_records", "carried", "first_ns", "last_ns", "position")

    def __init__(self, position: int, first_ns: int, last_ns: int, payload: bytes, decode: Decoder, *, carried: bool = False) -> None:
        self.position = position
        self.first_ns = first_ns
        self.last_ns = last_ns
        self.carried = carried
        self._payload = payload
        self._decode = decode
        self._records: list[Record] | None = None

    @property
    def records(self) -> list[Record]:
        """The records in the block, in order."""
        if self._records is None:
            self._records = self._decode(self._payload, self.first_ns)
            self._payload = b""
        return self._records

    def copied(self, mark: bytes) -> bytearray:
        """The block encoded for a file with this mark. Call it only before `records` is used."""
        return encode_block(mark, self.first_ns, self.last_ns, [self._payload], CARRIED if self.carried else 0)

    def may_concern(self, connection: int) -> bool:
        """Whether the block may hold a record of this connection. Costs a tenth of decoding the
        records."""
        return self._records is not None or may_concern(self._payload, connection)


class Damage(Block):
    """One Gap that replaces `size` bytes of a file that cannot be read."""

    __slots__ = ("size",)

    def __init__(self, position: int, size: int, time_ns: int) -> None:
        self.size = size
        super().__init__(position, time_ns, time_ns, b"", lambda _payload, first_ns: [Gap(first_ns, 0, NEITHER, size, 0)])


class _Head(NamedTuple):
    """A possible block head, with its offsets in the file."""

    start: int
    end: int
    crc: int
    first_ns: int


class _Torn(NamedTuple):
    """A stretch of the file without a whole block."""

    offset: int
    position: int
    """No block begins before this offset."""
    searched: int
    """The size of the file when the stretch was searched."""
    seen: int
    """The size of the file when it was last checked."""


class BlockFile:
    """An open capture file: its header, and its blocks by offset. Safe to use from several
    threads."""

    def __init__(self, path: str, base: int = 0) -> None:
        """Open `path`; `base` is added to offsets to make positions.

        Raises CaptureError, NewerCapture, FileNotFoundError.
        """
        self.path = path
        self.base = base
        self.end: int | None = None
        """The offset at which this reader stops, whatever is written after it."""
        self._lock = threading.Lock()
        self._descriptor = -1
        self._torn = _Torn(-1, 0, 0, 0)
        self._damage: dict[int, Damage] = {}  # by offset
        self._open()
        start = self.read_at(0, LONGEST_HEADER)
        parsed = parse_header(path, start)
        if parsed is None:
            raise CaptureError(path, "it ends within its header: nothing was recorded" if start else "empty: nothing was recorded")
        self.header: Header
        self.header, self.start = parsed
        self._sync = BLOCK + self.header.mark
        self._decode = READERS[self.header.version[0]]

    def _open(self) -> None:
        try:
            self._descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise CaptureError(self.path, (error.strerror or str(error)).lower()) from None

    def close(self) -> None:
        """Close the descriptor."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()

    def size(self) -> int:
        """The size of the file now, at most up to where this reader stops. Raises CaptureError once
        it is closed."""
        try:
            with self._lock:
                size = os.fstat(self._descriptor).st_size
            return size if self.end is None else min(size, self.end)
        except OSError as error:
            raise CaptureError(self.path, (error.strerror or str(error)).lower()) from None

    def read_at(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`, or fewer at the end of the file. Raises CaptureError if the
        disk cannot read them."""
        try:
            with self._lock:
                os.lseek(self._descriptor, offset, os.SEEK_SET)
                data = os.read(self._descriptor, size)
                while len(data) < size and (more := os.read(self._descriptor, size - len(data))):
                    data += more
                return data
        except OSError as error:
            raise CaptureError(self.path, (error.strerror or str(error)).lower()) from None

    def scan(self, offset: int, max_bytes: int) -> tuple[list[Block], int]:
        """The whole blocks from `offset`, and the offset after them. About `max_bytes` of them, and
        at least one if there is one.

        Bytes written during the call do not count: a block that is torn now may be whole a moment
        later, with another one after it.
        """
        end = self.size()
        blocks: list[Block] = []
        data = self.read_at(offset, min(max(max_bytes, HEAD_SIZE), end - offset)) if offset < end else b""
        position = 0
        while position < len(data):
            here = offset + position
            block, size = self._block(data, position, here) if here not in self._damage else (None, 0)
            if block is None and len(data) - position < size <= end - here:
                if blocks:
                    break
                data, position, offset = self.read_at(here, size), 0, here
                block, size = self._block(data, 0, here)
            if block is None:
                damage = self._skip(here, end)
                if damage is not None:
                    return [*blocks, damage], here + damage.size
                break
            blocks.append(block)
            position += size
        return blocks, offset + position

    def at(self, offset: int) -> Block | None:
        """The block at `offset`, or the Gap for the damage there; None if no whole block
        follows."""
        blocks, _ = self.scan(offset, HEAD_SIZE)
        return blocks[0] if blocks else None

    def _block(self, data: bytes, position: int, offset: int) -> tuple[Block | None, int]:
        """The block in `data` at `position`, and its size. If there is no block: None and the size
        needed to decide, or 0 if no block can begin there."""
        if len(data) - position < HEAD_SIZE:
            return None, HEAD_SIZE
        sync, crc, length, flags, first_ns, last_ns = _HEAD.unpack_from(data, position)
        if sync != self._sync or length > LONGEST or (first_ns | last_ns) >= LATEST_NS:
            return None, 0
        size = HEAD_SIZE + length
        stop = position + size
        if stop > len(data):
            return None, size
        if crc32(memoryview(data)[position + _COVERED : stop]) != crc:
            return None, 0
        return Block(
            self.base + offset, first_ns, last_ns, data[position + HEAD_SIZE : stop], self._decode, carried=bool(flags & CARRIED)
        ), size

    def _skip(self, offset: int, end: int) -> Damage | None:
        """The damage from `offset` to the next whole block before `end`; None as long as no whole
        block follows."""
        if (known := self._damage.get(offset)) is not None:
            return known
        torn = self._torn
        if torn.offset != offset or end < torn.searched:
            torn = _Torn(offset, offset + 1, offset, -1)
        grown = end - torn.searched
        if not grown or (2 * grown < torn.searched - torn.position and end != torn.seen):
            self._torn = torn._replace(seen=end)
            return None
        found, position = self._search(torn.position, end)
        self._torn = _Torn(offset, position, end, end)
        if found is None:
            return None
        damage = Damage(self.base + offset, found.start - offset, found.first_ns)
        if len(self._damage) < _DAMAGE_KEPT:
            self._damage[offset] = damage
        return damage

    def _search(self, position: int, end: int) -> tuple[_Head | None, int]:
        """The head of the first whole block from `position` on, and where an incomplete block may
        begin."""
        begun = -1
        while end - position >= HEAD_SIZE:
            data = self.read_at(position, min(_SEARCHED, end - position))
            heads = self._heads(data, position)
            if begun < 0:
                begun = next((head.start for head in heads if head.end > end), -1)
            if (found := self._first_whole([head for head in heads if head.end <= end])) is not None:
                return found, found.start
            position += max(len(data) - HEAD_SIZE + 1, 1)
        return None, position if begun < 0 else begun

    def _heads(self, data: bytes, offset: int) -> list[_Head]:
        """Everything in `data` that looks like the head of a block."""
        heads = []
        place = data.find(self._sync)
        while 0 <= place <= len(data) - HEAD_SIZE:
            _, crc, length, _, first_ns, last_ns = _HEAD.unpack_from(data, place)
            if length <= LONGEST and (first_ns | last_ns) < LATEST_NS:
                heads.append(_Head(offset + place, offset + place + HEAD_SIZE + length, crc, first_ns))
            place = data.find(self._sync, place + 1)
        return heads

    def _first_whole(self, heads: list[_Head]) -> _Head | None:
        """The first of these heads whose CRC is right. Reads the file once, from the first head to
        the end of the last."""
        known = self._checksums(sorted({place for head in heads for place in (head.start + _COVERED, head.end)}))
        for head in heads:
            before, whole = known.get(head.start + _COVERED), known.get(head.end)
            if before is not None and whole is not None and of_stretch(before, whole, head.end - head.start - _COVERED) == head.crc:
                return head
        return None

    def _checksums(self, places: Iterable[int]) -> dict[int, int]:
        """The CRC-32 of the file from the first of these offsets to each of them. The offsets are
        in order."""
        known: dict[int, int] = {}
        here, crc = -1, 0
        ahead = memoryview(b"")
        for place in places:
            here = place if here < 0 else here
            while here < place:
                ahead = ahead or memoryview(self.read_at(here, _SEARCHED))
                if not ahead:
                    return known  # the file was truncated in the meantime
                taken = ahead[: place - here]
                crc = crc32(taken, crc)
                here, ahead = here + len(taken), ahead[len(taken) :]
            known[place] = crc
        return known
