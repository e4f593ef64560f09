"""Marks: what happened during a named interval.

A round trip belongs to every mark that was open when it opened, with all its depth; that is counted directly, as it opens and closes. Everything else
belongs to the marks open at its moment: the difference between the sums at the mark's end and at its beginning. Named statements alive are taken at the
end. Marks nest, and marks of one name are summed.
"""

from __future__ import annotations

from collections.abc import Callable

from pgtrace.analysis.counters import Counters
from pgtrace.session.events import RoundTrip

Sums = Callable[[int], Counters]
"""The sum over all connections at a moment."""
Key = tuple[int, int]
"""Number of the capture's file, and the mark's id in it."""


class OpenMark:
    """One interval, from its begin to its end."""

    __slots__ = ("_closed", "_open", "before", "key", "name")

    def __init__(self, name: str, key: Key, before: Counters) -> None:
        self.name = name
        self.key = key
        self.before = before
        self._closed = Counters()
        self._open: set[RoundTrip] = set()

    def counted(self, round_trip: RoundTrip) -> None:
        """A round trip that opened inside it."""
        self._open.add(round_trip)

    def closed(self, round_trip: RoundTrip) -> None:
        """It may have been none."""
        if round_trip in self._open:
            self._open.remove(round_trip)
            _count(self._closed, round_trip)

    def repeated(self, round_trip: RoundTrip) -> None:
        """One that opened and closed inside it, like this one."""
        _count(self._closed, round_trip)

    def by_opening(self) -> Counters:
        """Only what belongs to round trips that opened inside it; those still open count as they stand."""
        counters = Counters()
        counters.add(self._closed)
        for round_trip in self._open:
            _count(counters, round_trip)
        return counters


def _count(counters: Counters, round_trip: RoundTrip) -> None:
    if round_trip.setup:
        counters.setup_round_trips += 1
    else:
        counters.round_trips += 1
    counters.pipelined_executions += max(0, round_trip.depth - 1)
    counters.max_pipeline_depth = max(counters.max_pipeline_depth, round_trip.depth)


class Marks:
    """The marks of a capture."""

    def __init__(self, sums: Sums) -> None:
        self._sums = sums
        self.open: tuple[OpenMark, ...] = ()
        self._ended: list[tuple[OpenMark, Counters]] = []

    def begin(self, name: str, key: Key, time_ns: int) -> None:
        self.open = (*self.open, OpenMark(name, key, self._sums(time_ns)))

    def end(self, key: Key, time_ns: int) -> None:
        for mark in self.open:
            if mark.key == key:
                self.open = tuple(one for one in self.open if one is not mark)
                self._ended.append((mark, self._between(mark, time_ns)))

    def counters(self, now_ns: int) -> dict[str, Counters]:
        """Counters by name, in the order of the first end; open marks come last, counted up to now."""
        found: dict[str, Counters] = {}
        for mark, between in [*self._ended, *((mark, self._between(mark, now_ns)) for mark in self.open)]:
            counters = Counters()
            counters.add(between)
            by_opening = mark.by_opening()
            for key in _BY_OPENING:
                setattr(counters, key, getattr(by_opening, key))
            if mark.name in found:
                live = counters.statements_live
                found[mark.name].add(counters)
                found[mark.name].statements_live = live
            else:
                found[mark.name] = counters
        return found

    def _between(self, mark: OpenMark, time_ns: int) -> Counters:
        now = self._sums(time_ns)
        now.subtract(mark.before)
        return now


_BY_OPENING = ("setup_round_trips", "round_trips", "pipelined_executions", "max_pipeline_depth")
