"""The counts of a trace: sums over its connections, by file, by driver and by statement.

A connection's counts are added when it closes or is put aside; those of open connections are
requested each time. The number of drivers is bounded, because a golden may name any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from pgtrace.trace.connection import Connection
from pgtrace.trace.counters import Counters
from pgtrace.trace.gathered import SLICE, Gathered
from pgtrace.trace.groups import StatementGroup
from pgtrace.trace.ledger import Ledger
from pgtrace.trace.marks import Interval
from pgtrace.trace.statements import GROUPS_KEPT, GroupBudget, StatementTable

DRIVERS_KEPT: Final = 1000
OTHER_DRIVERS: Final = "(other drivers)"
"""The name for drivers beyond the bound: only a golden names a driver that pgtrace does not
know."""
LATELY_KEPT: Final = 64
"""The most closed connections whose statements are not summed yet."""
_ATTEMPTS: Final = 3
"""How often statements are gathered again because a connection has ended in the meantime; the last
time without breaks."""


@dataclass(frozen=True, slots=True)
class StatementView:
    """One statement under one driver. Do not change the group; it goes on counting while the trace
    is read."""

    driver: str
    group: StatementGroup


class TraceTotals:
    """The sums over the connections of one trace."""

    def __init__(self, ledger: Ledger, files: int, is_counted: Callable[[Connection], bool]) -> None:
        """`is_counted` says whether a connection counts in the drivers' sums."""
        self._ledger = ledger
        self._is_counted = is_counted
        self.open: dict[int, Connection] = {}
        """The connections that are open and not put aside, by index."""
        self._retired = [Counters() for _ in range(files)]
        """By file: the sum over connections that have closed or were put aside."""
        self._numbers = [0] * files
        """By file: the number of these connections."""
        self._drivers: dict[str, tuple[int, Counters]] = {}
        """By driver: the number of these connections, and the sum over them."""
        self._statements: dict[str, StatementTable] = {}
        self._lately: dict[int, tuple[str, StatementTable]] = {}
        """By connection: the driver and statements of the latest closed connections that may be on
        one side of a pooler. They may still be put apart."""
        self._late: set[int] = set()
        """Connections that were put apart after some of their records were read: the sums of marks
        include them."""
        self._left = [Counters() for _ in range(files)]
        """By file: the sums of these connections that had retired, which the totals subtract."""
        self._retirements = 0
        """The number of connections whose statements were moved here."""

    def retired(self, connection: Connection, counters: Counters, before: Counters | None, statements: StatementTable | None) -> None:
        """Add the counts of a connection that has closed or is put aside. `before` was added
        earlier."""
        self._retirements += 1
        if connection.index in self._ledger.in_no_mark:
            self.open.pop(connection.index, None)
            return
        is_late = connection.index in self._late
        sums = [self._retired[connection.file]]
        if is_late:
            sums.append(self._left[connection.file])
        elif statements is not None:
            self._keep_statements(connection, statements)
        if self._is_counted(connection) and not is_late:
            self._numbers[connection.file] += before is None
            number, of_driver = _driver_in(self._drivers, connection.driver)
            self._drivers[_bounded(self._drivers, connection.driver)] = (number + (before is None), of_driver)
            sums.append(of_driver)
        for one in sums:
            one.add(counters)
            if before is not None:
                one.subtract(before)
                one.statements_live -= before.statements_live
        self.open.pop(connection.index, None)

    def put_apart(self, connection: Connection) -> None:
        """From now on a connection counts only for itself, and what it has already counted is
        subtracted."""
        self._ledger.apart.add(connection.index)
        self._late.add(connection.index)
        self._retirements += 1
        _, statements = self._lately.pop(connection.index, ("", None))
        if statements is not None:
            statements.release()
        settled = connection.settled
        if settled is None:
            return
        self._left[connection.file].add(settled)
        if self._is_counted(connection):
            self._numbers[connection.file] -= 1
            number, of_driver = _driver_in(self._drivers, connection.driver)
            of_driver.subtract(settled)
            of_driver.statements_live -= settled.statements_live
            name = _bounded(self._drivers, connection.driver)
            self._drivers[name] = number - 1, of_driver
            if number == 1:
                del self._drivers[name]

    def _keep_statements(self, connection: Connection, statements: StatementTable) -> None:
        """Add the statements of a connection that has retired, or keep them for a while if it may
        be on one side of a pooler."""
        room = self._ledger.statements_room
        kept = [self._lately.pop(connection.index)] if connection.index in self._lately else []
        if connection.leg or len(self._retired) > 1:
            self._lately[connection.index] = connection.driver, statements
        else:
            kept.append((connection.driver, statements))
        while len(self._lately) > (LATELY_KEPT if room.groups < GROUPS_KEPT // 2 else 0):
            kept.append(self._lately.pop(next(iter(self._lately))))
        for driver, table in kept:
            self._statements.setdefault(_bounded(self._statements, driver), StatementTable(room)).take(table)

    def at(self, time_ns: int, file: int | None = None) -> Counters:
        """The sum of all counters, or of those of one file, at that moment, as marks count them:
        live statements are those of the open connections."""
        sums = Counters()
        for retired in self._retired if file is None else [self._retired[file]]:
            sums.add(retired)
        sums.statements_live = 0
        for index, connection in self.open.items():
            if index not in self._ledger.in_no_mark and (file is None or connection.file == file):
                sums.add(connection.present(time_ns))
        return sums

    def _whole(self, time_ns: int, file: int) -> Counters:
        """The counters of one file at that moment, with the statements that its connections have
        left alive."""
        sums = Counters()
        sums.add(self._retired[file])
        sums.subtract(self._left[file])
        sums.statements_live -= self._left[file].statements_live
        for connection in self._counting():
            if connection.file == file:
                sums.add(connection.present(time_ns))
        return sums

    def _counting(self) -> list[Connection]:
        """The open connections, without those that count only for themselves."""
        apart = self._ledger.apart
        return [connection for index, connection in self.open.items() if index not in apart]

    def all(self, time_ns: int) -> Counters:
        """The counters of everything at that moment."""
        totals = Counters()
        for file in range(len(self._retired)):
            totals.add(self._whole(time_ns, file))
        return totals

    def drivers(self, time_ns: int) -> list[tuple[str, int, Counters]]:
        """(driver, connections, counters), the most round trips first."""
        found: dict[str, tuple[int, Counters]] = {}
        for driver, (number, counters) in self._drivers.items():
            copied = Counters()
            copied.add(counters)
            found[driver] = number, copied
        for connection in self._counting():
            if self._is_counted(connection):
                number, counters = _driver_in(found, connection.driver)
                counters.add(connection.present(time_ns))
                found[_bounded(found, connection.driver)] = (number + (not connection.was_put_aside), counters)
        ordered = sorted(found.items(), key=lambda item: (-item[1][1].round_trips, item[0]))
        return [(driver, count, counters) for driver, (count, counters) in ordered]

    def files(self, time_ns: int) -> list[tuple[int, Counters]]:
        """(connections, counters) of each file."""
        found = [(number, self._whole(time_ns, file)) for file, number in enumerate(self._numbers)]
        for connection in self._counting():
            if self._is_counted(connection) and not connection.was_put_aside:
                number, counters = found[connection.file]
                found[connection.file] = number + 1, counters
        return found

    def statements(self) -> list[StatementView]:
        """The statements, sorted by round trips, the most first."""
        views: list[StatementView] = []
        for gathered in self.statements_by_slices():
            views = gathered if gathered is not None else views
        return _sorted(views)

    def statements_by_slices(self) -> Iterator[list[StatementView] | None]:
        """Yields None after each slice of the work, so that a caller with little time can read in
        between, and at the end the statements in no particular order.

        If a connection ends in the meantime, its statements have moved, and the work begins again;
        if that happens repeatedly, it is done without breaks.
        """
        for attempt in range(_ATTEMPTS):
            retired = self._retirements
            tables: dict[str, Gathered] = {}
            room = GroupBudget()
            for driver, add in self._statement_sources():
                for _ in add(tables.setdefault(driver, Gathered(room))):
                    if attempt < _ATTEMPTS - 1:
                        yield None
                        if self._retirements != retired:
                            break
                if self._retirements != retired:
                    break
            else:
                break
        room.trim()
        views: list[StatementView] = []
        for driver, table in tables.items():
            for group in table.groups.values():
                views.append(StatementView(driver, group))
                if not len(views) % SLICE:
                    yield None
        yield views

    def _statement_sources(self) -> list[tuple[str, Callable[[Gathered], Iterable[None]]]]:
        """Drivers, each with a function that adds the driver's statements in slices."""
        tables = [*self._statements.items(), *self._lately.values()]
        kept = [(driver, partial(Gathered.add, table=table)) for driver, table in tables]
        live = [(connection.driver, connection.add_statements) for connection in self._counting()]
        return [*kept, *live]


def statements_within(marks: Iterable[Interval]) -> list[StatementView]:
    """The statements of marks whose statements are counted, sorted by round trips, the most
    first."""
    tables: dict[str, Gathered] = {}
    room = GroupBudget()
    for mark in marks:
        for connection, table in mark.tables.items():
            for _ in tables.setdefault(connection.driver, Gathered(room)).add(table):
                pass
    room.trim()
    return _sorted([StatementView(driver, group) for driver, table in tables.items() for group in table.groups.values()])


def _bounded(kept: Mapping[str, object], driver: str) -> str:
    """The name under which a driver is counted."""
    return driver if driver in kept or len(kept) < DRIVERS_KEPT else OTHER_DRIVERS


def _driver_in(kept: Mapping[str, tuple[int, Counters]], driver: str) -> tuple[int, Counters]:
    """The counts of a driver so far."""
    return kept.get(_bounded(kept, driver)) or (0, Counters())


def _sorted(views: list[StatementView]) -> list[StatementView]:
    # Three stable sorts: keys of three parts would take megabytes.
    views.sort(key=lambda view: view.group.sql)
    views.sort(key=lambda view: view.driver)
    views.sort(key=lambda view: view.group.round_trips, reverse=True)
    return views
