"""Two captures compared, for the screen: made in a thread from readings of its own."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from contextlib import ExitStack, closing
from itertools import compress
from typing import Final

from pgtrace.compare.behaviour import Behaviour
from pgtrace.compare.columns import Half, Line, in_columns
from pgtrace.compare.diff import Comparison, compare
from pgtrace.trace.row import RowKind
from pgtrace.trace.trace import Trace

_SLICE: Final = 16_384


class Compared:
    """The lines of a comparison, and where they differ."""

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self.texts = comparison.first.texts
        self.lines: list[Line] = in_columns(comparison)
        self.differences = [number for number, line in enumerate(self.lines) if line.is_difference]
        """The numbers of the lines that differ, rising."""

    @classmethod
    def read(cls, paths: tuple[str, str]) -> Compared:
        """Compare two captures as they are now. Raises CaptureError."""
        with ExitStack() as opened:
            sides = []
            for path in paths:
                side = opened.enter_context(closing(Behaviour([path], still=[path])))
                while side.update():
                    pass
                sides.append(side)
            return cls(compare(sides[0], sides[1], context=None))

    def next(self, line: int, direction: int) -> int | None:
        """The nearest difference after a line, or before it."""
        found = self.differences
        at = bisect_right(found, line) if direction > 0 else bisect_left(found, line) - 1
        return found[at] if 0 <= at < len(found) else None


def place(trace: Trace, file: int, half: Half) -> int | None:
    """The row of a step in a trace of both captures."""
    connection = next((one.index for one in trace.connections if (one.file, one.number) == (file, half.connection)), None)
    if connection is None or half.round_trip < 0:
        return None
    left = half.round_trip
    for start in range(0, len(trace.rows), _SLICE):
        rows = trace.rows.columns(start, start + _SLICE)
        shapes = {number for number in set(rows.shapes) if trace.rows.shape_at(number).kind <= RowKind.SETUP}
        its = [one == connection and shape in shapes for one, shape in zip(rows.connections, rows.shapes, strict=True)]
        places = list(compress(rows.places, its))
        if left < len(places):
            return places[left]
        left -= len(places)
    return None
