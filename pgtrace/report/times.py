"""Times, formats and sizes as a table, and the `times` of `stats --json`.

Under a filter, the times are those of the selected rows in the first reading.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from pgtrace.report.table import NOTHING, count, long_table, ms, size
from pgtrace.sanitise import Shown
from pgtrace.trace.counters import Counters
from pgtrace.trace.rows import Columns
from pgtrace.trace.times import Times, keys_of, times
from pgtrace.trace.trace import Trace

if TYPE_CHECKING:
    from pgtrace.ask.filter.rowcounting import RowCounts
    from pgtrace.ask.filter.selection import Selection

CONNECTIONS_TIMED: Final = 2_000
"""The number of connections with separate times; later ones have none."""
_GROUPS: Final = ("all", "driver", "label", "file", "leg", "mark", "connection")
_ALSO_APART: Final = ("connection", "leg")
"""The groupings that include round trips on a pooler's server side."""
_HEAD: Final = ["set-up ms", "first ms", "p50 ms", "p95 ms", "p99 ms", "client ms", "open", "busy", "at once"]
_HEAD_SIZES: Final = ["par t", "par b", "val t", "val b", "B/exec"]

Found = dict[str, dict[Hashable, Times]]


def of(counted: Trace | RowCounts) -> Found:
    """The times by grouping and group; empty if there are no rows."""
    rows: Callable[[Columns], Columns] = lambda rows: rows  # noqa: E731
    selection: Selection | None = getattr(counted, "selection", None)
    if selection is not None:
        first, rows = selection.trace, selection.counted
    elif isinstance(counted, Trace) and counted.timeline:
        first = counted
    else:
        return {}
    keys = {by: keys_of(first, by) for by in _GROUPS}

    def all_of(place: int, connection: int) -> Iterable[Hashable]:
        return [
            (by, key)
            for by, keys_by in keys.items()
            if (by in _ALSO_APART or connection not in first.apart) and (by != "connection" or connection < CONNECTIONS_TIMED)
            for key in dict.fromkeys(keys_by(place, connection))
        ]

    found: Found = {by: {} for by in _GROUPS}
    for group, one in times(first, all_of, rows).items():
        assert isinstance(group, tuple)
        found[group[0]][group[1]] = one
    return found


def as_text(head: str, groups: Iterable[tuple[str, Times | None, Counters]], own_marks: Container[str] = ()) -> Iterator[Shown]:
    """Lines of a table: one for each group, with its name, times and counters. `own_marks` are
    marks that a program set itself; they have no client time.
    """
    return long_table(
        [head, *_HEAD, *_HEAD_SIZES],
        ([name, *_times(one, counters, has_client=name not in own_marks), *_sizes(counters)] for name, one, counters in groups),
    )


def _times(one: Times | None, counters: Counters, *, has_client: bool) -> list[str]:
    if one is None:
        return [NOTHING] * len(_HEAD)
    waits = one.waits
    return [
        ms(one.setup.percentile(50)) if one.setup.count else NOTHING,
        ms(one.first.percentile(50)) if one.first.count else NOTHING,
        *(ms(waits.percentile(percent)) if waits.count else NOTHING for percent in (50, 95, 99)),
        ms(counters.client_ns) if has_client else NOTHING,
        count(one.connections_open),
        count(one.connections_busy),
        count(one.round_trips_at_once),
    ]


def _sizes(counters: Counters) -> list[str]:
    each = (counters.frontend_bytes + counters.backend_bytes) // counters.executions if counters.executions else 0
    return [
        *(count(number) for number in (counters.params_text, counters.params_binary, counters.values_text, counters.values_binary)),
        size(each),
    ]
