"""The latest blocks of a trace by position, with their records sorted by connection.

Details of neighbouring rows are usually requested together: page after page in the inspector, row
after row in `show`. Without this cache, each row would read and decode its block again. Blocks that
contain nothing of a connection are skipped undecoded: while the connection waits for an answer,
others fill many blocks.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from typing import Final

from pgtrace.capture.blocks import Block
from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.record import Close, Data, Elided, Made, Record, Rewrite
from pgtrace.protocol.codes import BACKEND

KEPT_BYTES: Final = 16 * 1024 * 1024
"""The approximate memory for the records of the cached blocks."""
_BLOCK_BYTES: Final = 4096
_PIECE_BYTES: Final = 400

Piece = tuple[int, int, int, bytes, int]
"""(time, side, offset, bytes, bytes left out) of one record. The time is the recorder's. One of the
last two is empty."""


class _Known:
    __slots__ = ("_ends", "ended", "following", "pieces", "size_bytes")

    def __init__(self, records: list[Record]) -> None:
        self.pieces = _by_connection(records)
        self.size_bytes = _BLOCK_BYTES + sum(_PIECE_BYTES + len(piece[3]) for pieces in self.pieces.values() for piece in pieces)
        self.ended = frozenset(record.connection for record in records if type(record) is Close)
        self.following: int | None = None
        self._ends: dict[int, tuple[tuple[list[int], list[int]], ...]] = {}

    def behind(self, connection: int, starts: tuple[int, int]) -> int:
        """The index of a connection's first piece that extends beyond these places in the two
        streams; the number of pieces if none does."""
        pieces = self.pieces.get(connection, [])
        ends = self._ends.get(connection)
        if ends is None:
            ends = self._ends[connection] = (([], []), ([], []))
            for place, (_, side, offset, data, left_out) in enumerate(pieces):
                ends[side][0].append(offset + len(data) + left_out)
                ends[side][1].append(place)
        found = [bisect_right(reached, start) for (reached, _), start in zip(ends, starts, strict=True)]
        return min(places[at] if at < len(places) else len(pieces) for (_, places), at in zip(ends, found, strict=True))


class Blocks:
    """The blocks of one capture, cached."""

    def __init__(self, reader: CaptureReader) -> None:
        self._reader = reader
        self._known: OrderedDict[int, _Known] = OrderedDict()
        self._kept_bytes = 0

    def pieces(self, position: int, connection: int, starts: tuple[int, int]) -> Iterator[Piece]:
        """What passed on a connection after these places in its streams, from the block at
        `position` to its end. Empty if the capture does not keep it any more.

        The data before these places is in that block only. If a later block has nothing after them,
        the places are impossible, and the search ends.
        """
        place: int | None = position
        first = True
        while place is not None:
            known = self._known.get(place)
            if known is None:
                blocks = self._reader.blocks(place)
                block = next(blocks, None)
                if block is None or block.position != place:
                    return
                while not block.may_concern(connection):
                    block = next(blocks, None)
                    if block is None:
                        return
                place = block.position
                known = self._known.get(place) or self._learn(block)
            self._known.move_to_end(place)
            found = known.pieces.get(connection, [])
            at = known.behind(connection, starts)
            if found and at == len(found) and not first:
                return
            first = False
            yield from islice(found, at, None)
            if connection in known.ended:
                return
            if known.following is None:
                blocks = self._reader.blocks(place)
                next(blocks, None)
                following = next(blocks, None)
                known.following = following.position if following is not None else None
            place = known.following

    def _learn(self, block: Block) -> _Known:
        known = self._known[block.position] = _Known(block.records)
        self._kept_bytes += known.size_bytes
        while self._kept_bytes > KEPT_BYTES and len(self._known) > 1:
            self._kept_bytes -= self._known.popitem(last=False)[1].size_bytes
        return known


def _by_connection(records: list[Record]) -> dict[int, list[Piece]]:
    found: dict[int, list[Piece]] = {}
    for record in records:
        if type(record) is Data or type(record) is Rewrite:
            found.setdefault(record.connection, []).append((record.time_ns, record.side, record.offset, record.data, 0))
        elif type(record) is Made:
            found.setdefault(record.connection, []).append((record.time_ns, BACKEND, record.offset, record.data, 0))
        elif type(record) is Elided:
            found.setdefault(record.connection, []).append((record.time_ns, BACKEND, record.offset, b"", record.bytes))
    return found
