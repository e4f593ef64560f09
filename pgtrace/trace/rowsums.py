"""Counters of some rows, as sums over the index: each row has the number of its Counts
(session/effects.py).

    sums = RowSums(trace)
    sums.add(trace.rows.at(places))
    sums.by_connection()

This reads one index entry for each row, and no bytes of the capture again. The sums lack what
belongs to no row: `client_ns`, the time between round trips, and `statements_live`, which is not a
sum.

`is_exact` is False if a row's counts were not kept, because there are too many different ones: only
a second reading has them (filter/counting.py).
"""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING

from pgtrace.session.effects import UNKNOWN, Tally
from pgtrace.trace.counters import Counters

if TYPE_CHECKING:
    from pgtrace.trace.row import RowEntry
    from pgtrace.trace.rows import Columns
    from pgtrace.trace.trace import Trace


class _Sum:
    """The sums of one connection: how many rows of each effect, with how many DataRows; the bytes
    of each side and the waiting time."""

    __slots__ = ("effects", "received_bytes", "sent_bytes", "tally", "wait_ns")

    def __init__(self) -> None:
        self.effects: dict[int, list[int]] = {}
        self.sent_bytes = self.received_bytes = self.wait_ns = 0
        self.tally: Tally | None = None
        """The counts of a row that is still open."""

    @property
    def has_rows(self) -> bool:
        """Whether some of its rows have not been subtracted again."""
        return self.tally is not None or any(times for times, _ in self.effects.values())

    def merge(self, other: _Sum) -> None:
        """Add the sums of another one. Its rows must be complete."""
        for effect, (times, rows) in other.effects.items():
            use = self.effects.setdefault(effect, [0, 0])
            use[0] += times
            use[1] += rows
        self.sent_bytes += other.sent_bytes
        self.received_bytes += other.received_bytes
        self.wait_ns += other.wait_ns


class RowSums:
    """Rows of one trace, summed by connection."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._sums: dict[int, _Sum] = {}
        self.is_exact = True

    def add(self, rows: Columns, sign: int = 1) -> None:
        """Add these rows. With a sign of -1, subtract them again."""
        sums = self._sums
        for place, connection, sent_bytes, received_bytes, wait_ns, effect, times, count in zip(
            rows.places,
            rows.connections,
            rows.sent_bytes,
            rows.received_bytes,
            rows.wait_ns,
            rows.effects,
            rows.times,
            rows.rows,
            strict=True,
        ):
            found = sums.get(connection)
            if found is None:
                found = sums[connection] = _Sum()
            found.sent_bytes += sign * sent_bytes
            found.received_bytes += sign * received_bytes
            found.wait_ns += sign * wait_ns
            use = found.effects.get(effect)
            if use is not None:
                use[0] += sign * times
                use[1] += sign * count
            elif effect == UNKNOWN:
                self._add_open(found, self._trace.rows.entry(place), place)
            else:
                found.effects[effect] = [sign * times, sign * count]

    def merge(self, other: RowSums, apart: Set[int]) -> None:
        """Add the rows of other sums, without those of the connections in `apart`."""
        for connection, theirs in other._sums.items():
            if connection not in apart:
                self._sums.setdefault(connection, _Sum()).merge(theirs)
        self.is_exact &= other.is_exact

    def by_connection(self) -> dict[int, Counters]:
        """The counters by the index of the connection, in the order in which the connections were
        added."""
        return {index: self._counters(found) for index, found in self._sums.items() if found.has_rows}

    def totals(self) -> Counters:
        """The counters of all rows together."""
        totals = Counters()
        for counters in self.by_connection().values():
            totals.add(counters)
        return totals

    def _add_open(self, found: _Sum, entry: RowEntry, place: int) -> None:
        counted = self._trace.connections[entry.connection].counted_at(place) if entry.is_open else None
        if counted is None:
            self.is_exact = False
        else:
            found.tally = counted[0]
            found.wait_ns += counted[1]

    def _counters(self, found: _Sum) -> Counters:
        tally = Tally()
        for number, (times, rows) in found.effects.items():
            counts = self._trace.reads.effects[number]
            if counts is not None and times:
                counts.add_to(tally, times, rows)
        if found.tally is not None:
            tally.add(found.tally, 1)
        return Counters.of_session(tally, [found.sent_bytes, found.received_bytes], 0, (found.wait_ns, 0))
