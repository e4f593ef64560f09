"""The round trips behind a number, grouped by how they look, largest group first.

    ×12  BES → 2DCZ   SELECT name FROM items WHERE order_id = $1

Evidence is needed only if a number is too large, so the rows of the timeline are read again for it,
and nothing is kept in advance. Each row refers to its counts (session/effects.py), and its label
has the share of each group of statements, so the amounts add up to the counter. Rows that are not
round trips (a notification, a notice) are included.

Anything that is in no row forms a separate line, the rest, with the reason:

- `client_ns` is the time between round trips.
- A mark may begin or end while a round trip is under way. The round trip belongs to the mark in
  which it began, with its share of round_trips, pipelined_executions and the depth. Everything else
  belongs to the mark that was open when it passed.
- Bytes of an incomplete message are in no row yet, and the counts of a row may be too many to keep.

`max_pipeline_depth` is not a sum: each row has its own depth, and the largest is the counter. Live
statements are not a sum either: the rows that prepare are listed instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pgtrace import sqltext
from pgtrace.ask.filter.amounts import Amounts
from pgtrace.ask.filter.counting import CountedTrace
from pgtrace.trace.marks import BY_OPENING, Interval
from pgtrace.trace.row import RowEntry
from pgtrace.trace.trace import Trace

GROUPS_KEPT: Final = 8
"""The most groups that are listed; the others are summed up."""
BETWEEN: Final = "between round trips"
CUT: Final = "in part: under way when the mark began or ended"
NO_ROW: Final = "in no complete row"
NO_SUMS: Final = frozenset({"max_pipeline_depth", "statements_live", "live"})
"""Counters that are not sums over rows."""


@dataclass(slots=True)
class EvidenceGroup:
    """Rows that look the same and have the same statement, and their share of the counter."""

    flight: str
    """The flight; empty for the sum of the other groups, and for the rest."""
    sql: str
    """The normalised SQL of the statement."""
    sqlstate: str
    first_row: int
    """The number of the first row in the timeline, from 1; 0 for the rest."""
    times: int = 0
    amount: int = 0
    why: str = ""
    """For the rest: the reason why it is in no row."""


class CounterEvidence:
    """Finds the evidence for the counters of a trace; under a filter, only in the selected round
    trips.
    """

    def __init__(self, trace: Trace) -> None:
        self._selects: Callable[[int], bool] | None = None
        if isinstance(trace, CountedTrace):
            selection = trace.selection
            trace, self._selects = selection.trace, selection.selects
        self._trace = trace
        self._groups: dict[str, set[int]] | None = None

    def of(self, counter: str, value: int, about: str = "capture", name: str = "") -> tuple[EvidenceGroup, ...]:
        """The evidence for a counter with that `value`, of the capture or of one driver, mark or
        statement: at most GROUPS_KEPT groups, largest first, then the sum of the others, then the
        rest.
        """
        trace = self._trace
        amounts = Amounts(trace, counter, self._groups_of(name) if about == "statement" else None)
        found: dict[tuple[int, int], EvidenceGroup] = {}
        for place in self._places(counter, about, name):
            entry = trace.rows.entry(place)
            amount = amounts(place, entry)
            # the filter costs most, so it comes last
            if not amount or (self._selects is not None and not self._selects(place)):
                continue
            group = found.get((entry.shape, entry.label))
            if group is None:
                group = found[entry.shape, entry.label] = self._new_group(place, entry)
            group.times += 1
            group.amount += amount
        groups = _together(found.values())
        rest = value - sum(group.amount for group in groups)
        if rest and counter not in NO_SUMS:
            why = BETWEEN if counter == "client_ns" else CUT if about == "mark" else NO_ROW
            groups.append(EvidenceGroup("", "", "", 0, 0, rest, why))
        return tuple(groups)

    def _new_group(self, place: int, entry: RowEntry) -> EvidenceGroup:
        """The group to which a row belongs, with a share of 0."""
        rows = self._trace.rows
        shape, label = rows.shape_at(entry.shape), rows.label_at(entry.label)
        sql = sqltext.normalise(label.sql) if shape.statements else label.sql
        return EvidenceGroup(shape.flight, sql, label.sqlstate[:5], place + 1)

    def _places(self, counter: str, about: str, name: str) -> Iterator[int]:
        """The places of the rows that belong to the subject of a budget."""
        trace = self._trace
        if about == "mark":
            yield from places_in(trace, trace.marks.intervals(name), whole=counter not in BY_OPENING)
            return
        of_driver = [connection.driver == name for connection in trace.connections] if about == "driver" else None
        for place in range(len(trace.rows)):
            if of_driver is None or of_driver[trace.rows.entry(place).connection]:
                yield place

    def _groups_of(self, sql: str) -> set[int]:
        """The numbers of a statement's groups; its SQL may have any layout."""
        if self._groups is None:
            self._groups = {}
            for view in self._trace.statements():
                fingerprint = view.group.fingerprint or sqltext.fingerprint(view.group.sql)
                self._groups.setdefault(fingerprint, set()).add(view.group.number)
        return self._groups.get(sqltext.fingerprint(sql), set())


def places_in(trace: Trace, marks: Iterable[Interval], *, whole: bool = False) -> Iterator[int]:
    """The places of the rows that began in these marks, mark by mark; with `whole`, only rows that
    also ended in the mark.
    """
    rows, several = trace.rows, len(trace.files) > 1
    for mark in marks:
        stop = len(rows) if mark.ends_at is None else mark.ends_at
        places = range(mark.begins_at + 1, stop)
        if (mark.ends_at is None and not several) or not (whole or several):
            yield from places
            continue
        end_ns = rows.entry(mark.ends_at).opened_ns if whole and mark.ends_at is not None else None
        for place in places:
            entry = rows.entry(place)
            if several and trace.connections[entry.connection].file != mark.key[0]:
                continue
            if end_ns is None or (not entry.is_open and entry.opened_ns + round(entry.duration_ms * 1e6) <= end_ns):
                yield place


def cut(trace: Trace, marks: Sequence[Interval], counter: str, value: int) -> int:
    """The part of a counter with that `value` in these marks that belongs to round trips under way
    when a mark began or ended.
    """
    if counter in NO_SUMS or counter in BY_OPENING or counter == "client_ns":
        return 0
    amounts = Amounts(trace, counter)
    return value - sum(amounts(place, trace.rows.entry(place)) for place in places_in(trace, marks, whole=True))


def _together(groups: Iterable[EvidenceGroup]) -> list[EvidenceGroup]:
    """Merge groups that look the same, sort them with the largest first, and sum up those beyond
    GROUPS_KEPT.
    """
    alike: dict[tuple[str, str, str], EvidenceGroup] = {}
    for group in groups:
        key = group.flight, group.sql, group.sqlstate
        mine = alike.setdefault(key, EvidenceGroup(*key, group.first_row))
        mine.times += group.times
        mine.amount += group.amount
    ordered = sorted(alike.values(), key=lambda group: (-group.amount, group.first_row))
    kept, others = ordered[:GROUPS_KEPT], ordered[GROUPS_KEPT:]
    if others:
        first = min(group.first_row for group in others)
        kept.append(EvidenceGroup("", "", "", first, sum(group.times for group in others), sum(group.amount for group in others)))
    return kept
