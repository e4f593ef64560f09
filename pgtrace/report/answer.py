"""The end of a summary: the costliest findings, the avoidable round trips, and the costliest
statements.

    findings  avoidable: up to 29 of 31 round trips
      29 round trips  n+1  asyncpg  select name from item where id = $1: 10 times one after the other, ...

    costliest statements  wait ms  round trips  exec  driver
      ...
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from rich.cells import cell_len

from pgtrace import sanitise, sqltext
from pgtrace.judge.finding import Finding
from pgtrace.judge.findings.kind import ROUND_TRIPS
from pgtrace.judge.unexplained import Unexplained
from pgtrace.report import advice
from pgtrace.report.table import count, ms, table
from pgtrace.sanitise import EMPTY, Shown
from pgtrace.trace.trace import Trace

NAMED: Final = 3
"""The most findings, and the most statements, that are named."""
_SQL_WIDTH: Final = 60
_WHAT_WIDTH: Final = 100
_SQL_LEAST: Final = 24
_NUMBERS_WIDTH: Final = 40
"""The largest total width of the columns other than SQL."""


def lines(trace: Trace, findings: Sequence[Finding], unexplained: Unexplained, columns: int | None = None) -> Iterator[Shown]:
    """The findings, most costly first, and the statements with the longest waits; empty if no
    statement ran and nothing failed. `columns` is the width of the terminal, if there is one.
    """
    if not (trace.totals().round_trips or findings or unexplained):
        return
    yield EMPTY
    yield sanitise.line(_heading(trace, findings, unexplained))
    if unexplained:
        yield sanitise.line(f"  {advice.left(unexplained)}")
    for finding in findings[:NAMED]:
        what = sqltext.shorten(advice.what(finding), _WHAT_WIDTH)
        line = sanitise.line(f"  {advice.cost(finding)}  {finding.name}  {advice.who(finding)}  {what}")
        yield from (
            (line,) if columns is None else map(Shown, textwrap.wrap(line, columns, subsequent_indent="    ", break_on_hyphens=False))
        )
        for site, times in finding.lines[:1]:
            yield sanitise.line(f"    at {advice.code_line(site, times)}")
    if len(findings) > NAMED:
        yield sanitise.line(f"  and {len(findings) - NAMED} more")
    views = sorted(trace.statements(), key=lambda view: -view.group.wait.total)[:NAMED]
    if not views:
        return
    yield EMPTY
    width = _SQL_WIDTH if columns is None else max(min(_SQL_WIDTH, columns - _NUMBERS_WIDTH), _SQL_LEAST)
    rows = [
        [
            sqltext.shorten(view.group.sql, width, cell_len),
            view.driver,
            count(view.group.executions),
            count(view.group.round_trips),
            ms(view.group.wait.total),
        ]
        for view in views
    ]
    yield from table(["costliest statements", "driver", "exec", "round trips", "wait ms"], rows, left=frozenset({0, 1}), columns=columns)


def _heading(trace: Trace, findings: Sequence[Finding], unexplained: Unexplained) -> str:
    totals, costs = trace.totals(), [finding for finding in findings if finding.kind.unit == ROUND_TRIPS and not finding.failed]
    avoidable = [
        f"{min(total, of_these)} of {total} {what}"
        for total, what, is_setup in (
            (totals.round_trips, "round trips", False),
            (totals.setup_round_trips, "set-up round trips", True),
        )
        if (of_these := sum(finding.cost for finding in costs if finding.kind.of_setup is is_setup)) and total
    ]
    words = advice.summary(trace, findings, unexplained)
    return f"{words.partition(';')[0]}; up to {' and '.join(avoidable)} can be avoided" if avoidable else words
