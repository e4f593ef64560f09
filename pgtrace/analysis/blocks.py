"""Blocks of a trace by position, the latest few remembered, their records sorted by connection.

Details of rows are asked for in the neighbourhood of each other: page after page in the inspector, row after row in `show`. Without this, each row would
read and decode its block again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.record import Close, Data, Made, Record, Rewrite
from pgtrace.protocol.codes import BACKEND

BLOCKS_KEPT: Final = 6

Piece = tuple[int, int, int, bytes]
"""(time, side, offset, bytes) of one record; the time is the recorder's."""


class _Known:
    __slots__ = ("ended", "following", "pieces")

    def __init__(self, records: list[Record]) -> None:
        self.pieces = _by_connection(records)
        self.ended = frozenset(record.connection for record in records if type(record) is Close)
        self.following: int | None = None


class Blocks:
    """The blocks of one capture."""

    def __init__(self, reader: CaptureReader) -> None:
        self._reader = reader
        self._known: OrderedDict[int, _Known] = OrderedDict()

    def pieces(self, position: int, connection: int) -> Iterator[Piece]:
        """What passed on a connection, from the block at that position to its end; nothing when it is no longer kept."""
        place: int | None = position
        while place is not None:
            known = self._known.get(place)
            if known is None:
                blocks = self._reader.blocks(place)
                block = next(blocks, None)
                if block is None or block.position != place:
                    return
                known = self._known[place] = _Known(block.records)
                if len(self._known) > BLOCKS_KEPT:
                    self._known.popitem(last=False)
            else:
                self._known.move_to_end(place)
            yield from known.pieces.get(connection, ())
            if connection in known.ended:
                return
            if known.following is None:
                blocks = self._reader.blocks(place)
                next(blocks, None)
                following = next(blocks, None)
                known.following = following.position if following is not None else None
            place = known.following


def _by_connection(records: list[Record]) -> dict[int, list[Piece]]:
    found: dict[int, list[Piece]] = {}
    for record in records:
        if type(record) is Data or type(record) is Rewrite:
            found.setdefault(record.connection, []).append((record.time_ns, record.side, record.offset, record.data))
        elif type(record) is Made:
            found.setdefault(record.connection, []).append((record.time_ns, BACKEND, record.offset, record.data))
    return found
