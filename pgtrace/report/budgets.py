"""The results of budgets as text, JSON, JUnit XML, GitHub Actions annotations, and Markdown for a
job's summary.

Budgets that are exceeded come first, each with the round trips that make up the number. SQL and
names come from the wire and from files, so every form passes them through sanitise and then escapes
its own syntax. XML 1.0 cannot represent most control characters, so it needs the first step as much
as a terminal does. In Markdown they are always code, with more backticks around them than they
contain in a row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from pgtrace import sanitise, sqltext
from pgtrace.ask.budgets import Result
from pgtrace.ask.evidence import EvidenceGroup
from pgtrace.report.table import ms, size, table
from pgtrace.sanitise import EMPTY, Shown

SCHEMA: Final = "pgtrace.check/1"
_SQL_WIDTH: Final = 100
_NAME_WIDTH: Final = 200
_TOLD_IN_MARKDOWN: Final = 100
"""The most budgets that a summary describes in full. GitHub limits a step's summary to 1 MiB."""


def as_text(results: Sequence[Result], *, everything: bool = False) -> Iterator[Shown]:
    """The budgets that are exceeded, with their evidence; with `everything` also those that are
    met; then the number of each.
    """
    for result in results if everything else _failed(results):
        yield _sentence(result)
        yield from (sanitise.line(f"    {line}") for line in _evidence(result.evidence, result.budget.counter))
        if result.evidence:
            yield EMPTY
    yield sanitise.line(_count(results))


def as_dict(results: Sequence[Result]) -> dict[str, Any]:
    """The object of `check --json`."""
    return {
        "schema": SCHEMA,
        "kept": all(result.is_kept for result in results),
        "budgets": [
            {
                "about": result.budget.about,
                "name": result.name or None,
                "counter": result.budget.counter,
                "limit": result.budget.limit,
                "exact": result.budget.exact,
                "actual": result.actual,
                "kept": result.is_kept,
                "where": result.budget.where,
                "round_trips": [
                    {
                        "flight": group.flight,
                        "sql": group.sql,
                        "sqlstate": group.sqlstate or None,
                        "times": group.times,
                        "amount": group.amount,
                        "first_row": group.first_row or None,
                        "why": group.why or None,
                    }
                    for group in result.evidence
                ],
            }
            for result in results
        ],
    }


def as_junit(results: Sequence[Result]) -> Iterator[Shown]:
    """JUnit XML: a test case for each budget, a failure for each that is exceeded."""
    return map(sanitise.line, _junit(results))


def _junit(results: Sequence[Result]) -> Iterator[str]:
    failures = len(_failed(results))
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield f'<testsuites tests="{len(results)}" failures="{failures}" errors="0">'
    yield f'  <testsuite name="pgtrace check" tests="{len(results)}" failures="{failures}" errors="0" skipped="0" time="0">'
    for result in results:
        name = quoteattr(_shown(f"{result.subject}: {result.budget.counter} {result.budget.allowed}"))
        case = f'    <testcase classname="pgtrace.{result.budget.about}" name={name} time="0"'
        if result.is_kept:
            yield f"{case}/>"
            continue
        kind = "missing" if result.actual is None else "exceeded"
        yield f"{case}>"
        yield f'      <failure type="{kind}" message={quoteattr(_sentence(result))}>'
        yield from (escape(line) for line in _evidence(result.evidence, result.budget.counter))
        yield "      </failure>"
        yield "    </testcase>"
    yield "  </testsuite>"
    yield "</testsuites>"


def as_github(results: Sequence[Result]) -> Iterator[Shown]:
    """GitHub Actions annotations, one for each budget that is exceeded; then their number."""
    for result in _failed(results):
        lines = [_sentence(result), *_evidence(result.evidence, result.budget.counter)]
        yield Shown(f"::error title={_property(sanitise.text(f'pgtrace: {result.budget.counter}'))}::{_data(lines)}")
    yield sanitise.line(_count(results))


def as_markdown(results: Sequence[Result]) -> Iterator[Shown]:
    """Markdown for $GITHUB_STEP_SUMMARY."""
    return map(sanitise.line, _markdown(results))


def _markdown(results: Sequence[Result]) -> Iterator[str]:
    failed = _failed(results)
    yield f"### pgtrace: {_count(results)}"
    for result in failed[:_TOLD_IN_MARKDOWN]:
        yield ""
        subject = f"{result.budget.about} {code(result.name)}" if result.name else result.budget.about
        if result.actual is None:
            yield f"- ❌ {subject}: nothing to check for `{result.budget.counter}`{_but(result, code)}"
        else:
            shown = _number(result.actual, result.budget.counter)
            yield f"- ❌ {subject}: `{result.budget.counter}` is **{shown}**, {result.budget.allowed}"
        lines = list(_evidence(result.evidence, result.budget.counter))
        if lines:
            fence = _fence("\n".join(lines), 3)
            yield from ("", f"  {fence}text", *(f"  {line}" for line in lines), f"  {fence}")
    if len(failed) > _TOLD_IN_MARKDOWN:
        yield from ("", f"- and {len(failed) - _TOLD_IN_MARKDOWN} more")


FORMATS: Final = {"junit": as_junit, "github": as_github, "markdown": as_markdown}
"""By the word for `--format`, besides text and json."""


def code(text: str) -> str:
    """Text as code in Markdown."""
    shown = _shown(text)
    fence = _fence(shown, 1)
    blank = " " if shown[:1] in ("`", " ") or shown[-1:] in ("`", " ") else ""
    return f"{fence}{blank}{shown}{blank}{fence}"


def _sentence(result: Result) -> Shown:
    """`mark checkout: round_trips is 9, at most 4`."""
    counter = result.budget.counter
    if result.actual is None:
        return sanitise.line(f"{_shown(result.subject)}: nothing to check for {counter}{_but(result, _shown)}")
    return sanitise.line(f"{_shown(result.subject)}: {counter} is {_number(result.actual, counter)}, {result.budget.allowed}")


def _but(result: Result, show: Callable[[str], str]) -> str:
    """Why there is nothing to check, with the names that do occur."""
    about = result.budget.about
    if about == "capture":
        return ": it has no connection, or none that the filter selects"
    if not result.occurring:
        return f": no {about} occurs in it"
    return f": it does not occur; these do: {', '.join(show(name) for name in result.occurring)}"


def _evidence(groups: Iterable[EvidenceGroup], counter: str) -> list[Shown]:
    """Lines of a table: number of round trips, share of the counter, flight, SQL."""
    kept = list(groups)
    amounts = any(group.amount != group.times for group in kept)
    lines = []
    for group in kept:
        about = " ".join(part for part in (group.sqlstate and f"error {group.sqlstate}", sqltext.shorten(group.sql, _SQL_WIDTH)) if part)
        times = f"×{group.times}" if group.times else ""
        amount = [_number(group.amount, counter)] if amounts else []
        lines.append([times, *amount, group.flight or "…", group.why or about or ("" if group.flight else "others")])
    if not lines:
        return []
    head = ["", *([counter] if amounts else []), "flight", "about"]
    width = len(head)
    listed = table(head, lines, left=frozenset({width - 2, width - 1}))
    return listed if amounts else listed[1:]


def _number(number: int, counter: str) -> str:
    """A number with its unit, if it has one."""
    if counter.endswith("_ns"):
        return f"{number} ({ms(number)} ms)"
    return f"{number} ({size(number)})" if counter.endswith("_bytes") and number >= 1000 else str(number)


def _failed(results: Sequence[Result]) -> list[Result]:
    return [result for result in results if not result.is_kept]


def _count(results: Sequence[Result]) -> str:
    """`1 of 3 budgets not met`; without a number for a single budget."""
    failed, number = len(_failed(results)), len(results)
    if failed and number == 1:
        return "budget not met"
    return f"{failed} of {number} budgets not met" if failed else f"{number} budget{'' if number == 1 else 's'} met"


def _shown(text: str) -> Shown:
    """A name or a text from the wire on one line, not too long."""
    return sanitise.text(sqltext.shorten(text, _NAME_WIDTH) if len(text) > _NAME_WIDTH else text)


def _fence(text: str, least: int) -> str:
    """A run of backticks longer than any in the text."""
    return "`" * max(least, 1 + max((len(run) for run in re.findall("`+", text)), default=0))


def _data(lines: Iterable[Shown]) -> str:
    return "%0A".join(line.replace("%", "%25") for line in lines)


def _property(text: Shown) -> str:
    return _data([text]).replace(":", "%3A").replace(",", "%2C")
