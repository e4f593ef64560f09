"""The data that panes need about the rows that a filter selects, from one pass over the index:
statements, flights, findings and transactions.

    selected = Selected(trace, advice, driver)
    selected.take(trace.rows.at(places))

A statement's numbers are sums of its shares in the selected round trips. How long each of its
executions waited is not in the index: its times are those of whole round trips, and the pane says
so. How many of its preparations are alive is not a sum and stays 0.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable
from math import isnan
from typing import TYPE_CHECKING, Final

from pgtrace.trace.groups import StatementGroup
from pgtrace.trace.row import Label, RowKind
from pgtrace.trace.rows import Columns

if TYPE_CHECKING:
    from pgtrace.judge.advice import Advice
    from pgtrace.trace.trace import Trace

_STATEMENTS_KEPT: Final = 100_000
_FLIGHTS_KEPT: Final = 64


class Selected:
    """The rows that a filter selects, added up for the panes."""

    def __init__(self, trace: Trace, advice: Advice, driver: Callable[[int], str]) -> None:
        """`driver` gives the driver of a connection."""
        self._trace = trace
        self._advice = advice
        self._driver = driver
        self._groups: dict[tuple[str, int], StatementGroup] = {}
        self._flights: dict[int, Counter[str]] = {}
        """By the index of the connection."""
        self._kinds: set[tuple[str, str]] = set()
        self._places: dict[int, array[int]] = {}

    def take(self, rows: Columns) -> None:
        """Add these rows."""
        index = rows.index
        self._kinds |= {(kind.name, self._driver(connection)) for kind, connection in self._advice.kinds_among(rows)}
        places: defaultdict[int, list[int]] = defaultdict(list)
        for place, connection in zip(rows.places, rows.connections, strict=True):
            places[connection].append(place)
        for connection, own in places.items():
            self._places.setdefault(connection, array("Q")).extend(own)
        found: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for number, key in enumerate(zip(rows.connections, rows.labels, strict=True)):
            found[key].append(number)
        durations, counts = rows.durations_ms, rows.rows
        if rows.any_open:
            durations = [0.0 if isnan(ms) else ms for ms in durations]
        for (connection, label), numbers in found.items():
            took = [int(1e6 * durations[number]) for number in numbers]
            self._add(self._driver(connection), index.label_at(label), took, sum(map(counts.__getitem__, numbers)))
        for (connection, number, _), times in rows.alike.items():
            shape = index.shape_at(number)
            if shape.kind is RowKind.ROUND_TRIP:
                flights = self._flights.setdefault(connection, Counter())
                sent = shape.sent_flight or shape.flight
                if sent in flights or len(flights) < _FLIGHTS_KEPT:
                    flights[sent] += times

    def statement(self, driver: str, number: int) -> StatementGroup | None:
        """A statement's numbers in the selected round trips; None if it is in none of them."""
        return self._groups.get((driver, number))

    def flights(self, is_of: Callable[[int], bool], most: int) -> list[tuple[str, int]]:
        """The driver's flights in the selected round trips after set-up of these connections, most
        frequent first.
        """
        total: Counter[str] = Counter()
        for number, flights in self._flights.items():
            if is_of(number):
                total.update(flights)
        return total.most_common(most)

    def has_finding(self, name: str, driver: str) -> bool:
        """Whether a selected row belongs to a finding of that kind, with that driver."""
        return (name, driver) in self._kinds

    def any_between(self, connection: int, first: int, last: int) -> bool:
        """Whether a row of the connection is selected, from one place to another."""
        places = self._places.get(connection)
        if places is None:
            return False
        at = bisect_left(places, first)
        return at < len(places) and places[at] <= last

    def _add(self, driver: str, label: Label, durations: list[int], rows: int) -> None:
        times = len(durations)
        carried = set(label.groups)
        for number, share in label.shares_by_group:
            group = self._groups.get((driver, number))
            if group is None:
                if len(self._groups) >= _STATEMENTS_KEPT:
                    continue
                group = self._groups[driver, number] = StatementGroup("", "", number)
            factor = rows if share.each else times
            if number in carried:
                group.round_trips += times
                group.round_trips_alone += times if len(carried) == 1 else 0
            group.parses += times * share.parses
            group.reused += times * share.reused
            group.executions += times * share.executions
            group.errors += times * share.errors
            group.rows += factor * share.rows
            group.values_text += factor * share.values_text
            group.values_binary += factor * share.values_binary
            if share.executions:
                group.own_wait().add_all(durations)
