"""A trace as a single HTML page to send: summary, findings, costliest statements, and a waterfall
of all round trips with their messages.

The file loads nothing. The first part consists of elements. The round trips are columns in one
compressed block, and their messages are in blocks of BLOCK round trips, unpacked when you look at
them. So even a page of MOST round trips opens at once. If there are more, the page has the longest
and the failed ones, and says so. All text passes sanitise.py; html.js shows it only as text, and
the page's policy runs no other script.
"""

from __future__ import annotations

import base64
import gzip
import heapq
import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from typing import Any, Final

from pgtrace import sanitise, sqltext
from pgtrace.export import Piece
from pgtrace.export.markdown import HEAD, STATEMENTS_HEAD, numbers, statement_numbers
from pgtrace.inspect import details
from pgtrace.judge.advice import Advice
from pgtrace.judge.finding import Finding
from pgtrace.judge.lines import with_lines
from pgtrace.protocol.codes import BACKEND_NAMES, FRONTEND_NAMES
from pgtrace.report import advice, filenames
from pgtrace.report.encoding import as_json
from pgtrace.report.page.html import Markup, element, heads
from pgtrace.report.page.page import document
from pgtrace.trace.files import letters
from pgtrace.trace.row import RowKind
from pgtrace.trace.trace import Trace

MOST: Final = 50_000
BLOCK: Final = 500
"""How many round trips' messages are unpacked together; html.js has the same number."""
_STEP_S: Final = 0.2
_STATEMENTS: Final = 50
_MESSAGES: Final = 200
"""The most messages that are shown of one round trip."""
_RUN: Final = 20
_WORDS: Final = 400
_COLUMNS: Final = ("row", "began", "took", "first", "connection", "sql", "flight", "error", "count", "setup", "code")
_HEADS: Final = (("row", "number"), ("conn", "who"), ("ms", "number"), ("messages", "flight"), ("SQL or error", "sql"), ("when", "when"))
"""The columns of the list of round trips."""
_COLOURS: Final = (("wait", "round trip"), ("setup", "set-up of a connection"), ("wrong", "error"))
_LETTERS: Final = (("The driver sends", FRONTEND_NAMES, "PBDESHCQX"), ("The server sends", BACKEND_NAMES, "123tTnDCsEZ"))
"""The frequent letters of flights, for the legend; every message is named below its round trip."""
_HERE: Final = "<!--blocks-->"


def export(trace: Trace, *, places: Iterable[int] | None = None, counted: Trace | None = None) -> Iterator[Piece]:
    """The file in pieces: the page up to the blocks, the blocks, the end."""
    selected = None if places is None else array("I", places)
    found = Advice(trace, None if selected is None else frozenset(selected).__contains__)
    while not found.update(_STEP_S):
        yield Piece("", 0.1 * found.progress, "looking for findings")
    yield Piece("", 0.1, "building the page")
    places, left_out = chosen(trace, selected)
    page = _page(trace, counted or trace, with_lines(found, found.findings()), found, set(places), left_out)
    before, _, after = page.partition(_HERE)
    yield Piece(before + _block("columns", _columns(trace, places)), 0.2, "adding messages")
    for number, start in enumerate(range(0, len(places), BLOCK)):
        messages = [_messages(trace, place) for place in places[start : start + BLOCK]]
        yield Piece(_block(f"block{number}", messages), 0.2 + 0.8 * min(1, (start + BLOCK) / len(places)), "adding messages")
    yield Piece(after, 1.0)


def chosen(trace: Trace, selected: Sequence[int] | None = None, most: int = MOST) -> tuple[list[int], int]:
    """The places of the round trips on the page, out of all or of those selected, and how many are
    left out.
    """
    rows = trace.rows
    kinds: dict[int, tuple[bool, bool]] = {}
    costs: list[tuple[float, int]] = []
    for place in range(len(rows)) if selected is None else selected:
        entry = rows.entry(place)
        if entry.shape not in kinds:
            shape = rows.shape_at(entry.shape)
            kinds[entry.shape] = shape.kind <= RowKind.SETUP, bool(shape.errors)
        is_round_trip, failed = kinds[entry.shape]
        if is_round_trip:
            costs.append((math.inf if failed or entry.is_open else entry.duration_ms, place))
    if len(costs) <= most:
        return [place for _, place in costs], 0
    return sorted(place for _, place in heapq.nlargest(most, costs)), len(costs) - most


def _block(name: str, about: Any) -> str:
    packed = base64.b64encode(gzip.compress(as_json(about).encode(), 6, mtime=0)).decode()
    return f'<script type="application/octet-stream" id="{name}">{packed}</script>\n'


def _columns(trace: Trace, places: Sequence[int]) -> dict[str, Any]:
    texts: dict[str, int] = {"": 0}
    columns: dict[str, list[int]] = {name: [] for name in _COLUMNS}
    names: dict[int, tuple[int, str]] = {}
    before_us = 0
    for place in places:
        row = trace.rows[place]
        if row.connection not in names:
            names[row.connection] = len(names), sanitise.text(trace.name_of(trace.connections[row.connection]))
        began_us = row.opened_ns // 1000
        failed = " ".join(part for part in (row.label.error or ("error" if row.shape.errors else ""), row.label.end) if part)
        sites = "; ".join(site.words for site in trace.call_sites.at(place))
        values = (
            row.number,
            began_us - before_us,
            -1 if row.duration_ns is None else row.duration_ns // 1000,
            -1 if row.first_ns is None else row.first_ns // 1000,
            names[row.connection][0],
            *(texts.setdefault(one, len(texts)) for one in (row.label.sql, row.shape.flight, failed)),
            row.rows,
            int(row.shape.kind is RowKind.SETUP),
            texts.setdefault(sites, len(texts)),
        )
        for name, value in zip(_COLUMNS, values, strict=True):
            columns[name].append(value)
        before_us = began_us
    return {
        **columns,
        "texts": [sanitise.text(one, newline="\n") for one in texts],
        "names": [name for _, name in names.values()],
        "end": trace.duration_ns // 1000,
    }


def _messages(trace: Trace, place: int) -> tuple[list[tuple[int, str, int, int, str]], str]:
    found = details.read(trace, place, _RUN)
    messages: list[tuple[int, str, int, int, str]] = []
    for message in found.messages[:_MESSAGES]:
        name = f"{message.name} ×{message.count}" if message.count > 1 else message.name
        says = sanitise.text(message.argument) + (" (skipped by the server)" if message.skipped else "")
        says = says if len(says) <= _WORDS else says[: _WORDS - 1] + "…"
        messages.append((message.side, sanitise.text(name), message.time_ns // 1000, message.size, says))
    note = f"the first {_MESSAGES} messages" if len(found.messages) > _MESSAGES else found.note
    return messages, note


def _page(trace: Trace, counted: Trace, findings: Sequence[Finding], found: Advice, places: set[int], left_out: int) -> str:
    left = found.unexplained()
    names = filenames.all_of(trace)
    title = f"pgtrace: {names[0] if len(names) == 1 else f'{len(names)} captures'}"
    parts = [element("h1", title)]
    if len(names) > 1:
        parts.append(element("p", ", ".join(f"{letters(number)}: {name}" for number, name in enumerate(names)), class_="quiet"))
    parts.append(element("p", f"{advice.summary(trace, findings, left)}."))
    if left:
        parts.append(element("p", f"{advice.left(left)}.", class_="wrong"))
    if not trace.complete:
        parts.append(element("p", "The capture is not complete.", class_="wrong"))
    if trace.redacted:
        parts.append(element("p", f"Blanked: {blanked(trace)}.", class_="quiet"))
    if counted.filter is not None:
        parts.append(element("p", "Only the round trips that this filter selects: ", element("code", counted.filter)))
    drivers = counted.drivers()
    rows = [[name, *numbers(number, counters)] for name, number, counters in drivers]
    if len(rows) != 1:
        rows.insert(0, ["all", *numbers(counted.counted, counted.totals())])
    parts.append(_table("Counts by driver", HEAD, rows))
    if findings:
        parts += [element("h2", "Findings"), element("div", *(_finding(trace, one, places) for one in findings), class_="cards")]
    views = sorted(counted.statements(), key=lambda view: -view.group.wait.total)
    if views:
        parts.append(element("h2", "Costliest statements"))
        parts.append(
            _table(
                "Costliest statements",
                STATEMENTS_HEAD,
                [[sqltext.shorten(view.group.sql, _WORDS), view.driver, *statement_numbers(view)] for view in views[:_STATEMENTS]],
            )
        )
        if len(views) > _STATEMENTS:
            parts.append(element("p", f"And {len(views) - _STATEMENTS} more.", class_="quiet"))
    parts.append(element("h2", "Round trips"))
    if left_out:
        parts.append(element("p", f"The {MOST} that failed or took longest; {left_out} others are left out."))
    parts += [
        element(
            "div",
            element("input", id="find", type="search", placeholder="Find in SQL, errors, flights", aria_label="Find round trips"),
            element("button", "Zoom in", id="in", type="button"),
            element("button", "Zoom out", id="out", type="button"),
            element("button", "All", id="all", type="button"),
            class_="tools",
        ),
        _legend(),
        element("canvas", id="chart", role="img", aria_label="When round trips were under way; drag to zoom"),
        element("p", id="told", class_="quiet", role="status"),
        element(
            "div",
            _heads(),
            element("div", id="space", role="presentation"),
            element("div", id="rows", role="rowgroup"),
            id="list",
            role="grid",
            tabindex=0,
            aria_label="Round trips: arrows move, plus and minus zoom",
            aria_rowcount=1,
        ),
        element("div", element("p", "Choose a round trip to see its messages.", class_="quiet"), id="about"),
        Markup(_HERE),
    ]
    room = resources.files("pgtrace.export")
    style, script = ((room / name).read_text("utf-8") for name in ("html.css", "html.js"))
    return document(title, *parts, style=style, script=script)


def _heads() -> Markup:
    """The heading of the list of round trips."""
    cells = (element("span", head, class_=kind, role="columnheader") for head, kind in _HEADS)
    return element("div", element("div", *cells, class_="line", role="row"), id="heads", role="rowgroup")


def _pair(*parts: str) -> Markup:
    """A symbol and its meaning, on one line."""
    return element("span", *parts, class_="pair")


def _legend() -> Markup:
    """The legend of columns, colours and letters."""
    colours = (_pair(element("span", class_=f"key {kind}"), words) for kind, words in _COLOURS)
    intro = (
        element("p", f"{who}: ", *(_pair(element("code", letter), f" {names[ord(letter)]}") for letter in codes))
        for who, names, codes in _LETTERS
    )
    return element(
        "details",
        element("summary", "How to read this"),
        element("p", *colours),
        element(
            "p",
            "Each round trip is one wait of the driver for the network. Each of its messages is a letter: "
            "first what the driver sent, then an arrow, then what the server answered. A run of rows is one ",
            element("code", "D"),
            ".",
        ),
        *intro,
        class_="quiet",
    )


def blanked(trace: Trace) -> str:
    """The kinds of values that are blanked in some capture of the trace, in words."""
    return ", ".join(sorted({kind for (_, what), value in trace.settings.items() if what == "redact" for kind in value.split(",") if kind}))


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    role = "sql" if head[0] == "statement" else None
    body = [element("tr", element("th", row[0], scope="row", class_=role), *(element("td", cell) for cell in row[1:])) for row in rows]
    return element(
        "div", element("table", heads(head), element("tbody", *body)), class_="wide", tabindex=0, role="region", aria_label=title
    )


def _finding(trace: Trace, finding: Finding, places: set[int]) -> Markup:
    who = ", ".join(part for part in (advice.who(finding), advice.connections(trace, finding)) if part)
    evidence = []
    for one in finding.evidence:
        time, name, flight, about, words = advice.evidence_parts(trace, one)
        when = f"{time} {name}"
        linked = element("a", when, href=f"#row{one.place + 1}") if one.place in places else when
        evidence.append(
            element("li", linked, " ", element("code", f"{flight} "), element("code", about), element("span", f" {words}", class_="quiet"))
        )
    return element(
        "div",
        element("h3", f"{advice.cost(finding)}: {finding.name} ({who})"),
        element("p", advice.what(finding)),
        element("p", finding.kind.why, class_="quiet"),
        element(
            "ul", *evidence, *(element("li", "Code: ", element("code", advice.code_line(site, times))) for site, times in finding.lines[:8])
        ),
        *(element("p", element("strong", "Remedy: "), remedy) for remedy in finding.remedies),
        class_="card",
    )
