"""The variants of a driver, if they are known, and their sums.

A variant is one way of using a driver. It has the label of its capture (`--label`), or the name of
the mark that was open when its connection began, if that begins with the name of the driver: in the
demo `psycopg pipeline`. Marks of tests and of programs are named after something else.

A driver is split into variants only if its connections have several.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from pgtrace.ask.filter.completion import quoted
from pgtrace.trace.counters import Counters
from pgtrace.trace.feed import Feed, Subscriber
from pgtrace.trace.row import RowKind
from pgtrace.trace.rows import Columns
from pgtrace.tui.model.filtering import of_driver
from pgtrace.tui.model.snapshot import DriverTotals

MOST_CONNECTIONS: Final = 20_000
"""With more connections drivers are not split, because older connections are no longer in memory.
"""


class Variant(NamedTuple):
    """A driver, or one variant of it."""

    driver: str
    name: str
    """Its label or mark; empty for a driver that is not split, and for the rest of one."""
    connections: int
    counters: Counters
    is_label: bool = False
    is_one_of_several: bool = False
    """Whether the driver is split into variants."""

    @property
    def short(self) -> str:
        """Its name without the driver's."""
        return self.name.removeprefix(f"{self.driver} ")

    @property
    def filter(self) -> str:
        """The filter for its round trips."""
        word = "label" if self.is_label else "mark"
        return of_driver(self.driver) + (f" {word}:{quoted(self.name)}" if self.name else "")


class _Key(NamedTuple):
    """Assigns connections to columns."""

    driver: str
    name: str
    is_label: bool


class Variants(Subscriber):
    """Finds the variants of a trace's connections."""

    def __init__(self, feed: Feed) -> None:
        self._trace = feed.trace
        self._marks: dict[int, tuple[str, ...]] = {}
        """Connection -> the marks that were open when it began."""
        self._looked_at = 0
        """Connections up to this one are in one of these two."""
        self._ended: dict[int, _Key] = {}
        self._open: list[int] = []
        self._sums: dict[_Key, tuple[int, Counters]] = {}
        """The sums over connections that have ended."""
        self._apart = 0
        """How many connections counted only for themselves then."""
        self._latest: tuple[object, list[Variant]] = None, []
        feed.subscribe(self)

    def take(self, rows: Columns) -> None:
        shape_at = rows.index.shape_at
        marks = {number for _, number, _ in rows.alike if shape_at(number).kind is RowKind.MARK}
        # the row of a mark belongs to no connection
        new = {connection for connection, number, _ in rows.alike if number not in marks} - self._marks.keys()
        if not new:
            return
        for place, connection, number in zip(rows.places, rows.connections, rows.shapes, strict=True):
            if connection in new and number not in marks:
                new.remove(connection)
                self._marks[connection] = self._trace.marks.names_at(place)

    def name_of(self, index: int) -> str:
        """The variant of a connection; empty if none is known."""
        return (self._ended.get(index) or self._key(index)).name

    def told_apart(self, drivers: tuple[DriverTotals, ...], selected: Mapping[int, Counters] | None = None) -> list[Variant]:
        """The variants of these drivers, each driver's in the order in which they came. With
        `selected`, the counters of connections, only those count.
        """
        if len(self._trace.connections) > MOST_CONNECTIONS or not (self._trace.marks.any or len(self._trace.files) > 1):
            return [Variant(one.driver, "", one.connections, one.counters) for one in drivers]
        if selected is not None:
            return _split(drivers, self._summed(selected))
        if self._latest[0] is not drivers:  # all numbers must be of the same moment
            self._latest = drivers, _split(drivers, self._all())
        return self._latest[1]

    def _key(self, index: int) -> _Key:
        connection = self._trace.connections[index]
        driver, label = connection.driver, self._trace.label_of(connection)
        named = label or next((name for name in reversed(self._marks.get(index, ())) if f"{name} ".startswith(f"{driver} ")), "")
        return _Key(driver, named, bool(label))

    def _all(self) -> dict[_Key, tuple[int, Counters]]:
        """The sums over all connections that count; ended connections are added up once."""
        trace = self._trace
        if self._apart != len(trace.apart):  # the sides of a pooler have been joined
            self._apart, self._looked_at = len(trace.apart), 0
            self._ended.clear()
            self._open.clear()
            self._sums.clear()
        self._open += range(self._looked_at, len(trace.connections))
        self._looked_at = len(trace.connections)
        still, self._open = self._open, []
        present: list[int] = []
        for index in still:
            if index in trace.apart:
                continue
            if trace.connections[index].closed_ns is None:
                self._open.append(index)
                present.append(index)
            else:
                self._ended[index] = key = self._key(index)
                self._add(self._sums, key, trace.connections[index].counters(trace.duration_ns))
        sums: dict[_Key, tuple[int, Counters]] = {}
        for key, (number, counters) in self._sums.items():
            self._add(sums, key, counters, number)
        for index in present:
            self._add(sums, self._key(index), trace.connections[index].counters(trace.duration_ns))
        return sums

    def _summed(self, selected: Mapping[int, Counters]) -> dict[_Key, tuple[int, Counters]]:
        sums: dict[_Key, tuple[int, Counters]] = {}
        for index in sorted(selected):
            self._add(sums, self._ended.get(index) or self._key(index), selected[index])
        return sums

    @staticmethod
    def _add(sums: dict[_Key, tuple[int, Counters]], key: _Key, counters: Counters, number: int = 1) -> None:
        before, sum_ = sums.get(key) or (0, Counters())
        sum_.add(counters)
        sums[key] = before + number, sum_


def _split(drivers: tuple[DriverTotals, ...], sums: Mapping[_Key, tuple[int, Counters]]) -> list[Variant]:
    found = []
    for one in drivers:
        own = [Variant(key.driver, key.name, *summed, key.is_label, True) for key, summed in sums.items() if key.driver == one.driver]
        found += own if len(own) > 1 else [Variant(one.driver, "", one.connections, one.counters)]
    return found
