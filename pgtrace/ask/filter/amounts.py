"""The share of a counter that each row has.

A row's counts are in its Effect (session/effects.py); its label has the share of each of its
statements.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from pgtrace.session.effects import UNKNOWN, Counts, Tally
from pgtrace.trace.counters import Counters
from pgtrace.trace.row import RowEntry, RowKind, Share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgtrace.trace.rows import Columns
    from pgtrace.trace.trace import Trace

_KEPT: Final = {"frontend_bytes": "sent_bytes", "backend_bytes": "received_bytes", "wait_ns": "wait_ns"}
"""Counter -> the column of the index that holds it."""
_OF_ENTRY: Final = (*_KEPT, "client_ns")
"""Counters that do not need the row's counts."""
_COUNTED_KEPT: Final = 1024
"""The most counts whose counters are cached; each takes about 2 KB."""


class Amounts:
    """Each row's exact share of a counter: the whole share, or only that of some groups of
    statements.
    """

    def __init__(self, trace: Trace, counter: str, groups: set[int] | None = None) -> None:
        self._trace = trace
        self._groups = groups
        self._counter = "parses_named" if counter in ("statements_live", "live") else counter
        self._table, _, self._message = self._counter.partition(".")
        self._known: dict[int, tuple[int, int]] = {}

    def lacks(self, entry: RowEntry) -> bool:
        """Whether the row's counts were not kept (session/effects.py)."""
        return entry.effect == UNKNOWN and not entry.is_open and self._counter not in _OF_ENTRY

    def __call__(self, place: int, entry: RowEntry) -> int:
        """The share of the row at that place; 0 if its counts were not kept."""
        if self._groups is not None:
            return self._of_statements(entry, self._groups)
        match self._counter:
            case "frontend_bytes":
                return entry.sent_bytes
            case "backend_bytes":
                return entry.received_bytes
            case "client_ns":
                return 0
        if entry.is_open:
            return self._of_open(place, entry)
        if self._counter == "wait_ns":
            return entry.wait_ns
        found = self._known.get(entry.effect)
        if found is None:
            found = self._known[entry.effect] = self._amounts_of(entry.effect)
        times, rows = found
        return times if self._counter == "max_pipeline_depth" else entry.times * times + entry.rows * rows

    def column(self, rows: Columns) -> Sequence[int | None]:
        """The share of each of these rows; None if its counts were not kept."""
        if not rows.any_open and (kept := _KEPT.get(self._counter)) is not None:
            found: Sequence[int] = getattr(rows, kept)
            return found
        if self._counter in _OF_ENTRY or rows.any_open:
            entries = ((place, rows.index.entry(place)) for place in rows.places)
            return [None if self.lacks(entry) else self(place, entry) for place, entry in entries]
        known, look = self._known, self._amounts_of
        for effect in set(rows.effects).difference(known):
            known[effect] = look(effect)
        return [
            None if effect == UNKNOWN else times * known[effect][0] + number * known[effect][1]
            for effect, times, number in zip(rows.effects, rows.times, rows.rows, strict=True)
        ]

    def _of_open(self, place: int, entry: RowEntry) -> int:
        """The share of a row that is still open, up to now."""
        counted = self._trace.connections[entry.connection].counted_at(place)
        if counted is None:
            return 0
        tally, waited_ns = counted
        return waited_ns if self._counter == "wait_ns" else self._number(_counters(tally))

    def _of_statements(self, entry: RowEntry, groups: set[int]) -> int:
        """The row's share that belongs to the statements of these groups."""
        rows = self._trace.rows
        label = rows.label_at(entry.label)
        mine = groups.intersection(label.groups)
        is_round_trip = rows.shape_at(entry.shape).kind <= RowKind.SETUP
        match self._counter:
            case "round_trips":
                return len(mine) * is_round_trip
            case "round_trips_alone":
                return int(bool(mine) and len(label.groups) == 1 and is_round_trip)
        return sum(_of_share(share, self._counter, entry.rows) for group, share in label.shares_by_group if group in groups)

    def _amounts_of(self, number: int) -> tuple[int, int]:
        """What an effect counts by itself, and what it counts for each DataRow."""
        counts = self._trace.reads.effects[number]
        if counts is None:
            return 0, 0
        each, of_a_row = _counted(counts)
        return self._number(each), self._number(of_a_row)

    def _number(self, counters: Counters) -> int:
        """The value of the counter."""
        table: dict[str, int] | int = getattr(counters, self._table)
        return table.get(self._message, 0) if isinstance(table, dict) else table


@lru_cache(maxsize=_COUNTED_KEPT)
def _counted(counts: Counts) -> tuple[Counters, Counters]:
    """What these counts add to the counters, and what each DataRow adds. Cached, because callers
    ask for one counter after another.
    """
    each, of_a_row = Tally(), Tally()
    counts.add_to(each, 1, 0)
    counts.add_to(of_a_row, 0, 1)
    return _counters(each), _counters(of_a_row)


def _counters(tally: Tally) -> Counters:
    """The counters of a tally alone."""
    return Counters.of_session(tally, [0, 0], 0, (0, 0))


def _of_share(share: Share, counter: str, rows: int) -> int:
    """A statement's counter, from its share in a row with that many DataRows."""
    if counter == "parses_named":
        counter = "parses"
    number: int = getattr(share, counter)
    return number * rows if share.each and counter in ("rows", "values_text", "values_binary") else number
