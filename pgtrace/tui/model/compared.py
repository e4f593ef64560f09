"""A comparison of two captures for the screen, made in a thread that reads the captures itself.

    compared = Compared.read(paths, None)          # all of both
    compared.narrowed(picked.found)                # what a filter selects, without reading again

The selected round trips are those that the timeline lists.
"""

from __future__ import annotations

import time
from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from typing import Final

from pgtrace.compare.behaviour import Behaviour
from pgtrace.compare.columns import Half, Line, in_columns
from pgtrace.compare.diff import Selected, compare
from pgtrace.trace.trace import Trace

_SLICE: Final = 16_384


class Compared:
    """The lines of a comparison, and the numbers of those that differ."""

    def __init__(self, sides: tuple[Behaviour, Behaviour], selected: tuple[Selected, Selected] | None) -> None:
        """`sides` are read to their end; with `selected` only those round trips are compared."""
        self._sides = sides
        self.comparison = compare(*sides, context=None, selected=selected)
        self.texts = self.comparison.first.texts
        self.lines: list[Line] = in_columns(self.comparison)
        self.differences = [number for number, line in enumerate(self.lines) if line.is_difference]
        """The numbers of the lines that differ, rising."""

    @classmethod
    def read(cls, paths: tuple[str, str], selected: tuple[Selected, Selected] | None = None) -> Compared:
        """Compare two captures as they are now. Raises CaptureError."""
        with ExitStack() as opened:
            first, second = (opened.enter_context(closing(Behaviour([path], still=[path]))) for path in paths)
            for side in (first, second):
                while side.update():
                    pass
            return cls((first, second), selected)

    def narrowed(self, selected: tuple[Selected, Selected] | None) -> Compared:
        """Compare the same captures without reading again, with only those round trips or all of
        them.
        """
        return Compared(self._sides, selected)

    def next(self, line: int, direction: int) -> int | None:
        """The nearest difference after a line, or before it."""
        found = self.differences
        at = bisect_right(found, line) if direction > 0 else bisect_left(found, line) - 1
        return found[at] if 0 <= at < len(found) else None


class Picked:
    """Finds the round trips of each connection that a filter selects, a slice of rows at a time."""

    def __init__(self, trace: Trace, places: Sequence[int]) -> None:
        """`places` are the places of the selected rows, in rising order, in a trace of both
        captures.
        """
        self.found: tuple[dict[int, array[int]], dict[int, array[int]]] = ({}, {})
        self._trace = trace
        self._steps = self._run(places)

    def advance(self, budget_s: float) -> bool:
        """Continue for about `budget_s` seconds. Returns whether everything is done."""
        until = time.perf_counter() + budget_s
        return all(time.perf_counter() <= until for _ in self._steps)

    def _run(self, places: Sequence[int]) -> Iterator[None]:
        done: defaultdict[int, int] = defaultdict(int)
        connections = self._trace.connections
        for start in range(0, places[-1] + 1 if places else 0, _SLICE):
            wanted = set(places[bisect_left(places, start) : bisect_left(places, start + _SLICE)])
            rows = self._trace.rows.columns(start, start + _SLICE).round_trips
            for place, connection in zip(rows.places, rows.connections, strict=True):
                if place in wanted:
                    one = connections[connection]
                    self.found[one.file].setdefault(one.number, array("I")).append(done[connection])
                done[connection] += 1
            yield


def place(trace: Trace, file: int, half: Half) -> int | None:
    """The row of a step in a trace of both captures."""
    connection = next((one.index for one in trace.connections if (one.file, one.number) == (file, half.connection)), None)
    if connection is None or half.round_trip < 0:
        return None
    left = half.round_trip
    for start in range(0, len(trace.rows), _SLICE):
        rows = trace.rows.columns(start, start + _SLICE).round_trips
        places = [place for place, one in zip(rows.places, rows.connections, strict=True) if one == connection]
        if left < len(places):
            return places[left]
        left -= len(places)
    return None
