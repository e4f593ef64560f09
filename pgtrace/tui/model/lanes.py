"""The lanes of a trace: the drivers' side of a pooler and, indented, the server's side.

    lanes.lane(connection)      # 0 in front, 1 behind
    lanes.across(place)         # the rows on the other side that are the same

Two captures that are not the sides of a pooler are lanes, too. The search for joins takes a few
milliseconds per tick, once everything that existed at the start has been read, and continues as the
captures grow.
"""

from __future__ import annotations

from typing import Final

from pgtrace.legs.joins import Finding, Joins, State
from pgtrace.report.joins import across
from pgtrace.trace.row import Row, RowKind
from pgtrace.trace.trace import Trace

BUDGET_S: Final = 0.012
FIRST_BUDGET_S: Final = 0.04
"""The budget of a tick while nothing is known yet, in seconds."""
_LATE_NS: Final = 1_000_000_000
"""Rows that ended this long ago have been written."""
_WORDS: Final = {
    State.AMBIGUOUS: ("ambiguous", "attention"),
    State.UNJOINED: ("unjoined", "attention"),
    State.SWALLOWED: ("swallowed", "attention"),
    State.ADDED: ("added", "attention"),
}


class Lanes:
    """The side of each connection, and the rows that are the same on both sides."""

    def __init__(self, trace: Trace, joins: Joins | None = None, *, joins_sides: bool = True) -> None:
        """`joins` are those of the whole captures if they are known; `joins_sides` says whether
        they are looked for."""
        self._trace = trace
        self._joins_sides = joins_sides
        self._known = joins
        self._finding = Finding(trace) if joins is None else None
        self._is_looked_for = joins is not None
        self._depths: tuple[Joins | None, dict[tuple[int, str], int]] = (None, {})

    @property
    def joins(self) -> Joins | None:
        """The joins, as far as they are known; None if there are no two sides of a pooler."""
        return self._finding.joins if self._finding is not None else self._known

    @property
    def are_known(self) -> bool:
        """Whether the search has decided if there are two sides of a pooler."""
        return self._is_looked_for or not self._may_be

    @property
    def _may_be(self) -> bool:
        return self._joins_sides and (self._trace.has_legs or len(self._trace.files) > 1)

    @property
    def _sides(self) -> dict[tuple[int, str], int]:
        """The lane of each side of a pooler."""
        joins = self.joins
        if self._depths[0] is not joins:
            poolers = joins.poolers if joins is not None else []
            depths = {pooler.front: 0 for pooler in poolers}
            for _ in poolers:  # a side behind one may be the front of another
                for pooler in poolers:
                    depths |= dict.fromkeys(pooler.backs, depths[pooler.front] + 1)
            self._depths = joins, depths
        return self._depths[1]

    @property
    def deepest(self) -> int:
        """The greatest lane: cells that the names of connections are indented by."""
        if self.joins is not None:
            return max(self._sides.values())
        return 1 if len(self._trace.files) == 2 else 0

    def lane(self, connection: int) -> int:
        """The lane of a connection, from 0."""
        connections = self._trace.connections
        if not self.deepest or not 0 <= connection < len(connections):
            return 0
        one = connections[connection]
        return one.file if self.joins is None else self._sides.get((one.file, one.leg), 0)

    def advance(self, now_ns: int) -> bool:
        """Continue the search for a moment; `now_ns` is the present time since the start of the
        capture. Returns whether more is known now.
        """
        finding, trace = self._finding, self._trace
        if finding is None or finding.is_done or not self._may_be or not trace.is_read_up:
            return False
        before = self._is_looked_for, self._decided
        if trace.ended:
            finding.finish()
        is_up = finding.advance(BUDGET_S if self._is_looked_for else FIRST_BUDGET_S)
        if is_up and not finding.is_done:
            finding.until(now_ns - _LATE_NS)
        self._is_looked_for |= is_up
        return (self._is_looked_for, self._decided) != before

    @property
    def _decided(self) -> int:
        """The number of round trips that have been decided."""
        poolers = self.joins.poolers if self.joins is not None else []
        return sum(one.joined + one.ambiguous + one.unjoined + one.swallowed + one.added for one in poolers)

    # The counterparts of a row.

    def state(self, place: int, row: Row) -> State | None:
        """What is known about a row; None if it is not decided yet."""
        joins = self.joins
        if joins is None or row.shape.kind is not RowKind.ROUND_TRIP:
            return State.NONE
        found = joins.state(place)
        if found is not State.NONE or self._finding is None or self._finding.is_done:
            return found
        one = self._trace.connections[row.connection]
        return None if (one.file, one.leg) in self._sides else found

    def across(self, place: int) -> tuple[int, ...]:
        """The rows on the other side that are the same."""
        return self.joins.across(place) if self.joins is not None else ()

    def together(self, place: int) -> set[int]:
        """All rows that are the same as that one, on both sides, itself included; empty if there is
        no other."""
        joins = self.joins
        if joins is None or joins.state(place) is not State.JOINED:
            return set()
        others = joins.across(place)
        return {place, *others, *(one for other in others for one in joins.across(other))}

    def is_behind(self, connection: int) -> bool:
        """Whether a connection is on a server's side."""
        return self.joins is not None and self.lane(connection) > 0

    def inside(self, place: int, row: Row) -> list[tuple[int, Row]] | None:
        """The round trips that one of the drivers' side ran as on the server's side: an empty list
        if the pooler answered it, None if that is not known."""
        state = self.state(place, row)
        if self.is_behind(row.connection) or state not in (State.JOINED, State.SWALLOWED):
            return None
        return [(one, self._trace.rows[one]) for one in self.across(place)] if state is State.JOINED else []

    def in_words(self, place: int, row: Row) -> str:
        """A row's counterpart on the other side, and its time in the pooler, in words."""
        state = self.state(place, row)
        if self.joins is None or state is State.NONE:
            return ""
        return "not joined yet" if state is None else across(self._trace, self.joins, place)

    def short(self, place: int, row: Row) -> tuple[str, str]:
        """b1`, `added`. ⇒ A row's counterpart on the other side in a few cells, and the role: `⇒
        b1`, `added`.⇒ b1`, `added`.
        """
        state = self.state(place, row)
        if state is None:
            return "…", "faint"
        if state is not State.JOINED:
            return _WORDS.get(state, ("", "dim"))
        others = self.across(place)
        name = self._trace.name_of(self._trace.connections[self._trace.rows.entry(others[0]).connection]) if others else ""
        more = f" ×{len(others)}" if len(others) > 1 else ""
        return f"{'⇐' if self.is_behind(row.connection) else '⇒'} {name}{more}", "text"
