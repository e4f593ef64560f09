"""Sums of selected round trips by a value of each row: by call site or by tag.

Sums by drivers, connections and the like, which the trace itself has, are in stats.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pgtrace import sanitise
from pgtrace.report.stats import HEAD, cells, heading
from pgtrace.report.table import table
from pgtrace.sanitise import EMPTY, Shown
from pgtrace.trace.counters import Counters
from pgtrace.trace.rows import Columns
from pgtrace.trace.rowsums import RowSums
from pgtrace.trace.trace import Trace

if TYPE_CHECKING:
    from pgtrace.ask.filter.selection import Selection

SCHEMA: Final = "pgtrace.groups/1"
_SLICE: Final = 4096


class Grouping(NamedTuple):
    """A grouping of `stats --by` that the trace itself does not have."""

    name: str
    of: Callable[[Trace], Callable[[Columns], Sequence[str | None]]]
    """Returns the value of each row: the first if it has several, None if it has none."""
    unknown: str
    """The name of the group of rows without a value."""
    missing: Callable[[Trace], str]
    """Returns the message if no row of a trace can have a value; empty otherwise."""


def grouping(by: str) -> Grouping | None:
    """The grouping with that name; None if the trace itself has it."""
    if by == "callsite":
        return CALL_SITES
    _, dot, key = by.partition(".")  # tag.KEY
    return None if not dot else Grouping(by, lambda trace: _first_tags(trace, key), f"(no {by})", lambda trace: "")


def _first_tags(trace: Trace, key: str) -> Callable[[Columns], Sequence[str | None]]:
    from pgtrace.ask.filter.facts import FirstTag  # other tables do not need it

    return FirstTag(trace, key)


def _call_sites(trace: Trace) -> Callable[[Columns], Sequence[str | None]]:
    at = trace.call_sites.at
    return lambda rows: [sites[0].words if (sites := at(place)) else None for place in rows.places]


CALL_SITES: Final = Grouping(
    "callsite",
    _call_sites,
    "(no line known)",
    lambda trace: "no call sites: record with `pgtrace run --call-sites -- python ...`" if trace.call_sites.is_empty else "",
)


def sums(selection: Selection, grouping: Grouping) -> list[tuple[str | None, Counters]]:
    """Counters of the selected round trips by value, most round trips first."""
    trace = selection.trace
    by_value: dict[str | None, RowSums] = {}
    of = grouping.of(trace)
    for start in range(0, len(trace.rows), _SLICE):
        rows = selection.counted(trace.rows.columns(start, start + _SLICE))
        places: dict[str | None, list[int]] = {}
        for place, value in zip(rows.places, of(rows), strict=True):
            places.setdefault(value, []).append(place)
        for value, mine in places.items():
            if value not in by_value:
                by_value[value] = RowSums(trace)
            by_value[value].add(trace.rows.at(mine))
    found = []
    for value, one in by_value.items():
        counters = Counters()
        for part in one.by_connection().values():
            counters.add(part)
        found.append((value, counters))
    return sorted(found, key=lambda item: (-item[1].round_trips, item[0] is None, item[0] or ""))


def as_text(selection: Selection, grouping: Grouping) -> Iterator[Shown]:
    """Lines of a table."""
    yield heading(selection.trace, "", selection.trace.duration_ns / 1e9, selection.text or None)
    yield EMPTY
    missing = grouping.missing(selection.trace)
    if missing:
        yield sanitise.line(missing)
        return
    rows = sums(selection, grouping)
    yield from table([grouping.name, *HEAD], [[grouping.unknown if value is None else value, *cells(one)] for value, one in rows])


def as_dict(selection: Selection, grouping: Grouping) -> dict[str, Any]:
    """The object of `stats --by callsite --json` and `stats --by tag.KEY --json`."""
    rows = sums(selection, grouping)
    if grouping is CALL_SITES:
        unknown = grouping.unknown
        return {"schema": SCHEMA, "callsites": [{"callsite": unknown if value is None else value, **one.as_dict()} for value, one in rows]}
    return {"schema": SCHEMA, "tags": [{"tag": grouping.name.partition(".")[2], "value": value, **one.as_dict()} for value, one in rows]}
