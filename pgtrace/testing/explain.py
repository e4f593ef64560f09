"""What a failure says: enough to see the cause without opening anything.

The numbers first, then the round trips in flight notation, those beyond the budget marked, then what is usually behind it: a statement that ran again and
again, one that was prepared anew each time. Last the capture, to look closer. Everything from the wire is made safe to show.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pgtrace import sanitise
from pgtrace.analysis.rows import Kind, Row
from pgtrace.testing.budget import Excess
from pgtrace.testing.counted import Statement, shown_sql
from pgtrace.testing.window import Window, flight_lines, summary

LINES_KEPT: Final = 60
_MANY: Final = 3
"""Executions of one statement that may be one for each row."""
_HINTS_KEPT: Final = 8


def over_budget(window: Window, exceeded: Sequence[Excess]) -> list[str]:
    """A window that is not within its budget."""
    head = [f"pgtrace: over the budget of {sanitise.text(window.name)}", *(f"    {excess}" for excess in exceeded), ""]
    return head + passed(window, _marked(window.timeline, exceeded))


def passed(window: Window, marked: frozenset[int] = frozenset()) -> list[str]:
    """What passed in a window, and what stands out in it."""
    rows = window.timeline
    lines = [f"{summary(window.counters)}{_who(window)}", *flight_lines(window.trace, rows, most=LINES_KEPT, marked=marked)]
    hints = _hints(window.statements)
    return [*lines, *(["", *hints] if hints else [])]


def _marked(rows: Sequence[Row], exceeded: Sequence[Excess]) -> frozenset[int]:
    """Numbers of the rows that are beyond the budget, or what it forbids."""
    marked: set[int] = set()
    for excess in exceeded:
        concerned = [row.number for row in rows if _counts_for(excess.key, row)]
        marked.update(concerned[excess.limit :] if excess.actual > excess.limit else ())
    return frozenset(marked)


def _counts_for(key: str, row: Row) -> bool:
    shape = row.shape
    return {
        "round_trips": shape.kind is Kind.ROUND_TRIP,
        "setup_round_trips": shape.kind is Kind.SETUP,
        "errors": bool(shape.errors),
        "parses_named": shape.prepares,
        "statements_reused": shape.reuses,
    }.get(key, False)


def _who(window: Window) -> str:
    """Which drivers, and where there are several connections, that all of them count."""
    connections = window.connections
    drivers = ", ".join(sanitise.text(driver) for driver in window.drivers)
    if len(connections) <= 1:
        return f" ({drivers})" if drivers else ""
    names = ", ".join(window.trace.name_of(connection) for connection in connections)
    return (
        f" ({drivers}) on {len(connections)} connections, {names}: whatever passed in this time counts, from a pool or another thread too"
    )


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
