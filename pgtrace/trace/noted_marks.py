"""Counters by mark: intervals in time (marks.py), and the marks that a program itself set.

A program's own mark is not an interval of the capture: of tasks that overlap, each is in its own
mark. Its counters are the sums over the round trips whose statements were noted in it (rowsums.py).
So they lack what belongs to no round trip: `client_ns`, and `statements_live`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pgtrace.trace.counters import Counters
from pgtrace.trace.rows import Columns
from pgtrace.trace.rowsums import RowSums

if TYPE_CHECKING:
    from pgtrace.trace.trace import Trace

_SLICE: Final = 4096


def mark_counters(trace: Trace) -> dict[str, Counters]:
    """The counters of each mark. If marks of both kinds have the same name, they are summed."""
    found = trace.mark_counters()
    selection = getattr(trace, "selection", None)  # a second reading has no rows to inspect
    first, rows = (selection.trace, selection.counted) if selection is not None else (trace, _all)
    for name, counters in _noted(first, rows).items():
        if name in found:
            found[name].add(counters)
        else:
            found[name] = counters
    return found


def units(trace: Trace, name: str) -> int:
    """How many marks of this name there were."""
    ended = trace.call_sites.units.get(name)
    return len(trace.marks.intervals(name)) + (ended.count if ended is not None else 0)


def _all(rows: Columns) -> Columns:
    return rows


def _noted(trace: Trace, rows: Callable[[Columns], Columns]) -> dict[str, Counters]:
    if not trace.call_sites.has_marks:
        return {}
    sums: dict[str, RowSums] = {}
    for start in range(0, len(trace.rows), _SLICE):
        places: dict[str, list[int]] = {}
        for place in rows(trace.rows.columns(start, start + _SLICE)).round_trips.places:
            for name in trace.call_sites.marks_at(place):
                places.setdefault(name, []).append(place)
        for name, mine in places.items():
            if name not in sums:
                sums[name] = RowSums(trace)
            sums[name].add(trace.rows.at(mine))
    return {name: one.totals() for name, one in sums.items()}
