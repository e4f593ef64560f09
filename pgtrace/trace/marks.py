"""Marks: what happened during a named interval.

A round trip belongs to every mark that was open when it opened, with its whole depth; it is counted
directly, as it opens and closes. Everything else belongs to the marks open at its moment: the
difference between the sums at the mark's end and at its beginning. The number of named statements
alive is taken at the end. Marks nest, and marks with the same name are summed.

Statements are counted for a mark only if its name was in `watched` when it began, because a table
for each of a hundred thousand marks would need too much memory.

If more than OPEN_KEPT marks are open, the later ones are not counted and are only rows of the
timeline; `uncounted` says how many. Of ended marks the latest ENDED_KEPT are kept one by one. Older
ones are summed by name for up to NAMES_KEPT names, and then for all other names together.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, Protocol

from pgtrace.session.effects import Effect
from pgtrace.session.events import Exchange, Passage
from pgtrace.session.statements import Statement
from pgtrace.trace.counters import Counters
from pgtrace.trace.statements import StatementTable

OPEN_KEPT: Final = 256
ENDED_KEPT: Final = 10_000
NAMES_KEPT: Final = 20_000
LONGEST_NAME: Final = 4096
OTHER_MARKS: Final = "(other marks)"
PLACES_KEPT: Final = 1_000_000
"""The most rows of marks for which the open marks are kept; the latest are kept."""

BY_OPENING: Final = ("setup_round_trips", "round_trips", "pipelined_executions", "max_pipeline_depth")
"""What a round trip counts in the marks that were open when it opened, wherever it closes."""

Sums = Callable[[int], Counters]
"""The sum over the connections of a file, at a moment."""
OpenEffect = Callable[[int], Effect | None]
"""The effect of the open round trip of the connection with this index, so far."""
Key = tuple[int, int]
"""The number of the capture's file, and the mark's id in it."""


class Preparer(Protocol):
    """The part of a connection that a mark uses."""

    index: int

    @property
    def driver(self) -> str: ...

    def named_statements(self) -> Iterable[Statement]:
        """The named statements that are alive now."""
        ...


class Noted(Protocol):
    """The marks that a program itself set, by row."""

    has_marks: bool

    def marks_at(self, place: int) -> tuple[str, ...]: ...


class Interval:
    """One named interval, from its beginning to its end."""

    __slots__ = ("_before", "_between", "_closed", "_open", "begins_at", "ends_at", "key", "name", "tables", "watched")

    def __init__(self, name: str, key: Key, before: Counters, place: int, *, watched: bool) -> None:
        self.name = name
        self.key = key
        self.begins_at = place
        """The place of the row for its beginning."""
        self.ends_at: int | None = None
        """The place of the row for its end; None while it is open."""
        self.watched = watched
        """Whether its statements are counted."""
        self.tables: dict[Preparer, StatementTable] = {}
        """Its statements by connection."""
        self._before = before
        self._between: Counters | None = None
        self._closed = Counters()
        self._open: set[int] = set()
        """The indexes of the connections whose open round trip opened inside it."""

    def opened(self, connection: int) -> None:
        """A run of messages begins on the connection with this index."""
        self._open.add(connection)

    def happened(self, exchange: Exchange, connection: Preparer) -> None:
        """A run that opened inside it has ended. It may not be a round trip."""
        self._open.discard(connection.index)
        if exchange.effect.is_round_trip:
            _count(self._closed, exchange.effect)
            if self.watched:
                self.table(connection).round_trip(exchange)

    def count(self, exchange: Exchange, passage: Passage, connection: Preparer) -> None:
        """Count what a round trip that closed inside it did with each statement."""
        table = self.table(connection)
        table.passed(exchange, passage)
        if exchange.rows_differ and exchange.first is not None:
            table.waited(exchange.first, passage.waited_ns)

    def table(self, connection: Preparer) -> StatementTable:
        """Its statements on this connection."""
        found = self.tables.get(connection)
        if found is None:
            found = self.tables[connection] = StatementTable()
        return found

    def end(self, place: int, sums: Counters) -> None:
        """The mark ends at this place, with these sums over everything."""
        self.ends_at = place
        sums.subtract(self._before)
        self._between = sums
        for connection, table in self.tables.items():
            table.live(one for one in connection.named_statements() if table.knows(one))

    def forget_statements(self) -> None:
        """Free its statements."""
        self.watched = False
        self.tables.clear()

    def counters(self, sums: Callable[[], Counters], open_effect: OpenEffect) -> Counters:
        """Its counters, up to the moment of `sums` if it is open. Round trips that opened inside it
        and are still open count as they are now."""
        counters = Counters()
        if self._between is not None:
            counters.add(self._between)
        else:
            now = sums()
            now.subtract(self._before)
            counters.add(now)
        by_opening = Counters()
        by_opening.add(self._closed)
        for connection in self._open:
            effect = open_effect(connection)
            if effect is not None and effect.is_round_trip:
                _count(by_opening, effect)
        for key in BY_OPENING:
            setattr(counters, key, getattr(by_opening, key))
        return counters


def _count(counters: Counters, effect: Effect) -> None:
    if effect.setup:
        counters.setup_round_trips += 1
    else:
        counters.round_trips += 1
    counters.pipelined_executions += max(0, effect.depth - 1)
    counters.max_pipeline_depth = max(counters.max_pipeline_depth, effect.depth)


class Marks:
    """The marks of one capture file."""

    def __init__(self, sums: Sums, open_effect: OpenEffect, watched: set[str]) -> None:
        """`sums` are over the connections of this file: a mark is about what its own recorder
        saw."""
        self.sums = sums
        self.open_effect = open_effect
        self.open: tuple[Interval, ...] = ()
        self.counting: tuple[Interval, ...] = ()
        """The open marks whose statements are counted."""
        self.watched = watched
        self.uncounted = 0
        self.summed: dict[str, Counters] = {}
        """By name: the sums of ended marks that are not kept one by one."""
        self._ended: dict[Key, Interval] = {}
        self._places = array("Q")  # the places of the rows of marks, and the names open after each
        self._names: list[tuple[str, ...]] = []

    def begin(self, name: str, key: Key, time_ns: int, place: int) -> None:
        """A mark begins; its row is at this place."""
        if len(self.open) >= OPEN_KEPT:
            self.uncounted += 1
            return
        self.open = (*self.open, Interval(name[:LONGEST_NAME], key, self.sums(time_ns), place, watched=name in self.watched))
        self._changed(place)

    def end(self, key: Key, time_ns: int, place: int) -> None:
        """A mark ends; the row for its end is at this place."""
        for mark in self.open:
            if mark.key == key:
                self.open = tuple(one for one in self.open if one is not mark)
                mark.end(place, self.sums(time_ns))
                self._ended[key] = mark
                self._changed(place)
                if len(self._ended) > ENDED_KEPT + len(self.watched):
                    self._sum_up(next(iter(self._ended)))

    def _sum_up(self, key: Key) -> None:
        """Add the oldest mark to the sum of its name."""
        mark = self._ended.pop(key)
        name = mark.name if mark.name in self.summed or len(self.summed) < NAMES_KEPT else OTHER_MARKS
        sum_ = self.summed.get(name)
        counters = mark.counters(Counters, self.open_effect)
        if sum_ is None:
            self.summed[name] = counters
        else:
            live = sum_.statements_live
            sum_.add(counters)
            sum_.statements_live = live

    def names_at(self, place: int) -> tuple[str, ...]:
        """The marks that were open when the row at this place began."""
        found = bisect_left(self._places, place)
        return self._names[found - 1] if found else ()

    @property
    def any(self) -> bool:
        """Whether there was a mark."""
        return bool(self._places)

    @property
    def intervals(self) -> tuple[Interval, ...]:
        """All marks in the order of their ends, the open ones last."""
        return (*self._ended.values(), *self.open)

    def interval(self, key: Key) -> Interval | None:
        """The mark with this key, once its beginning was read."""
        return self._ended.get(key) or next((mark for mark in self.open if mark.key == key), None)

    def _changed(self, place: int) -> None:
        if len(self._places) >= PLACES_KEPT:
            half = len(self._places) // 2
            del self._places[:half], self._names[:half]
        self._places.append(place)
        self._names.append(tuple(mark.name for mark in self.open))
        self.counting = tuple(mark for mark in self.open if mark.watched)


class MarksOfFiles:
    """The marks of a trace. Each file has its own."""

    def __init__(self, sums: Sequence[Sums], open_effect: OpenEffect, file_at: Callable[[int], int]) -> None:
        """`sums`: one for each file. `file_at` returns the file of the row at a place."""
        self.watched: set[str] = set()
        """The names of the marks whose statements are counted, from the next time they begin."""
        self.files = [Marks(one, open_effect, self.watched) for one in sums]
        self.none = Marks(lambda _: Counters(), open_effect, set())
        """For everything that belongs to no mark."""
        self._file_at = file_at
        self.noted: Noted | None = None
        """The marks that the program itself set."""

    @property
    def uncounted(self) -> int:
        """The number of marks that are not counted, because too many were open."""
        return sum(marks.uncounted for marks in self.files)

    def names_at(self, place: int) -> tuple[str, ...]:
        """The marks that were open when the row at this place began."""
        names = self.files[self._file_at(place)].names_at(place)
        noted = self.noted.marks_at(place) if self.noted is not None else ()
        return (*names, *(name for name in noted if name not in names)) if noted else names

    @property
    def any(self) -> bool:
        """Whether there was a mark."""
        return any(marks.any for marks in self.files) or (self.noted is not None and self.noted.has_marks)

    def intervals(self, name: str) -> list[Interval]:
        """The marks with this name, file by file, in the order of their ends, the open ones
        last."""
        return [mark for marks in self.files for mark in marks.intervals if mark.name == name]

    def interval(self, key: Key) -> Interval | None:
        """The mark with this key, once its beginning was read."""
        return self.files[key[0]].interval(key)

    def counters(self, now_ns: int) -> dict[str, Counters]:
        """The counters by name, in the order of the first end. Open marks are last, counted up to
        now."""
        by_name: dict[str, list[Interval]] = {}
        for marks in self.files:
            for mark in marks.intervals:
                by_name.setdefault(mark.name, []).append(mark)
        found = {name: Counters() for marks in self.files for name in marks.summed}
        for marks in self.files:
            for name, counters in marks.summed.items():
                found[name].add(counters)
        for name, of_name in by_name.items():
            if name not in found and len(found) >= NAMES_KEPT:
                name = OTHER_MARKS
            counters = self.summed(of_name, now_ns)
            if name in found:
                live = found[name].statements_live
                found[name].add(counters)
                found[name].statements_live = live
            else:
                found[name] = counters
        return found

    def summed(self, marks: Iterable[Interval], now_ns: int) -> Counters:
        """The counters of several marks as one. Statements alive are those of the first mark."""
        total = Counters()
        for number, mark in enumerate(marks):
            counters = mark.counters(partial(self.files[mark.key[0]].sums, now_ns), self.files[mark.key[0]].open_effect)
            live = total.statements_live if number else counters.statements_live
            total.add(counters)
            total.statements_live = live
        return total
