"""A trace as Markdown, for a pull request: the counts by driver, the findings with their remedies,
and the costliest statements.

It is short enough for a comment, however long the capture is. Numbers are those of `stats`,
findings those of `advise`. All text from the wire is escaped (report/markdown.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from pgtrace import sanitise, sqltext
from pgtrace.export import Piece
from pgtrace.judge.advice import Advice
from pgtrace.judge.finding import Finding
from pgtrace.judge.lines import with_lines
from pgtrace.report import advice, filenames
from pgtrace.report.markdown import code, plain
from pgtrace.report.table import count, ms, ratio
from pgtrace.trace.counters import Counters
from pgtrace.trace.totals import StatementView
from pgtrace.trace.trace import Trace

FINDINGS_NAMED: Final = 12
STATEMENTS_NAMED: Final = 10
DRIVERS_NAMED: Final = 12
_REMEDIES_NAMED: Final = 4
_SITES_NAMED: Final = 3
_NAME_WIDTH: Final = 60
_SQL_WIDTH: Final = 120
_WHAT_WIDTH: Final = 300
HEAD: Final = ("driver", "connections", "set-up", "round trips", "executions", "per execution", "reused", "errors", "rows", "wait ms")
STATEMENTS_HEAD: Final = ("statement", "driver", "executions", "round trips", "errors", "median ms", "wait ms")


def export(trace: Trace, *, places: Iterable[int] | None = None, counted: Trace | None = None) -> Iterator[Piece]:
    """The document in one piece."""
    found = Advice(trace, None if places is None else frozenset(places).__contains__)
    found.update()
    findings, left = with_lines(found, found.findings()), found.unexplained()
    parts = [
        f"## pgtrace: {plain(_short(', '.join(filenames.all_of(trace))))}",
        "",
        f"{plain(advice.summary(trace, findings, left))}.",
        *(["", f"{plain(advice.left(left))}."] if left else []),
        *(["", "The capture is not complete."] if not trace.complete else []),
        *(
            ["", f"Only the round trips that this filter selects: {code(counted.filter)}."]
            if counted is not None and counted.filter
            else []
        ),
        "",
        *_drivers(counted or trace),
        *_findings(trace, findings),
        *_statements(counted or trace),
    ]
    yield Piece(sanitise.lines(parts) + "\n", 1.0)


def _drivers(trace: Trace) -> Iterator[str]:
    drivers = trace.drivers()
    shown = [(name, number, counters) for name, number, counters in drivers[:DRIVERS_NAMED]]
    if len(drivers) != 1:
        shown.insert(0, ("all", trace.counted, trace.totals()))
    yield from _table(HEAD, ([plain(_short(name)), *numbers(number, counters)] for name, number, counters in shown), left=1)
    yield from _more(len(drivers) - DRIVERS_NAMED, "driver")


def numbers(connections: int, counters: Counters) -> list[str]:
    """The cells of HEAD after the first."""
    return [
        count(connections),
        count(counters.setup_round_trips),
        count(counters.round_trips),
        count(counters.executions),
        ratio(counters.round_trips, counters.executions),
        count(counters.statements_reused),
        count(counters.errors),
        count(counters.rows),
        ms(counters.wait_ns),
    ]


def _findings(trace: Trace, findings: Sequence[Finding]) -> Iterator[str]:
    if not findings:
        return
    yield from ("", "### Findings")
    for finding in findings[:FINDINGS_NAMED]:
        where = plain(_short(", ".join(part for part in (advice.who(finding), advice.connections(trace, finding)) if part)))
        yield from ("", f"**{plain(advice.cost(finding))}: {plain(finding.name)}** ({where})", "")
        yield f"- What: {code(sqltext.shorten(advice.what(finding), _WHAT_WIDTH))}"
        yield f"- Why: {plain(finding.kind.why)}"
        for site, times in finding.lines[:_SITES_NAMED]:
            yield f"- Code: {code(advice.code_line(site, times))}"
        for evidence in finding.evidence:
            yield f"- Evidence: {code(sqltext.shorten(advice.evidence_line(trace, evidence), _WHAT_WIDTH))}"
        for remedy in finding.remedies[:_REMEDIES_NAMED]:
            yield f"- Remedy: {plain(remedy)}"
    yield from _more(len(findings) - FINDINGS_NAMED, "finding")


def _statements(trace: Trace) -> Iterator[str]:
    views = sorted(trace.statements(), key=lambda view: -view.group.wait.total)
    if not views:
        return
    yield from ("", "### Costliest statements", "")
    rows = (
        [
            code(sqltext.shorten(view.group.sql, _SQL_WIDTH)),
            plain(_short(view.driver)),
            *statement_numbers(view),
        ]
        for view in views[:STATEMENTS_NAMED]
    )
    yield from _table(STATEMENTS_HEAD, rows, left=2)
    yield from _more(len(views) - STATEMENTS_NAMED, "statement")


def statement_numbers(view: StatementView) -> list[str]:
    """The cells of STATEMENTS_HEAD after the first two."""
    group = view.group
    return [
        count(group.executions),
        count(group.round_trips),
        count(group.errors),
        ms(group.wait.percentile(50)),
        ms(group.wait.total),
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, left: int) -> Iterator[str]:
    """The lines of a table. Cells must be Markdown already; the first `left` columns are aligned to
    the left.
    """
    yield f"| {' | '.join(head)} |"
    yield f"|{'|'.join('---' if column < left else '---:' for column in range(len(head)))}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _more(number: int, what: str) -> Iterator[str]:
    if number > 0:
        yield from ("", f"And {number} more {what}{'' if number == 1 else 's'}.")


def _short(text: str) -> str:
    return text if len(text) <= _NAME_WIDTH else text[: _NAME_WIDTH - 1] + "…"
