"""Transactions: the round trips from the beginning of a block to its end as one, with the idle time
between them.

Each row is taken once, when it is complete, in the order of each connection. The session decides
what a block is: the tags BEGIN and START TRANSACTION begin one, COMMIT, ROLLBACK and PREPARE
TRANSACTION end it, and ReadyForQuery shows a block whose beginning or end was not seen. SQL text is
not used. A block that begins and ends in one round trip is a transaction of that round trip.

The duration of a transaction runs from the opening of its first round trip to the end of its last;
for an open one, to now. Idle time is the part of it between round trips: the server waits for the
application, and holds its locks.

Of ended transactions, the KEPT longest are kept. Idle time is part of the duration, so no dropped
transaction was idle for longer than the duration of the shortest one kept. Each keeps its flights
and spans up to a bound; beyond it flights are not listed, and neighbouring spans are drawn as one.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pgtrace.trace.connection import Connection
from pgtrace.trace.feed import CompleteRows
from pgtrace.trace.row import FLIGHT_KEPT, NO_FLIGHT, RowKind, Shape
from pgtrace.trace.rows import Columns

KEPT: Final = 10_000
"""The most ended transactions that are kept: the longest."""
FLIGHTS_KEPT: Final = 24
SPANS_KEPT: Final = 96
STATEMENTS_KEPT: Final = 64
"""The most statements of an open transaction whose cost is kept. An ended one keeps only its
costliest."""

OPEN: Final = ""
LOST: Final = "lost"
"""The connection ended before the transaction did."""
UNSEEN: Final = "not seen"
"""The next round trip was outside the block: its end is in a gap."""


class BlockStep(NamedTuple):
    """What a complete round trip means for the block of its connection."""

    lost: bool = False
    """Whether the previous block had ended before it, unseen."""
    belongs: bool = False
    begins: bool = False
    """Whether it is the first of its block."""
    end: str = OPEN
    """How the block ended in it: the command tag, or UNSEEN."""
    again: bool = False
    """Whether the next block began after that end."""


@dataclass(slots=True)
class BlockState:
    """The state of one connection: whether a block is open, and whether the latest ReadyForQuery
    confirmed it."""

    open: bool = False
    inside: bool = False

    def continues(self, shape: Shape) -> bool:
        """Whether a round trip, complete or not, belongs to the current block."""
        return self.open and not (self.inside and shape.status_before == "I")

    def take(self, shape: Shape) -> BlockStep:
        """Take the next complete round trip of the connection."""
        lost = self.open and not self.continues(shape)
        if lost:
            self.open = self.inside = False
        has_status = _has_status(shape)
        in_block = has_status and shape.status in _INSIDE
        begins = not self.open
        if begins and not touches_block(shape):
            return BlockStep(lost)
        self.open = True
        if shape.block_end:
            self.open = self.inside = again = shape.block_began and in_block
            return BlockStep(lost, True, begins, shape.block_end, again)
        if has_status:
            self.open = self.inside = in_block
        return BlockStep(lost, True, begins, OPEN if self.open else UNSEEN)


@dataclass(slots=True, eq=False)
class Transaction:
    """One transaction block. Times are ns since the capture's start."""

    connection: int
    """Index into Trace.connections."""
    first: int
    """The place of its first row."""
    opened_ns: int
    began_seen: bool
    """Whether its beginning is in the capture."""
    last: int = 0
    last_ns: int = 0
    """When its latest round trip ended."""
    end: str = OPEN
    """The command tag that ended it, LOST, UNSEEN, or OPEN."""
    failed: bool = False
    """Whether the block failed."""
    round_trips: int = 0
    executions: int = 0
    errors: int = 0
    served_ns: int = 0
    """The sum of the durations of its round trips."""
    flights: list[tuple[str, int]] = field(default_factory=list)
    """The flights sent, each with the number of consecutive repetitions."""
    more_flights: bool = False
    spans: array[int] = field(default_factory=lambda: array("Q"))
    """The beginning and end of each round trip, one after the other."""
    under_way_ns: int | None = None
    """When its open round trip began."""
    block_state: BlockState = field(default_factory=BlockState)
    costs: dict[str, tuple[int, int]] = field(default_factory=dict)
    """How long statements took, and how often each ran, without those that begin or end the
    block."""

    @property
    def costliest(self) -> tuple[str, int, int]:
        """The statement that took the longest in total, for how many ns, and in how many round
        trips."""
        sql, (took_ns, times) = max(self.costs.items(), key=lambda one: one[1], default=("", (0, 0)))
        return sql, took_ns, times

    @property
    def is_open(self) -> bool:
        return self.end == OPEN

    def duration_ns(self, now_ns: int) -> int:
        return max(0, (now_ns if self.is_open else self.last_ns) - self.opened_ns)

    def idle_ns(self, now_ns: int) -> int:
        """The time between its round trips; for an open transaction, up to now."""
        running = max(0, now_ns - self.under_way_ns) if self.under_way_ns is not None else 0
        return max(0, self.duration_ns(now_ns) - self.served_ns - running)

    def take(self, place: int, shape: Shape, opened_ns: int, duration_ns: int, sql: str) -> None:
        """Add a round trip."""
        end_ns = opened_ns + duration_ns
        self.last, self.last_ns = place, end_ns
        self.round_trips += 1
        self.executions += shape.executions
        self.errors += shape.errors
        self.failed |= shape.status == "E"
        self.served_ns += duration_ns
        sent = shape.sent_flight
        if self.flights and self.flights[-1][0] == sent and not self.more_flights:
            self.flights[-1] = (sent, self.flights[-1][1] + 1)
        elif len(self.flights) < FLIGHTS_KEPT:
            self.flights.append((sent, 1))
        else:
            self.more_flights = True
        if sql and (not (shape.block_began or shape.block_end) or shape.statements > 1):
            took_ns, times = self.costs.get(sql, (0, 0))
            if times or len(self.costs) < STATEMENTS_KEPT:
                self.costs[sql] = took_ns + duration_ns, times + 1
        if len(self.spans) >= 2 * SPANS_KEPT:
            self.spans = array("Q", [time for pair in range(0, len(self.spans), 4) for time in (self.spans[pair], self.spans[pair + 3])])
        self.spans.extend((opened_ns, end_ns))


class Transactions(CompleteRows):
    """All transactions in the rows taken so far."""

    def __init__(self, connections: Sequence[Connection]) -> None:
        """`connections` is the trace's own list, which grows."""
        self._connections = connections
        self._open: dict[int, Transaction] = {}
        self._ended: list[Transaction] = []
        self.begun = 0
        """The number of all transactions, kept or not."""

    def __iter__(self) -> Iterator[Transaction]:
        yield from self._open.values()
        yield from self._ended

    @property
    def dropped(self) -> int:
        """The number of transactions that are not kept."""
        return self.begun - len(self._open) - len(self._ended)

    def completed(self, rows: Columns) -> None:
        shape_at, shapes = rows.index.shape_at, rows.shapes
        of_blocks = {number for number in set(shapes) if shape_at(number).kind is RowKind.ROUND_TRIP and touches_block(shape_at(number))}
        if not of_blocks and self._open.keys().isdisjoint(rows.connections):
            return
        for place, connection, number, opened_ns, ms, label in zip(
            rows.places, rows.connections, shapes, rows.opened_ns, rows.durations_ms, rows.labels, strict=True
        ):
            if number in of_blocks or connection in self._open:
                shape = shape_at(number)
                if shape.kind is RowKind.ROUND_TRIP:
                    self._take(place, connection, shape, opened_ns, round(ms * 1e6), rows.index.label_at(label).sql)

    def _take(self, place: int, connection: int, shape: Shape, opened_ns: int, duration_ns: int, sql: str) -> None:
        """Take a round trip after set-up."""
        current = self._open.get(connection)
        block_state = current.block_state if current is not None else BlockState()
        step = block_state.take(shape)
        if current is not None and step.lost:
            self._end(current, UNSEEN)
        if not step.belongs:
            return
        if current is None or step.begins:
            seen = shape.block_began or shape.status_before == "I"
            current = self._begin(Transaction(connection, place, opened_ns, seen, block_state=block_state))
        current.take(place, shape, opened_ns, duration_ns, sql)
        if step.end != OPEN:
            self._end(current, step.end)
        if step.again:
            self._begin(Transaction(connection, place, opened_ns, True, block_state=block_state)).take(
                place, shape, opened_ns, duration_ns, sql
            )

    def set_under_way(self, under_way: Mapping[int, int]) -> None:
        """Set which connections have an open round trip, and since when. A block that is open on an
        ended connection is lost."""
        for current in list(self._open.values()):
            connection = self._connections[current.connection]
            current.under_way_ns = under_way.get(current.connection)
            if connection.closed_ns is not None and connection.ended_ns is not None and current.under_way_ns is None:
                current.last_ns = max(connection.ended_ns, current.last_ns)
                self._end(current, LOST)

    def _begin(self, begun: Transaction) -> Transaction:
        self._open[begun.connection] = begun
        self.begun += 1
        return begun

    def _end(self, ended: Transaction, how: str) -> None:
        ended.end = how
        ended.under_way_ns = None
        sql, took_ns, times = ended.costliest
        ended.costs = {sql: (took_ns, times)} if sql else {}
        del self._open[ended.connection]
        self._ended.append(ended)
        if len(self._ended) >= 2 * KEPT:
            self._ended.sort(key=lambda one: one.duration_ns(0), reverse=True)
            del self._ended[KEPT:]


_INSIDE: Final = ("T", "E")


def touches_block(shape: Shape) -> bool:
    """Whether a round trip with this shape changes anything while no block is open."""
    return shape.block_began or bool(shape.block_end) or (_has_status(shape) and shape.status in _INSIDE)


def _has_status(shape: Shape) -> bool:
    """Whether its status is new: it ends in a ReadyForQuery, as far as its messages are kept."""
    return shape.received[-1:] == b"Z" or len(shape.received) >= FLIGHT_KEPT or shape.flight == NO_FLIGHT
