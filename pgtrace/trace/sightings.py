"""Where each statement was seen: its flights, its connections, its first and last round trip.

Complete round trips are counted, set-up included, like the statements' own counters. The number of
(connection, statement) pairs is bounded, and so are the flights of each; `complete` says whether
nothing was left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from pgtrace.trace.feed import CompleteRows
from pgtrace.trace.rows import Columns

PAIRS_KEPT: Final = 100_000
FLIGHTS_KEPT: Final = 16


@dataclass(slots=True)
class Sighting:
    """One statement on one or several connections."""

    first_ns: int
    last_ns: int = 0
    flights: Counter[str] = field(default_factory=Counter)
    connections: list[int] = field(default_factory=list)
    """Indexes into Trace.connections."""


class Sightings(CompleteRows):
    """The sightings of all statements, within the bounds."""

    def __init__(self) -> None:
        self._seen: dict[int, dict[int, Sighting]] = {}  # group -> connection
        self._pairs = 0
        self.complete = True
        """Whether everything was kept."""

    def completed(self, rows: Columns) -> None:
        rows = rows.round_trips
        latest = dict(zip(rows.keys, rows.opened_ns, strict=True))
        for key, number in rows.alike.items():
            connection, shape, label = key
            groups = rows.index.label_at(label).groups
            if not groups:
                continue
            sent = rows.index.shape_at(shape).sent_flight
            for group in groups:
                seen = self._sighting(group, connection, rows, key)
                if seen is None:
                    continue
                seen.last_ns = max(seen.last_ns, latest[key])
                if sent in seen.flights or len(seen.flights) < FLIGHTS_KEPT:
                    seen.flights[sent] += number

    def _sighting(self, group: int, connection: int, rows: Columns, key: tuple[int, int, int]) -> Sighting | None:
        """The sighting of a statement on a connection. If it is new, it begins with the first of
        these rows that has this key; None if there is no room for another one."""
        by_connection = self._seen.setdefault(group, {})
        seen = by_connection.get(connection)
        if seen is not None:
            return seen
        if self._pairs >= PAIRS_KEPT:
            self.complete = False
            if not by_connection:
                del self._seen[group]
            return None
        self._pairs += 1
        seen = by_connection[connection] = Sighting(rows.opened_ns[rows.keys.index(key)])
        return seen

    def of(self, group: int, concerns: Callable[[int], bool]) -> Sighting | None:
        """A statement on the connections that `concerns` selects; None if it was not seen there."""
        found: Sighting | None = None
        for connection, seen in self._seen.get(group, {}).items():
            if not concerns(connection):
                continue
            found = found or Sighting(seen.first_ns)
            found.first_ns, found.last_ns = min(found.first_ns, seen.first_ns), max(found.last_ns, seen.last_ns)
            found.flights.update(seen.flights)
            found.connections.append(connection)
        return found
