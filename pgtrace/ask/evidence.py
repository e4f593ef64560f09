"""The evidence for a counter: the round trips behind a number, in groups of those that look the
same, the largest first.

    ×12  BES → 2DCZ   SELECT name FROM items WHERE order_id = $1

Needed only if a number is too large, so it looks at the rows of the timeline once more instead of
keeping anything beside them. Each row has the number of its counts (session/effects.py), so the
amounts add up to the counter; rows that are not round trips (a notification, a notice) are
included. Live statements are not a sum: the rows that prepare are listed instead. `client_ns` is
the time between round trips, so no row has a part in it.

For a statement, every row with a part in it is listed, with all that the row counts, even if other
statements share the row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pgtrace import sqltext
from pgtrace.ask.filter.counting import CountedTrace
from pgtrace.ask.filter.facts import TOLD, Subject, sql_of
from pgtrace.inspect.details import NotKept
from pgtrace.session.effects import Tally
from pgtrace.trace.counters import Counters
from pgtrace.trace.rows import Entry, Kind

if TYPE_CHECKING:
    from pgtrace.trace.trace import Trace

GROUPS_KEPT: Final = 8
"""How many groups are listed; the rest is summed up."""


@dataclass(slots=True)
class RoundTrips:
    """Rows of one look and one statement, and their share of the counter together."""

    flight: str
    """Flight notation, or empty for the sum of the rest."""
    sql: str
    """Normalised."""
    sqlstate: str
    first_row: int
    """Number of the first of them in the timeline, from 1."""
    times: int = 0
    amount: int = 0


def of(trace: Trace, counter: str, about: str = "capture", name: str = "") -> tuple[RoundTrips, ...]:
    """The evidence for a counter, of the capture or of one driver, mark or statement. If the trace
    counts under a filter, of what that selects."""
    selects: Callable[[int], bool] = lambda place: True  # noqa: E731
    if isinstance(trace, CountedTrace):
        selection = trace.selection
        trace, selects = selection.trace, selection.selects
    belongs = _belonging(trace, about, name)
    return summed(trace, counter, (place for place in range(len(trace.rows)) if belongs(place) and selects(place)))


def summed(trace: Trace, counter: str, places: Iterable[int]) -> tuple[RoundTrips, ...]:
    """The evidence for a counter among the rows at these places, most first; at most GROUPS_KEPT
    groups, and the sum of the rest."""
    amount_of = Amounts(trace, counter)
    found: dict[tuple[int, int], RoundTrips] = {}
    for place in places:
        entry = trace.rows.entry(place)
        amount = amount_of(entry)
        if not amount:
            continue
        shape = trace.rows.shape_at(entry.shape)
        group = found.get((entry.shape, entry.label))
        if group is None:
            label = trace.rows.label_at(entry.label)
            error = TOLD.fullmatch(label.error)
            sql = sqltext.normalise(label.sql) if shape.statements else label.sql
            group = found[entry.shape, entry.label] = RoundTrips(shape.flight, sql, error[1] if error else "", place + 1)
        group.times += 1
        group.amount += amount
    alike: dict[tuple[str, str, str], RoundTrips] = {}
    for group in found.values():
        mine = alike.setdefault(
            (group.flight, group.sql, group.sqlstate), RoundTrips(group.flight, group.sql, group.sqlstate, group.first_row)
        )
        mine.times += group.times
        mine.amount += group.amount
    ordered = sorted(alike.values(), key=lambda group: (-group.amount, group.first_row))
    told, rest = ordered[:GROUPS_KEPT], ordered[GROUPS_KEPT:]
    if rest:
        first = min(group.first_row for group in rest)
        told.append(RoundTrips("", "", "", first, sum(group.times for group in rest), sum(group.amount for group in rest)))
    return tuple(told)


def _belonging(trace: Trace, about: str, name: str) -> Callable[[int], bool]:
    """Whether the row at a place belongs to the subject of a budget."""
    if about == "driver":
        of_driver = [connection.driver == name for connection in trace.connections]
        return lambda place: of_driver[trace.rows.entry(place).connection]
    if about == "mark":
        return lambda place: name in trace.marks.names_at(place)
    if about == "statement":
        return _about_statement(trace, sqltext.fingerprint(name))
    return lambda place: True


def _about_statement(trace: Trace, fingerprint: str) -> Callable[[int], bool]:
    known: dict[int, bool] = {}

    def belongs(place: int) -> bool:
        subject = Subject(trace, place)
        texts = sql_of(trace.rows, subject.shape, subject.entry.label)
        if texts is not None and subject.entry.label in known:
            return known[subject.entry.label]
        try:
            asked = subject.inside.sql if texts is None else texts
        except NotKept:
            return False
        found = any(fingerprint in map(sqltext.fingerprint, sqltext.split(text)) for text in asked)
        if texts is not None:
            known[subject.entry.label] = found
        return found

    return belongs


class Amounts:
    """Each row's exact share of a counter, from its counts."""

    def __init__(self, trace: Trace, counter: str) -> None:
        self._trace = trace
        self._counter = _OF_STATEMENTS.get(counter, counter)
        self._table, _, self._message = self._counter.partition(".")
        self._known: dict[int, tuple[int, int]] = {}

    def __call__(self, entry: Entry) -> int:
        """The share of that row; 0 if its counts were not kept (session/effects.py), and while it
        is open."""
        match self._counter:
            case "frontend_bytes":
                return entry.sent_bytes
            case "backend_bytes":
                return entry.received_bytes
            case "wait_ns":
                return entry.wait_ns
            case "round_trips_alone":
                shape = self._trace.rows.shape_at(entry.shape)
                return int(shape.kind <= Kind.SETUP and shape.statements == 1)
            case "client_ns":
                return 0
        found = self._known.get(entry.effect)
        if found is None:
            found = self._known[entry.effect] = self._look(entry.effect)
        times, rows = found
        return times if self._counter == "max_pipeline_depth" else entry.times * times + entry.rows * rows

    def _look(self, number: int) -> tuple[int, int]:
        """For an effect: what it counts itself, and what for each of its DataRows."""
        counts = self._trace.reads.effects[number]
        if counts is None:
            return 0, 0
        amounts = []
        for times, rows in ((1, 0), (0, 1)):
            tally = Tally()
            counts.add_to(tally, times, rows)
            counters = Counters.of_session(tally, [0, 0], 0, (0, 0))
            amounts.append(getattr(counters, self._table).get(self._message, 0) if self._message else getattr(counters, self._counter))
        return amounts[0], amounts[1]


_OF_STATEMENTS: Final = {
    "parses": "frontend_messages.Parse",
    "reused": "statements_reused",
    "live": "parses_named",
    "statements_live": "parses_named",
}
"""The counter of a row that is closest to one that only statements have."""
