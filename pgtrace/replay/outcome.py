"""Compares a workload with its replay: new errors, statements by latency, and differences on the
wire, in words.

The latency of an execution is its wait as `stats` counts it. The spread is the distance from the
median to the 95th percentile; a median that moved by less than both spreads counts as unchanged.
Different numbers of rows point to values from earlier answers, such as generated keys, which were
sent as recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from pgtrace import sqltext
from pgtrace.compare.behaviour import Behaviour
from pgtrace.compare.changes import Change
from pgtrace.compare.diff import compare
from pgtrace.report.table import ms, table
from pgtrace.sanitise import Shown, line
from pgtrace.trace.histogram import Histogram
from pgtrace.trace.trace import Trace

SCHEMA: Final = "pgtrace.replay/1"
READ_ONLY: Final = "25006"
_SQL_WIDTH: Final = 60
_SHOWN: Final = 40
_SENTENCES: Final = 20
_ENOUGH: Final = 5
"""The fewest executions for which a spread is meaningful."""


@dataclass(slots=True)
class Times:
    """The times of one statement on one side."""

    executions: int = 0
    rows: int = 0
    errors: int = 0
    wait: Histogram = field(default_factory=Histogram)

    @property
    def spread(self) -> int:
        """From the median to the 95th percentile, in ns."""
        return self.wait.percentile(95) - self.wait.percentile(50)


@dataclass(slots=True)
class Statement:
    """One statement, before and after."""

    sql: str
    before: Times = field(default_factory=Times)
    after: Times = field(default_factory=Times)

    @property
    def moved(self) -> bool:
        """Whether its median moved by more than both spreads."""
        shift = abs(self.after.wait.percentile(50) - self.before.wait.percentile(50))
        return min(self.before.executions, self.after.executions) >= _ENOUGH and shift > max(self.before.spread, self.after.spread)


@dataclass(slots=True)
class NewError:
    """An error that was not recorded, or not as often."""

    sqlstate: str
    sql: str
    before: int
    after: int


@dataclass(slots=True)
class Outcome:
    """The result of a replay."""

    statements: list[Statement]
    """The statements that cost most in the recording come first."""
    errors: list[NewError]
    changes: list[Change]
    """The changes without those of the set-up, because the login differs."""
    executions: tuple[int, int]
    error_counts: tuple[int, int]
    refused: int
    """Statements refused because of --read-only."""
    complete: bool
    """Whether both captures are complete; only then the wire is compared."""


def outcome(before: Trace, after: Trace, did: Behaviour, does: Behaviour) -> Outcome:
    """Compare a recording with its replay, each as a trace and a behaviour, read to their end."""
    compared = compare(did, does)
    errors: list[NewError] = []
    refused = 0
    for sql in compared.second.facts:
        was = compared.first.facts[sql].errors if sql in compared.first.facts else {}
        for sqlstate, times in compared.second.facts[sql].errors.items():
            refused += times * (sqlstate == READ_ONLY)
            if times > (earlier := was.get(sqlstate, 0)):
                errors.append(NewError(sqlstate, compared.second.text(sql), earlier, times))
    errors.sort(key=lambda error: error.before - error.after)
    totals = before.totals(), after.totals()
    complete = before.complete and after.complete
    return Outcome(
        sorted(_statements(before, after), key=lambda one: -max(one.before.wait.total, one.after.wait.total)),
        errors,
        [change for change in compared.changes if complete and (change.round_trips or not change.setup_round_trips)],
        (totals[0].executions, totals[1].executions),
        (totals[0].errors, totals[1].errors),
        refused,
        complete,
    )


def _statements(before: Trace, after: Trace) -> Iterable[Statement]:
    found: dict[str, Statement] = {}
    for trace, is_after in ((before, False), (after, True)):
        for view in trace.statements():
            statement = found.setdefault(view.group.sql, Statement(view.group.sql))
            times = statement.after if is_after else statement.before
            times.executions += view.group.executions
            times.rows += view.group.rows
            times.errors += view.group.errors
            times.wait.merge(view.group.wait)
    return found.values()


def lines(found: Outcome) -> Iterator[Shown]:
    """The result as lines of text."""
    for error in found.errors:
        more = f"{error.after} times, was {error.before}" if error.before else f"×{error.after}"
        yield line(f"new error {error.sqlstate} {more}: {sqltext.shorten(error.sql, _SQL_WIDTH)}")
    if found.refused:
        yield line(f"{found.refused} statements were refused with {READ_ONLY}, because of --read-only")
    if found.errors or found.refused:
        yield line("")
    head = ["statement", "exec", "p50 ms", "now", "ratio", "p95 ms", "now", "max ms", "now", ""]
    yield from table(head, [_row(one) for one in found.statements[:_SHOWN]], left=frozenset({0, 9}))
    if (more_of_them := len(found.statements) - _SHOWN) > 0:
        yield line(f"and {more_of_them} more, which took less time")
    yield line("")
    if not found.complete:
        yield line("incomplete: these numbers lack data that was not recorded, and the wire is not compared")
    executions, errors = found.executions, found.error_counts
    yield line(f"executions {executions[1]}, was {executions[0]}; errors {errors[1]}, was {errors[0]}")
    if found.changes:
        yield line("on the wire:")
        for change in found.changes[:_SENTENCES]:
            yield line(f"  {_sentence(change)}")
        if (rest := len(found.changes) - _SENTENCES) > 0:
            yield line(f"  and {rest} more")
    if any(one.before.rows != one.after.rows for one in found.statements):
        yield line("where rows differ, values may depend on earlier answers (sequences, generated keys): they were sent as recorded")


def _row(one: Statement) -> list[str]:
    before, after = one.before, one.after
    executions = str(after.executions) if after.executions == before.executions else f"{before.executions}→{after.executions}"
    was, now = before.wait.percentile(50), after.wait.percentile(50)
    notes = ["slower" if now > was else "faster"] if one.moved else []
    notes += [f"rows {before.rows}→{after.rows}"] if before.rows != after.rows else []
    return [
        sqltext.shorten(one.sql, _SQL_WIDTH),
        executions,
        ms(was),
        ms(now),
        f"{now / was:.2f}" if was and after.executions else "·",
        ms(before.wait.percentile(95)),
        ms(after.wait.percentile(95)),
        ms(before.wait.max),
        ms(after.wait.max),
        ", ".join(notes),
    ]


def _sentence(change: Change) -> str:
    cost = change.round_trips + change.setup_round_trips
    return f"{cost:+d} round trip{'' if abs(cost) == 1 else 's'}: {change.words}" if cost else change.words


def as_dict(found: Outcome) -> dict[str, Any]:
    """The object of `replay --json`."""

    def times(one: Times) -> dict[str, Any]:
        return {"executions": one.executions, "rows": one.rows, "errors": one.errors, "wait_ns": one.wait.as_dict()}

    return {
        "schema": SCHEMA,
        "executions": {"before": found.executions[0], "after": found.executions[1]},
        "errors": {"before": found.error_counts[0], "after": found.error_counts[1]},
        "refused_read_only": found.refused,
        "complete": found.complete,
        "new_errors": [{"sqlstate": one.sqlstate, "sql": one.sql, "before": one.before, "after": one.after} for one in found.errors],
        "statements": [
            {"sql": one.sql, "before": times(one.before), "after": times(one.after), "moved": one.moved} for one in found.statements
        ],
        "changes": [
            {"words": one.words, "round_trips": one.round_trips, "setup_round_trips": one.setup_round_trips} for one in found.changes
        ],
    }
