"""The numbers of one line: a row's own numbers, or the sums of a fold.

A fold is added up when it is drawn, MOST rows at a time, and continues from there: a transaction of
a million rows does not stop the screen. Until it is complete its numbers are lower bounds. Its
flights are kept in order, repeats as one, up to a bound.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Final

from pgtrace.sqltext.tables import tables
from pgtrace.trace.row import Row, Shape
from pgtrace.tui.model.groups import Together

MOST: Final = 2000
"""How many rows are added up at a time."""
MEMBERS_KEPT: Final = 64
"""The most rows of a fold that are kept singly."""
FLIGHTS_KEPT: Final = 24
STATEMENTS_KEPT: Final = 64
"""The most statements of a fold whose cost is kept."""
TABLES_OF: Final = 8
"""The most statements whose tables are named."""
SPANS_KEPT: Final = 64


@dataclass(slots=True)
class Sum:
    """The sum of one row, or of several on one connection."""

    kind: Together = Together.NOTHING
    upto: int = -1
    """The last complete row in it."""
    number: int = 0
    places: list[int] = field(default_factory=list)
    """The places of the first rows."""
    members: list[Row] = field(default_factory=list)
    rows: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    served_ns: int = 0
    end_ns: int | None = 0
    """When the last row ended, since the start of the capture; None while a row is open."""
    errors: int = 0
    failed: Row | None = None
    """The first row with an error."""
    prepares: bool = False
    reuses: bool = False
    formats: str = ""
    uncertain: bool = False
    """Whether its numbers are lower bounds."""
    flights: list[tuple[str, int, Shape]] = field(default_factory=list)
    """The sent messages, how many times in a row, and the first such row's shape."""
    more_flights: bool = False
    costs: dict[str, tuple[int, int]] = field(default_factory=dict)
    """How often each statement ran and how long it took, without what begins or ends the
    transaction."""
    ended: str = ""
    """The command tag that ended the transaction."""
    spans: list[tuple[int, int | None]] = field(default_factory=list)
    """When its round trips began and ended; beyond a bound, neighbours are joined."""
    partial: bool = False
    """Whether some rows have not been added up."""

    def copied(self) -> Sum:
        """A copy, to be added to for a moment."""
        one = copy.copy(self)
        one.places, one.members, one.flights, one.spans = self.places[:], self.members[:], self.flights[:], self.spans[:]
        one.costs = dict(self.costs)
        return one

    def take(self, place: int, row: Row) -> None:
        """Add a row."""
        shape = row.shape
        end_ns = None if row.duration_ns is None else row.opened_ns + row.duration_ns
        self.upto = place
        self.number += 1
        if len(self.places) < MEMBERS_KEPT:
            self.places.append(place)
            self.members.append(row)
        self.rows += row.rows
        self.sent_bytes += row.sent_bytes
        self.received_bytes += row.received_bytes
        self.served_ns += row.duration_ns or 0
        self.end_ns = end_ns
        self.errors += shape.errors
        if row.label.error and self.failed is None:
            self.failed = row
        self.prepares |= shape.prepares
        self.reuses |= shape.reuses
        self.formats = "".join(sorted({*self.formats, *shape.formats})) if shape.formats not in self.formats else self.formats
        self.uncertain |= shape.uncertain
        if self.kind is Together.NOTHING:
            self.spans.append((row.opened_ns, end_ns))
            return
        sent = shape.sent_flight or shape.flight
        if self.flights and self.flights[-1][0] == sent and not self.more_flights:
            self.flights[-1] = (sent, self.flights[-1][1] + 1, self.flights[-1][2])
        elif len(self.flights) < FLIGHTS_KEPT:
            self.flights.append((sent, 1, shape))
        else:
            self.more_flights = True
        if len(self.spans) >= SPANS_KEPT:
            self.spans = [(left[0], right[1]) for left, right in zip(self.spans[::2], self.spans[1::2], strict=True)]
        self.spans.append((row.opened_ns, end_ns))
        if self.kind is Together.TRANSACTION:
            self.ended = shape.block_end
            if not (shape.block_began or shape.block_end) or shape.statements > 1:
                times, took_ns = self.costs.get(row.label.sql, (0, 0))
                if row.label.sql and (times or len(self.costs) < STATEMENTS_KEPT):
                    self.costs[row.label.sql] = times + 1, took_ns + (row.duration_ns or 0)

    @property
    def costliest(self) -> tuple[str, int]:
        """The statement that took longest in total, and how often it ran."""
        sql, (times, _) = max(self.costs.items(), key=lambda one: one[1][1], default=("", (0, 0)))
        return sql, times

    @property
    def tables(self) -> list[str]:
        """The tables of its statements, those of the costliest first."""
        by_cost = sorted(self.costs.items(), key=lambda one: -one[1][1])
        return list(dict.fromkeys(name for sql, _ in by_cost[:TABLES_OF] for name in tables(sql)))
