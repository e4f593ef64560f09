"""Marks: what happened during a named interval.

A round trip belongs to every mark that was open when it opened; that is counted directly, as it opens and closes. Everything else belongs to the marks open
at its moment: the difference between the sums at the mark's end and at its beginning. Named statements alive are taken at the end. Marks nest, and
marks of one name are summed.
"""

from __future__ import annotations

from collections.abc import Callable

from pgtrace.analysis.counters import Counters
from pgtrace.session.events import RoundTrip

Sums = Callable[[int], Counters]
"""The sum over all connections at a moment."""


class OpenMark:
    """One interval, from its begin to its end."""

    __slots__ = ("before", "counters", "id", "name")

    def __init__(self, name: str, number: int, before: Counters) -> None:
        self.name = name
        self.id = number
        self.before = before
        self.counters = Counters()
        """Only what belongs to round trips that opened inside it."""

    def counted(self, round_trip: RoundTrip) -> None:
        if round_trip.setup:
            self.counters.setup_round_trips += 1
        else:
            self.counters.round_trips += 1

    def closed(self, round_trip: RoundTrip) -> None:
        if round_trip.flush_points:
            self.counters.pipelined_executions += max(0, round_trip.depth - 1)
            self.counters.max_pipeline_depth = max(self.counters.max_pipeline_depth, round_trip.depth)


class Marks:
    """The marks of a capture."""

    def __init__(self, sums: Sums) -> None:
        self._sums = sums
        self.open: tuple[OpenMark, ...] = ()
        self._ended: list[tuple[OpenMark, Counters]] = []

    def begin(self, name: str, number: int, time_ns: int) -> None:
        self.open = (*self.open, OpenMark(name, number, self._sums(time_ns)))

    def end(self, number: int, time_ns: int) -> None:
        for mark in self.open:
            if mark.id == number:
                self.open = tuple(one for one in self.open if one is not mark)
                self._ended.append((mark, self._between(mark, time_ns)))

    def counters(self, now_ns: int) -> dict[str, Counters]:
        """Counters by name, in the order of the first end; open marks come last, counted up to now."""
        found: dict[str, Counters] = {}
        for mark, between in [*self._ended, *((mark, self._between(mark, now_ns)) for mark in self.open)]:
            counters = Counters()
            counters.add(between)
            for key in _BY_OPENING:
                setattr(counters, key, getattr(mark.counters, key))
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
