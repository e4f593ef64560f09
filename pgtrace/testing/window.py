"""What passed while a mark was open: its counters, its round trips and its statements.

A Window asks the trace when it is asked, so it follows a trace that is still being read. Everything that passed the recorder in that time belongs to it, on
whichever connection and whoever caused it: `connections` says who was there.

str() of a window is its round trips in flight notation without times, the same text for the same work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pgtrace import sanitise
from pgtrace.analysis.connections import Connection
from pgtrace.analysis.counters import Counters
from pgtrace.analysis.marks import Interval
from pgtrace.analysis.rows import Kind, Row
from pgtrace.analysis.trace import Trace
from pgtrace.testing.counted import Counted, Statement, find_statement, shown_sql

_NOT_SHOWN = frozenset({Kind.MARK, Kind.RUN, Kind.CLOSED})


class Window(Counted):
    """One mark of a trace, or all marks of one name as one."""

    def __init__(self, trace: Trace, name: str) -> None:
        self.trace = trace
        self.name = name

    @property
    def intervals(self) -> Sequence[Interval]:
        """The marks it is made of."""
        return self.trace.marks.intervals(self.name)

    @property
    def counters(self) -> Counters:
        return self.trace.marks.summed(self.intervals, self.trace.duration_ns)

    @property
    def statements(self) -> list[Statement]:
        """What was run, most round trips first."""
        return list(map(Statement.of, self.trace.statements_within(self.intervals)))

    def statement(self, sql: str, *, driver: str | None = None) -> Statement:
        """The one statement with that SQL: as it is grouped, or with `...` for whatever stands there. Raises NoSuchStatement."""
        return find_statement(self.statements, sql, driver)

    @property
    def places(self) -> Iterator[int]:
        """The places of its rows in the timeline of the trace."""
        for mark in self.intervals:
            yield from range(mark.begins_at + 1, len(self.trace.rows) if mark.ends_at is None else mark.ends_at)

    @property
    def timeline(self) -> list[Row]:
        """Its rows: the round trips, and what else happened."""
        return [self.trace.rows[place] for place in self.places]

    @property
    def connections(self) -> list[Connection]:
        """The connections that did something in it, in the order of their first row."""
        seen = dict.fromkeys(row.connection for row in self.timeline if row.shape.kind is not Kind.MARK)
        return [self.trace.connections[index] for index in seen]

    @property
    def drivers(self) -> list[str]:
        """The drivers of these connections."""
        return list(dict.fromkeys(connection.driver for connection in self.connections))

    def show(self) -> str:
        """The round trips in flight notation, a line each."""
        return "\n".join(flight_lines(self.trace, self.timeline))

    def json(self) -> dict[str, Any]:
        """The element of `marks` in `stats --json`, with the statements of this mark."""
        statements = [view.group.as_dict(view.driver) for view in self.trace.statements_within(self.intervals)]
        return {"mark": self.name, **self.counters.as_dict(), "statements": statements}

    def __str__(self) -> str:
        return self.show()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}: {summary(self.counters)}>"


def summary(counters: Counters) -> str:
    """The first numbers anybody asks for."""
    count = counters.round_trips
    text = f"{count} round trip{'' if count == 1 else 's'}"
    return f"{text}, {counters.setup_round_trips} to set up" if counters.setup_round_trips else text


def flight_lines(trace: Trace, rows: Sequence[Row], *, most: int | None = None, marked: frozenset[int] = frozenset()) -> list[str]:
    """Rows in flight notation: number, connection where there are several, flight, what it was about; equal neighbours folded.

    At most `most` lines, and twice as many where rows with a number of `marked`, which carry a `>`, would be left out.
    """
    shown = [row for row in rows if row.shape.kind not in _NOT_SHOWN]
    several = len({row.connection for row in shown}) > 1
    lines: list[tuple[str, str, str, bool]] = []  # number, flight, the rest, marked
    before: tuple[str, str, bool] | None = None
    first = 0
    for number, row in enumerate(shown, 1):
        flight, rest = _cells(trace, row, several)
        points = row.number in marked
        if before == (flight, rest, points):
            lines[-1] = (f"{first}-{number}", flight, f"{rest}  ×{number - first + 1}", points)
        else:
            first = number
            lines.append((str(number), flight, rest, points))
        before = (flight, rest, points)
    number_width = max((len(line[0]) for line in lines), default=0)
    flight_width = min(max((len(line[1]) for line in lines), default=0), 40)
    texts = [
        f"{'>' if points else ' '} {number:>{number_width}}  {flight:<{flight_width}}  {rest}".rstrip()
        for number, flight, rest, points in lines
    ]
    if most is None or len(texts) <= most:
        return texts
    kept = [index for index, line in enumerate(lines) if index < most or line[3]][: 2 * most]
    return [texts[index] for index in kept] + [f"  and {len(texts) - len(kept)} lines more"]


def _cells(trace: Trace, row: Row, several: bool) -> tuple[str, str]:
    shape = row.shape
    words = [trace.name_of(trace.connections[row.connection])] if several else []
    if row.label.sql:
        words.append(shown_sql(row.label.sql))
    words += [f"({row.rows} row{'' if row.rows == 1 else 's'})"] if row.rows else []
    words += [f"✗ {sanitise.text(row.label.error)}"] if row.label.error else []
    words += ["(still open)"] if row.is_open else []
    return shape.flight, "  ".join(words)
