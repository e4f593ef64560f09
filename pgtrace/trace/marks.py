"""Marks: what happened during a named interval.

A round trip belongs to every mark that was open when it opened, with all its depth; that is counted directly, as it opens and closes. Everything else
belongs to the marks open at its moment: the difference between the sums at the mark's end and at its beginning. Named statements alive are taken at the
end. Marks nest, and marks of one name are summed.

Statements are counted for a mark only where its name was in `watched` when it began: a table for each of a hundred thousand marks has no bound.

Of more than OPEN_KEPT marks open at once the later ones are not counted, they are rows of the timeline alone; `uncounted` says how many. Of ended marks the
latest ENDED_KEPT are there one by one; of older ones the sum by name, as long as there are no more than NAMES_KEPT names, then of all other names together.
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
"""Rows that are marks, of which it is known what was open behind them; of more, of the latest."""

BY_OPENING: Final = ("setup_round_trips", "round_trips", "pipelined_executions", "max_pipeline_depth")
"""What a round trip counts in the marks that were open when it opened, wherever it closes."""

Sums = Callable[[int], Counters]
"""The sum over the connections of a file at a moment."""
Standing = Callable[[int], Effect | None]
"""The open round trip of the connection of that index, as it stands."""
Key = tuple[int, int]
"""Number of the capture's file, and the mark's id in it."""


class Preparer(Protocol):
    """A connection, as far as a mark knows it."""

    index: int

    @property
    def driver(self) -> str: ...

    def named_statements(self) -> Iterable[Statement]:
        """Those alive now."""
        ...


class Interval:
    """One interval with a name, from its begin to its end."""

    __slots__ = ("_before", "_between", "_closed", "_open", "begins_at", "ends_at", "key", "name", "tables", "watched")

    def __init__(self, name: str, key: Key, before: Counters, place: int, *, watched: bool) -> None:
        self.name = name
        self.key = key
        self.begins_at = place
        """The place of the row that says that it begins."""
        self.ends_at: int | None = None
        """The place of the row that says that it ends; None while it is open."""
        self.watched = watched
        """Whether its statements are counted."""
        self.tables: dict[Preparer, StatementTable] = {}
        """Its statements by connection."""
        self._before = before
        self._between: Counters | None = None
        self._closed = Counters()
        self._open: set[int] = set()
        """Indexes of the connections whose open round trip opened inside it."""

    def opened(self, connection: int) -> None:
        """A run of messages begins, on the connection of that index."""
        self._open.add(connection)

    def happened(self, exchange: Exchange, connection: Preparer) -> None:
        """What opened inside it has closed. It may have been no round trip."""
        self._open.discard(connection.index)
        if exchange.effect.is_round_trip:
            _count(self._closed, exchange.effect)
            if self.watched:
                self.table(connection).round_trip(exchange)

    def count(self, exchange: Exchange, passage: Passage, connection: Preparer) -> None:
        """What a round trip did with each statement that closed inside it."""
        table = self.table(connection)
        table.count(exchange, passage.rows)
        if passage.replaces is not None:
            table.count(passage.replaces[0], passage.replaces[1].rows, -1)

    def table(self, connection: Preparer) -> StatementTable:
        """Its statements on that connection."""
        found = self.tables.get(connection)
        if found is None:
            found = self.tables[connection] = StatementTable()
        return found

    def end(self, place: int, sums: Counters) -> None:
        """It ends, at that place, with those sums over everything."""
        self.ends_at = place
        sums.subtract(self._before)
        self._between = sums
        for connection, table in self.tables.items():
            table.live(one for one in connection.named_statements() if table.knows(one))

    def forget_statements(self) -> None:
        """Let go of its statements."""
        self.watched = False
        self.tables.clear()

    def counters(self, sums: Callable[[], Counters], standing: Standing) -> Counters:
        """What it counted, up to the moment of `sums` where it is open. Round trips that opened inside it and are still open count as they stand."""
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
            effect = standing(connection)
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

    def __init__(self, sums: Sums, standing: Standing, watched: set[str]) -> None:
        """`sums` are over the connections of that file; a mark is about what its own recorder saw."""
        self.sums = sums
        self.standing = standing
        self.open: tuple[Interval, ...] = ()
        self.counting: tuple[Interval, ...] = ()
        """Those of the open ones whose statements are counted."""
        self.watched = watched
        self.uncounted = 0
        self.summed: dict[str, Counters] = {}
        """What ended marks counted that are not there one by one any more, by name."""
        self._ended: dict[Key, Interval] = {}
        self._places = array("Q")  # of the rows that are marks, and the names open behind each
        self._names: list[tuple[str, ...]] = []

    def begin(self, name: str, key: Key, time_ns: int, place: int) -> None:
        """A mark begins; its row is at that place."""
        if len(self.open) >= OPEN_KEPT:
            self.uncounted += 1
            return
        self.open = (*self.open, Interval(name[:LONGEST_NAME], key, self.sums(time_ns), place, watched=name in self.watched))
        self._changed(place)

    def end(self, key: Key, time_ns: int, place: int) -> None:
        """A mark ends; the row that says so is at that place."""
        for mark in self.open:
            if mark.key == key:
                self.open = tuple(one for one in self.open if one is not mark)
                mark.end(place, self.sums(time_ns))
                self._ended[key] = mark
                self._changed(place)
                if len(self._ended) > ENDED_KEPT + len(self.watched):
                    self._sum_up(next(iter(self._ended)))

    def _sum_up(self, key: Key) -> None:
        """Of the oldest one only what it counted stays, with others of its name."""
        mark = self._ended.pop(key)
        name = mark.name if mark.name in self.summed or len(self.summed) < NAMES_KEPT else OTHER_MARKS
        sum_ = self.summed.get(name)
        counters = mark.counters(Counters, self.standing)
        if sum_ is None:
            self.summed[name] = counters
        else:
            live = sum_.statements_live
            sum_.add(counters)
            sum_.statements_live = live

    def names_at(self, place: int) -> tuple[str, ...]:
        """The marks that were open when the row at that place began."""
        found = bisect_left(self._places, place)
        return self._names[found - 1] if found else ()

    @property
    def any(self) -> bool:
        """Whether there has been one."""
        return bool(self._places)

    @property
    def intervals(self) -> tuple[Interval, ...]:
        """All of them, in the order of their ends, the open ones last."""
        return (*self._ended.values(), *self.open)

    def interval(self, key: Key) -> Interval | None:
        """The mark of that key, once its begin was read."""
        return self._ended.get(key) or next((mark for mark in self.open if mark.key == key), None)

    def _changed(self, place: int) -> None:
        if len(self._places) >= PLACES_KEPT:
            half = len(self._places) // 2
            del self._places[:half], self._names[:half]
        self._places.append(place)
        self._names.append(tuple(mark.name for mark in self.open))
        self.counting = tuple(mark for mark in self.open if mark.watched)


class MarksOfFiles:
    """The marks of a trace, whose files have each their own."""

    def __init__(self, sums: Sequence[Sums], standing: Standing, file_at: Callable[[int], int]) -> None:
        """Of each file its sums; `file_at` tells the file of the row at a place."""
        self.watched: set[str] = set()
        """Names of the marks whose statements are counted, from their next begin on."""
        self.files = [Marks(one, standing, self.watched) for one in sums]
        self._file_at = file_at

    @property
    def uncounted(self) -> int:
        """Marks that were too many open at once, and are not counted."""
        return sum(marks.uncounted for marks in self.files)

    def names_at(self, place: int) -> tuple[str, ...]:
        """The marks that were open when the row at that place began."""
        return self.files[self._file_at(place)].names_at(place)

    @property
    def any(self) -> bool:
        """Whether there has been a mark."""
        return any(marks.any for marks in self.files)

    def intervals(self, name: str) -> list[Interval]:
        """The marks of that name, file by file, in the order of their ends, the open ones last."""
        return [mark for marks in self.files for mark in marks.intervals if mark.name == name]

    def interval(self, key: Key) -> Interval | None:
        """The mark of that key, once its begin was read."""
        return self.files[key[0]].interval(key)

    def counters(self, now_ns: int) -> dict[str, Counters]:
        """Counters by name, in the order of the first end; open marks come last, counted up to now."""
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
        """Counters of several marks as one; statements alive are those of the first one."""
        total = Counters()
        for number, mark in enumerate(marks):
            counters = mark.counters(partial(self.files[mark.key[0]].sums, now_ns), self.files[mark.key[0]].standing)
            live = total.statements_live if number else counters.statements_live
            total.add(counters)
            total.statements_live = live
        return total
