"""The text of a failure: enough to see the cause without opening the capture.

First come the numbers, then the round trips in flight notation, with those beyond the budget
marked. Then come the usual causes: a statement that ran again and again, or one that was prepared
again each time. Last comes the path of the capture. All text from the wire is made safe to show.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from pgtrace import sanitise
from pgtrace.ask.budgets import Budget, number
from pgtrace.ask.evidence import cut
from pgtrace.ask.filter.amounts import Amounts
from pgtrace.testing.counted import Statement, shown_sql
from pgtrace.testing.rendering import flight_lines, summary
from pgtrace.testing.selected import Selected
from pgtrace.testing.window import Window
from pgtrace.trace.counters import Counters

LINES_KEPT: Final = 60
_MANY: Final = 3
"""With at least this many executions, a statement may be running once for each row."""
_HINTS_KEPT: Final = 8


def exceeded(counters: Counters, budgets: Iterable[Budget]) -> list[Budget]:
    """The budgets that are exceeded."""
    return [budget for budget in budgets if not budget.allows(number(counters, budget.counter))]


def over_budget(window: Window, counted: Window | Selected, broken: Sequence[Budget]) -> list[str]:
    """Describe a window that exceeds these budgets. `counted` is the part to which they apply."""
    counters = counted.counters
    of = f" of {sanitise.text(counted.text)}" if isinstance(counted, Selected) else ""
    exceeding = [
        f"    {budget.counter}{of} is {number(counters, budget.counter)}, {budget.allowed}{_cut(counted, budget.counter)}"
        for budget in broken
    ]
    head = f"pgtrace: {sanitise.text(window.name)} is not within its budget"
    return [head, *exceeding, "", *passed(window, _beyond(counted, broken))]


def _cut(counted: Window | Selected, counter: str) -> str:
    """The part of a number that belongs to round trips under way when the window began or ended."""
    if isinstance(counted, Selected):
        return ""
    part = cut(counted.trace, counted.intervals, counter, number(counted.counters, counter))
    return f"; {part} of it in round trips that began before the window or ended after it" if part else ""


def passed(window: Window, marked: frozenset[int] = frozenset()) -> list[str]:
    """The round trips of a window, and what stands out."""
    lines = [f"{summary(window.counters)}{_who(window)}", *flight_lines(window.trace, window.timeline, most=LINES_KEPT, marked=marked)]
    hints = _hints(window.statements)
    return [*lines, *(["", *hints] if hints else [])]


def _beyond(window: Window | Selected, broken: Sequence[Budget]) -> frozenset[int]:
    """The numbers of the rows beyond a budget, from the first that exceeds it."""
    rows = window.trace.rows
    found: set[int] = set()
    for budget in broken:
        amount_of, sum_ = Amounts(window.trace, budget.counter), 0
        for place in window.places:
            amount = amount_of(place, rows.entry(place))
            sum_ += amount
            if amount and sum_ > budget.limit:
                found.add(place + 1)
    return frozenset(found)


def _who(window: Window) -> str:
    """The drivers; and for several connections, a note that all of them count."""
    connections = window.connections
    drivers = ", ".join(sanitise.text(driver) for driver in window.drivers)
    if len(connections) <= 1:
        return f" ({drivers})" if drivers else ""
    names = ", ".join(window.trace.name_of(connection) for connection in connections)
    return f" ({drivers}) on {len(connections)} connections, {names}: everything in this time counts, also from a pool or another thread"


def _hints(statements: Sequence[Statement]) -> list[str]:
    lines = []
    for one in statements:
        sql = shown_sql(one.sql)
        if one.executions >= _MANY and one.round_trips >= _MANY:
            lines.append(f"x{one.executions} {sql}: one query for each row (N+1)?")
        if one.parses > 1 and not one.reused:
            lines.append(f"parsed {one.parses} times for {one.executions} executions, never reused: {sql}")
        elif one.parses > 1:
            lines.append(f"parsed {one.parses} times, reused {one.reused} times: {sql}")
        if one.errors:
            lines.append(f"failed {one.errors} time{'s' if one.errors > 1 else ''}: {sql}")
    more = len(lines) - _HINTS_KEPT
    return lines if more <= 0 else [*lines[:_HINTS_KEPT], f"and {more} more like these"]
