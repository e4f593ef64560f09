"""How much is still unread: how often a driver has sent something that it waits for, in the part of
a capture that a trace has not read yet.

Nothing is decoded, and only the connections that wait for an answer are remembered: a paused screen
asks ten times per second. A driver that sends again before it has an answer still waits for the
first one.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Final

from pgtrace.capture.record import Close, Data, Elided, Made, Rewrite
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.trace.files import CaptureFiles

_TERMINATE: Final = b"X\0\0\0\4"


class Unread:
    """The part of a trace's captures that the trace has not read."""

    def __init__(self, files: CaptureFiles, waiting: Collection[tuple[int, int]]) -> None:
        """`waiting` are the file and number of the connections that wait for an answer."""
        self._files = list(files)
        self._waiting = set(waiting)
        self._places = [file.reader.position for file in self._files]
        self._counted: list[int | None] = [None for _ in self._files]
        """By file: the position of the latest block that was counted."""
        self.round_trips = 0
        """The number of round trips begun since the trace was read."""

    def advance(self, budget_s: float) -> bool:
        """Count what was added, within the budget. Returns whether there is more than before."""
        before, until = self.round_trips, time.perf_counter() + budget_s
        for number, file in enumerate(self._files):
            for block in file.reader.blocks(self._places[number]):
                if block.position == self._counted[number]:
                    continue
                self._take(number, block.records)
                self._places[number] = self._counted[number] = block.position
                if time.perf_counter() > until:
                    break
        return self.round_trips > before

    def _take(self, file: int, records: Collection[object]) -> None:
        waiting = self._waiting
        for record in records:
            if isinstance(record, (Data, Rewrite)) and record.side == FRONTEND:
                key = file, record.connection
                if key not in waiting and record.data != _TERMINATE:
                    waiting.add(key)
                    self.round_trips += 1
            elif isinstance(record, (Made, Elided, Close)) or (isinstance(record, (Data, Rewrite)) and record.side == BACKEND):
                waiting.discard((file, record.connection))
