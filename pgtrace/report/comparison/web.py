"""A comparison as one HTML page: tables, whose numbers link to the commands that list what they
count, and a waterfall of one unit for each variant, all on the same time scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pgtrace import sqltext
from pgtrace.compare.side_by_side import SideBySide
from pgtrace.compare.turns import BARS_KEPT, Bar
from pgtrace.compare.variants import Variant
from pgtrace.report.comparison.sections import Cell, Section, about, duration, failures, sections, title
from pgtrace.report.page.html import Markup, element, escaped, heads, joined, name
from pgtrace.report.page.page import document

_SCALE: Final = 1000
_SQL_WIDTH: Final = 120


def as_html(found: SideBySide) -> str:
    """The page."""
    commands: dict[str, int] = {}
    parts = [element("h1", title(found)), *(element("p", text) for text in about(found))]
    parts += [element("p", text, class_="wrong") for text in failures(found)]
    tables = [_section(section, commands) for section in sections(found)]
    parts += [*tables[:4], *_waterfalls(found), *tables[4:]]
    if commands:
        listed = [element("li", element("code", text), id=f"n{place}") for text, place in commands.items()]
        parts += [
            element("h2", "What each number counts"),
            element("p", "Each number links to the command that lists the round trips it counts."),
            element("ol", *listed),
        ]
    return document(title(found), *parts)


def _section(section: Section, commands: dict[str, int]) -> Markup:
    parts = [element("h2", section.title)]
    if section.rows:
        rows = [
            element(
                "tr",
                element("th", row[0].text, scope="row", class_=row[0].role or None),
                *(element("td", _linked(cell, commands), class_=cell.role or None) for cell in row[1:]),
            )
            for row in section.rows
        ]
        body = element("table", heads(section.head), element("tbody", *rows))
        parts.append(element("div", body, class_="wide", tabindex=0, role="region", aria_label=section.title))
        parts += [element("p", note, class_="quiet") for note in section.notes]
    else:
        parts.append(element("ul", *(element("li", note) for note in section.notes)))
    return element("section", *parts)


def _linked(cell: Cell, commands: dict[str, int]) -> Markup:
    if not cell.command:
        return escaped(cell.text)
    place = commands.setdefault(cell.command, len(commands) + 1)
    return element("a", cell.text, href=f"#n{place}", title=cell.command)


def _waterfalls(found: SideBySide) -> Iterator[Markup]:
    drawn = [(variant, bars) for variant in found.variants for bars in [_bars(variant)] if bars]
    if not drawn:
        return
    longest_ns = max(bar.closed_ns for _, bars in drawn for bar in bars) or 1
    unit = f"One {found.unit!r}" if isinstance(found.unit, str) else "One unit of work"
    yield element("h2", f"{unit}, round trip by round trip")
    yield element(
        "p",
        element("span", class_="key setup"),
        "set-up",
        element("span", class_="key wait"),
        "until the first byte",
        element("span", class_="key first"),
        "until the last",
        f". All bars have one scale: {longest_ns / 1e6:.2f} ms.",
    )
    yield element("div", *(_card(variant, bars, longest_ns) for variant, bars in drawn), class_="cards")


def _bars(variant: Variant) -> tuple[Bar, ...]:
    return next((turn.bars for turn in variant.nearest if turn.bars), ())


def _card(variant: Variant, bars: tuple[Bar, ...], longest_ns: int) -> Markup:
    took_ns = max(bar.closed_ns for bar in bars)
    rtt_ns = variant.nearest[0].rtt_ns
    at = f" at {duration(rtt_ns)}" if rtt_ns else ""
    connections = len({bar.connection for bar in bars})
    summary = f"{len(bars)} round trip{'' if len(bars) == 1 else 's'}"
    summary += f" on {connections} connections" if connections > 1 else ""
    summary += f" in {took_ns / 1e6:.2f} ms{at}"
    summary += f": the first {BARS_KEPT}" if len(bars) == BARS_KEPT else ""
    return element(
        "div",
        element("h3", name(variant.label)),
        element("p", summary, class_="quiet"),
        *(_row(bar, longest_ns, named=connections > 1) for bar in bars),
        class_="card",
    )


def _row(bar: Bar, longest_ns: int, *, named: bool) -> Markup:
    """One round trip; `named` if its connection is not the only one."""
    begin, end = bar.opened_ns * _SCALE / longest_ns, bar.closed_ns * _SCALE / longest_ns
    first = begin if bar.first_ns is None else min(end, begin + bar.first_ns * _SCALE / longest_ns)
    role = "wrong" if bar.error else "setup" if bar.setup else "wait"
    drawn = [element("rect", x=f"{begin:.2f}", y=0, width=f"{max(1.5, first - begin):.2f}", height=10, class_=role)]
    if end > first:
        drawn.append(element("rect", x=f"{first:.2f}", y=0, width=f"{end - first:.2f}", height=10, class_="first"))
    picture = element("svg", *drawn, viewBox=f"0 0 {_SCALE} 10", preserveAspectRatio="none", aria_hidden="true")
    text = sqltext.shorten(bar.sql, _SQL_WIDTH) + (f"  {bar.error}" if bar.error else "")
    who = joined(element("span", bar.connection, class_="conn"), " ") if named else escaped("")
    words = joined(who, element("span", bar.flight, class_="flight"), " ", element("span", text, class_="sql quiet"))
    hint = f"{bar.connection}, row {bar.place + 1}: {(bar.closed_ns - bar.opened_ns) / 1e6:.2f} ms  {bar.flight}  {text}"
    return element("div", picture, element("div", words), class_="bar", title=hint)
