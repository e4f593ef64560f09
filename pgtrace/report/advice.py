"""Findings as text and as JSON: cost, what happened, why, the round trips that show it, and the
remedy.

    9 round trips  n+1  asyncpg  c1
      what      select name from item where id = $1: 10 times one after the other, each waiting for the answer
      why       ...
      evidence  0.0123  c1  BES → 2DCZ  select name from item where id = $1  once
      remedy    WHERE column = ANY($1) ...
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, Final

from rich.cells import cell_len

from pgtrace import sanitise, sqltext
from pgtrace.callsites.notes import Site
from pgtrace.judge.baseline import Verdict
from pgtrace.judge.finding import Finding
from pgtrace.judge.findings.kind import FAILED, ROUND_TRIPS, Evidence
from pgtrace.judge.unexplained import Unexplained
from pgtrace.sanitise import EMPTY, Shown
from pgtrace.trace.trace import Trace

SCHEMA: Final = "pgtrace.advice/1"
_WIDTH: Final = 100
_FLIGHT_WIDTH: Final = 22
_SQL_WIDTH: Final = 60
_LINES_NAMED: Final = 3
"""The most lines of code that are named."""
_NAMED: Final = 8
"""The most SQLSTATEs and ends that are named."""


def lines(trace: Trace, findings: Sequence[Finding], unexplained: Unexplained) -> Iterator[Shown]:
    """A line that sums up the findings, a line about failures that no finding explains, and a block
    of lines for each finding, in order.
    """
    yield sanitise.line(summary(trace, findings, unexplained))
    if unexplained:
        yield sanitise.line(left(unexplained))
    for finding in findings:
        yield EMPTY
        yield sanitise.line("  ".join((cost(finding), finding.name, who(finding), connections(trace, finding))))
        yield from _wrapped("what", what(finding))
        yield from _wrapped("why", finding.kind.why)
        for number, evidence in enumerate(finding.evidence):
            yield sanitise.line(f"{'' if number else '  evidence':<12}{evidence_line(trace, evidence)}")
        for number, (site, times) in enumerate(finding.lines[:_LINES_NAMED]):
            yield sanitise.line(f"{'' if number else '  code':<12}{code_line(site, times)}")
        for remedy in finding.remedies:
            yield from _wrapped("remedy", remedy)


def code_line(site: Site, times: int) -> Shown:
    """`app/orders.py:41 in list_orders, 50 times`."""
    return sanitise.line(f"{site.words}, {'once' if times == 1 else f'{times} times'}")


def left(unexplained: Unexplained) -> str:
    """`3 errors that no finding explains: 57014 x2, 42P01 x1; 1 end ...`."""
    parts = []
    for what, counted in (("error", unexplained.errors), ("end", unexplained.ends)):
        number = sum(counted.values())
        if number:
            each = ", ".join(f"{name} x{times}" for name, times in list(counted.items())[:_NAMED])
            more = f", and {len(counted) - _NAMED} others" if len(counted) > _NAMED else ""
            parts.append(f"{number} {what}{'' if number == 1 else 's'} that no finding explains: {each}{more}")
    return "; ".join(parts)


def summary(trace: Trace, findings: Sequence[Finding], unexplained: Unexplained) -> str:
    """`3 findings, 1 failure; the capture has 38 round trips and 8 for set-up`. `nothing found`
    only if nothing failed."""
    if not findings:
        return "no finding" if unexplained else "nothing found"
    failed = sum(finding.number for finding in findings if finding.failed)
    parts = [f"{len(findings)} finding{'' if len(findings) == 1 else 's'}"]
    if failed:
        parts.append(f"{failed} failure{'' if failed == 1 else 's'}")
    totals = trace.totals()
    trips = f"{totals.round_trips} round trip{'' if totals.round_trips == 1 else 's'}"
    captures = "the capture has" if len(trace.files) == 1 else "the captures have"
    return f"{', '.join(parts)}; {captures} {trips} and {totals.setup_round_trips} for set-up"


def cost(finding: Finding) -> str:
    """`12 round trips`, `failed` or `failed ×3`, `214 live`, `0.7 s idle`."""
    number, unit = finding.number, finding.kind.unit
    if finding.failed:
        return f"{FAILED} ×{number}" if number > 1 else FAILED
    return f"{number:g} {unit.rstrip('s') if number == 1 and unit == ROUND_TRIPS else unit}"


def what(finding: Finding) -> Shown:
    """The finding's line on what happened, safe to show."""
    return sanitise.text(finding.what)


def who(finding: Finding) -> Shown:
    """`asyncpg`, or `asyncpg+sqlalchemy`."""
    return sanitise.text("+".join(name for name in (finding.driver, finding.layer) if name))


def connections(trace: Trace, finding: Finding) -> str:
    """`c1 c2`; for more than three, the number of the others."""
    names = [trace.name_of(trace.connections[index]) for index in finding.note.connections]
    more = len(names[3:]) + finding.note.more_connections
    return " ".join([*names[:3], *([f"+{more}"] if more else [])])


def evidence_line(trace: Trace, evidence: Evidence) -> Shown:
    """A row of evidence on one line: time, connection, flight, SQL, and a note."""
    time, name, flight, about, words = evidence_parts(trace, evidence)
    space = " " * max(2, _FLIGHT_WIDTH - cell_len(flight))
    return sanitise.line("  ".join(part for part in (f"{time:>9}  {name:<3} {flight}{space}{about}", words) if part))


def evidence_parts(trace: Trace, evidence: Evidence) -> tuple[Shown, Shown, Shown, Shown, Shown]:
    """The parts of a row of evidence: time in seconds, connection, flight, SQL or error, and a
    note.
    """
    row = trace.rows[evidence.place]
    about = sqltext.shorten(row.label.error or row.label.sql, _SQL_WIDTH)
    name = trace.name_of(trace.connections[row.connection])
    time, name, flight, about, words = map(sanitise.text, (f"{row.opened_ns / 1e9:.4f}", name, row.shape.flight, about, evidence.words))
    return time, name, flight, about, words


def failing(verdict: Verdict, *, by_baseline: bool) -> Shown:
    """The reason for exit code 1: `pgtrace: not in the baseline: n+1 (asyncpg), 57014`."""
    named = [f"{one.name} ({who(one)})" for one in verdict.findings[:_NAMED]] + [
        sanitise.text(what) for what in verdict.unexplained[:_NAMED]
    ]
    more = len(verdict.findings) + len(verdict.unexplained) - len(named)
    why = "not in the baseline" if by_baseline else "failing"
    return sanitise.line(f"pgtrace: {why}: {', '.join(named)}{f', and {more} more' if more else ''}")


def as_dict(
    trace: Trace, findings: Sequence[Finding], unexplained: Unexplained, filtered: str | None = None, verdict: Verdict | None = None
) -> dict[str, Any]:
    """The object of `advise --json`."""
    return {
        "schema": SCHEMA,
        **({"filter": filtered} if filtered is not None else {}),
        "findings": [_finding(trace, finding) for finding in findings],
        "unexplained": {"errors": unexplained.errors, "ends": unexplained.ends},
        **(
            {"fails": {"findings": [one.name for one in verdict.findings], "unexplained": list(verdict.unexplained)}}
            if verdict is not None
            else {}
        ),
    }


def _finding(trace: Trace, finding: Finding) -> dict[str, Any]:
    return {
        "finding": finding.name,
        "driver": finding.driver,
        "layer": finding.layer or None,
        "round_trips": finding.cost,
        "failed": finding.failed,
        "number": finding.number,
        "unit": finding.kind.unit,
        "times": finding.note.times,
        "connections": [
            {"file": trace.files[one.file], "connection": one.number} for one in (trace.connections[i] for i in finding.note.connections)
        ],
        "more_connections": finding.note.more_connections,
        "what": finding.what,
        "why": finding.kind.why,
        "call_sites": [{**site._asdict(), "times": times} for site, times in finding.lines],
        "evidence": [_evidence(trace, evidence) for evidence in finding.evidence],
        "remedies": list(finding.remedies),
    }


def _evidence(trace: Trace, evidence: Evidence) -> dict[str, Any]:
    row = trace.rows[evidence.place]
    connection = trace.connections[row.connection]
    return {
        "row": row.number,
        "file": trace.files[connection.file],
        "connection": connection.number,
        "time_ns": row.opened_ns,
        "flight": row.shape.flight,
        "sql": row.label.sql,
        "error": row.label.error or None,
        "shows": evidence.words,
        "call_sites": [site._asdict() for site in trace.call_sites.at(evidence.place)],
    }


def _wrapped(title: str, text: str) -> Iterator[Shown]:
    wrapped = textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False) or [""]
    for number, line in enumerate(wrapped):
        yield sanitise.line(f"{'' if number else f'  {title}':<12}{line}")
