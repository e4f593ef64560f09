"""Counters and rows in a few words, for windows and failures.

Everything from the wire is made safe to show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from pgtrace import sanitise
from pgtrace.judge.finding import Finding
from pgtrace.testing.counted import shown_sql
from pgtrace.trace.counters import Counters
from pgtrace.trace.row import Row, RowKind
from pgtrace.trace.trace import Trace

_SITES_SHOWN = 2
_HTML_COLUMNS: Final = ("setup_round_trips", "round_trips", "executions", "pipelined_executions", "errors", "rows")
_FINDINGS_SHOWN: Final = 10
_NOT_SHOWN = frozenset({RowKind.MARK, RowKind.RUN, RowKind.CLOSED})


def summary(counters: Counters) -> str:
    """The most important numbers in a few words."""
    count = counters.round_trips
    text = f"{count} round trip{'' if count == 1 else 's'}"
    return f"{text}, {counters.setup_round_trips} to set up" if counters.setup_round_trips else text


def flight_lines(trace: Trace, rows: Sequence[Row], *, most: int | None = None, marked: frozenset[int] = frozenset()) -> list[str]:
    """Rows in flight notation: number, connection if there are several, flight, SQL; equal
    neighbours folded.

    At most `most` lines. Twice as many if that shows more rows with a number in `marked`, which get
    a `>`.
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
    words += [f"at {sanitise.text(site.words)}" for site in trace.call_sites.at(row.number - 1)[:_SITES_SHOWN]]
    return shape.flight, "  ".join(words)


def as_html(names: Sequence[str], all_: Counters, drivers: Mapping[str, Counters], findings: Sequence[Finding]) -> str:
    """A capture as a table for a notebook: counters by driver, and the most costly findings."""

    def row(cells: Sequence[object], kind: str = "td") -> str:
        return f"<tr>{''.join(f'<{kind}>{escape(sanitise.text(str(cell)))}</{kind}>' for cell in cells)}</tr>"

    def numbers(counters: Counters) -> list[object]:
        found = counters.as_dict()
        return [*(found[name] for name in _HTML_COLUMNS), f"{counters.wait_ns / 1e6:.2f}"]

    heads = ["driver", *(name.replace("_", " ") for name in _HTML_COLUMNS), "wait ms"]
    lines = [row(["all", *numbers(all_)]), *(row([driver, *numbers(counters)]) for driver, counters in drivers.items())]
    found = [
        f"<li><b>{escape(finding.name)}</b> ({escape(sanitise.text(finding.driver))}, {finding.cost} round trips): "
        f"{escape(sanitise.text(finding.what))}</li>"
        for finding in findings[:_FINDINGS_SHOWN]
    ]
    more = f"<p>and {len(findings) - _FINDINGS_SHOWN} findings more</p>" if len(findings) > _FINDINGS_SHOWN else ""
    title = f"<p>{escape(sanitise.text(', '.join(names)))}</p>"
    return f"{title}<table><thead>{row(heads, 'th')}</thead><tbody>{''.join(lines)}</tbody></table><ul>{''.join(found)}</ul>{more}"
