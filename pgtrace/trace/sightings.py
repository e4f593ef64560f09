"""Where each statement was seen, and in which company of messages: its flights, its connections, its first and last round trip.

Rows are taken once each, when they are complete. Counted are round trips after and during set-up, as the statements' own counters count them. The number
of (connection, statement) pairs that are kept is bounded, and so are the flights of each: what comes beyond is not told, and `complete` says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from pgtrace.trace.rows import Row

PAIRS_KEPT: Final = 100_000
FLIGHTS_KEPT: Final = 16


@dataclass(slots=True)
class Sighting:
    """One statement on one connection, or on several."""

    first_ns: int
    last_ns: int = 0
    flights: Counter[str] = field(default_factory=Counter)
    connections: list[int] = field(default_factory=list)
    """Indexes into Trace.connections."""


class Sightings:
    """All of them, as far as they are kept."""

    def __init__(self) -> None:
        self._seen: dict[int, dict[int, Sighting]] = {}  # group -> connection
        self._pairs = 0
        self.complete = True
        """Whether everything was kept."""

    def take(self, row: Row) -> None:
        """A row that is complete."""
        if not row.is_round_trip:
            return
        for group in row.label.groups:
            by_connection = self._seen.setdefault(group, {})
            seen = by_connection.get(row.connection)
            if seen is None:
                if self._pairs >= PAIRS_KEPT:
                    self.complete = False
                    if not by_connection:
                        del self._seen[group]
                    continue
                self._pairs += 1
                seen = by_connection[row.connection] = Sighting(row.opened_ns)
            seen.last_ns = row.opened_ns
            sent = row.shape.flight.partition(" → ")[0]
            if sent in seen.flights or len(seen.flights) < FLIGHTS_KEPT:
                seen.flights[sent] += 1

    def of(self, group: int, concerns: Callable[[int], bool]) -> Sighting | None:
        """A statement on those connections that are concerned; None where it was not seen there."""
        found: Sighting | None = None
        for connection, seen in self._seen.get(group, {}).items():
            if not concerns(connection):
                continue
            found = found or Sighting(seen.first_ns)
            found.first_ns, found.last_ns = min(found.first_ns, seen.first_ns), max(found.last_ns, seen.last_ns)
            found.flights.update(seen.flights)
            found.connections.append(connection)
        return found
