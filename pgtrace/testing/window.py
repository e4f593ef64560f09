"""The traffic while a mark was open: its counters, round trips and statements.

A Window computes its answers from the trace each time, so it follows a trace that is still being
read. Everything that passed the recorder in that time belongs to it, on any connection and from any
cause; `connections` lists them.

str() of a window is its round trips in flight notation without times: the same text for the same
work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pgtrace import sanitise
from pgtrace.ask.evidence import places_in
from pgtrace.sanitise import Shown
from pgtrace.testing.counted import Counted, Statement, find_statement
from pgtrace.testing.rendering import flight_lines, summary
from pgtrace.testing.selected import Selected
from pgtrace.trace.connection import Connection
from pgtrace.trace.counters import Counters
from pgtrace.trace.marks import Interval
from pgtrace.trace.row import Row, RowKind
from pgtrace.trace.trace import Trace


class Window(Counted):
    """One mark of a trace, or all marks with one name together."""

    def __init__(self, trace: Trace, name: str) -> None:
        self.trace = trace
        self.name = name

    @property
    def intervals(self) -> Sequence[Interval]:
        """The marks that make it up."""
        return self.trace.marks.intervals(self.name)

    @property
    def counters(self) -> Counters:
        return self.trace.marks.summed(self.intervals, self.trace.duration_ns)

    @property
    def statements(self) -> list[Statement]:
        """The statements that ran, most round trips first."""
        return list(map(Statement.of, self.trace.statements_within(self.intervals)))

    def statement(self, sql: str, *, driver: str | None = None) -> Statement:
        """The one statement with that SQL: as it is grouped, or with `...` for any text. Raises
        NoSuchStatement."""
        return find_statement(self.statements, sql, driver)

    def where(self, text: str) -> Selected:
        """The round trips in it that a filter selects: where("driver:asyncpg and error"). Raises
        FilterError.
        """
        return Selected(self.trace, text, self.places)

    @property
    def places(self) -> Iterator[int]:
        """The places of its rows in the timeline of the trace."""
        return places_in(self.trace, self.intervals)

    @property
    def timeline(self) -> list[Row]:
        """Its rows: the round trips, and everything else that happened."""
        return [self.trace.rows[place] for place in self.places]

    @property
    def connections(self) -> list[Connection]:
        """The connections with rows in it, in the order of their first rows."""
        seen = dict.fromkeys(row.connection for row in self.timeline if row.shape.kind is not RowKind.MARK)
        return [self.trace.connections[index] for index in seen]

    @property
    def drivers(self) -> list[str]:
        """The drivers of these connections."""
        return list(dict.fromkeys(connection.driver for connection in self.connections))

    def show(self) -> Shown:
        """The round trips in flight notation, one per line."""
        return sanitise.lines(flight_lines(self.trace, self.timeline))

    def json(self) -> dict[str, Any]:
        """The element of `marks` in `stats --json`, with the statements of this mark."""
        statements = [view.group.as_dict(view.driver) for view in self.trace.statements_within(self.intervals)]
        return {"mark": self.name, **self.counters.as_dict(), "statements": statements}

    def __str__(self) -> str:
        return self.show()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}: {summary(self.counters)}>"
