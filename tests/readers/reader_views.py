"""Every view of a FILE, asked in one process: what the reading commands and the screen ask of a trace, without the command line around it.

look() reads a FILE as the commands do (a capture as it is, everything else imported first) and asks
the views it is given. A PgTraceError is an answer; whatever else comes out is a fault. Text has to
be text that UTF-8 can encode.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from pgtrace.ask import budgets
from pgtrace.ask.filter import parse
from pgtrace.ask.filter.counting import CountedTrace
from pgtrace.capture.importing import Import, is_capture
from pgtrace.capture.redacted import RedactedCopy
from pgtrace.compare.behaviour import Behaviour
from pgtrace.compare.diff import compare
from pgtrace.compare.side_by_side import SideBySide
from pgtrace.compare.turns import measure
from pgtrace.compare.variants import Variant
from pgtrace.errors import PgTraceError
from pgtrace.export import FORMATS
from pgtrace.export.golden import Order
from pgtrace.inspect import details
from pgtrace.inspect.details import NotKept
from pgtrace.inspect.executed import executed
from pgtrace.judge.advice import Advice
from pgtrace.legs.joins import find
from pgtrace.report import advice, answer, diff, messages, stats
from pgtrace.report import budgets as budget_report
from pgtrace.report import grouping as groups
from pgtrace.report.comparison import forms, web
from pgtrace.report.encoding import as_json
from pgtrace.report.joins import joins_as_text
from pgtrace.trace.noted_marks import mark_counters
from pgtrace.trace.trace import Trace

KEEP_BYTES = 64 * 1024 * 1024
FILTERS = (
    "error or ms > 0.1 or depth > 1",
    "fmt:binary rows > 0 or tx:idle or like:select",
    'type:Bind or type:CopyData or not sql ~ "select .*id"',
    "driver:psycopg user ~ . db ~ . app ~ . or mark:x",
    "stmt ~ . or sqlstate ~ 2 or rt = 1 or conn = 1",
)
BUDGETS = tuple(
    budgets.Budget.parse(text, about=about, name="" if about == "capture" else budgets.EACH)
    for about in ("capture", "driver", "mark", "statement")
    for text in ("round_trips=0", "errors=0")
)


def written(lines: Iterable[str | bytes]) -> int:
    """What an output does with text."""
    return sum(len(line if isinstance(line, bytes) else line.encode()) for line in lines)


def _stats(trace: Trace) -> None:
    written(stats.as_json(trace))
    for by in ("driver", "connection", "statement", "mark", "label", "file", "leg"):
        written([*stats.as_text(trace, by), *stats.more(trace, by)])
    for by in ("callsite", "tag.a"):
        grouping = groups.grouping(by)
        assert grouping is not None
        written(groups.as_text(parse("").over(trace), grouping))


def _joins(trace: Trace) -> None:
    joins = find(trace)
    if joins is not None:
        written(joins_as_text(joins))
        written(messages.rows_as_text(trace, range(len(trace.rows)), joins=joins))


def _show(trace: Trace) -> None:
    written(messages.rows_as_text(trace, range(len(trace.rows)), with_hex=True, with_fields=True, introduced=set()))


def _show_json(trace: Trace) -> None:
    for about in messages.rows_as_json(trace, range(len(trace.rows))):
        json.loads(as_json(about).encode())


def _export(name: str, **options: Any) -> Callable[[Trace], None]:
    def export(trace: Trace) -> None:
        for piece in FORMATS[name].load()(trace, **options):
            content = piece.content
            written([content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content])

    return export


def _redacted(trace: Trace) -> None:
    """A copy of each capture, blanked, and what it holds."""
    for path in trace.paths:
        with tempfile.TemporaryDirectory() as directory:
            out = Path(directory) / "copy"
            with closing(RedactedCopy(path, str(out), ["all"])) as copy:
                while copy.step():
                    pass
            with closing(Trace.open([out])) as copied:
                while copied.update():
                    pass
                _export("otlp")(copied)


def _advise(trace: Trace) -> None:
    found = Advice(trace, None)
    found.update()
    findings = found.findings()
    left = found.unexplained()
    written(advice.lines(trace, findings, left))
    written(answer.lines(trace, findings, left))
    written([as_json(advice.as_dict(trace, findings, left), indent=2)])


def _check(trace: Trace) -> None:
    results = budgets.evaluate(trace, BUDGETS)
    written(budget_report.as_text(results, everything=True))
    written([as_json(budget_report.as_dict(results), indent=2)])
    for form in budget_report.FORMATS.values():
        written(form(results))


def _filter(trace: Trace) -> None:
    for text in FILTERS:
        chosen = parse(text)
        selection = chosen.over(trace)
        for place in range(len(trace.rows)):
            selection.holds(place)
        counted = CountedTrace(chosen.over(trace))
        while counted.update():
            pass
        written(stats.as_json(counted))
        counted.close()


def _screen(trace: Trace) -> None:
    """What the screen asks of a row beside its messages."""
    for place in range(len(trace.rows)):
        row = trace.rows[place]
        if not trace.connections or not row.is_round_trip:
            continue
        try:
            executed(trace, place)
        except NotKept:
            pass
        for message in details.read(trace, place).messages:
            _ = message.argument, message.fields(), message.raw


def _diff(trace: Trace) -> None:
    both = [Behaviour.open(trace.paths, names=trace.files) for _ in range(2)]
    for one in both:
        while one.update():
            pass
    compared = compare(*both)
    written(text for _, text in diff.lines(compared, ["a", "b"]))
    written([as_json(diff.as_dict(compared, ["a", "b"]), indent=2)])
    for one in both:
        one.close()


def _compared(trace: Trace) -> None:
    """As `compare` measures captures, without their behaviour: that is what `diff` reads."""
    for unit in (1, next(iter(mark_counters(trace)), "x")):
        turns = [measure(trace, label, unit, find(trace), draws=True) for label in ("a", "b")]
        for turn in turns:
            turn.complete = True
        both = SideBySide([Variant(turn.label, [turn]) for turn in turns], unit)
        written([*forms.as_text(both), *forms.as_markdown(both), as_json(forms.as_dict(both), indent=2), web.as_html(both)])


VIEWS: dict[str, Callable[[Trace], None]] = {
    "stats": _stats,
    "show": _show,
    "show --json": _show_json,
    "joins": _joins,
    "export --to chrome": _export("chrome"),
    "export --to html": _export("html"),
    "export --to jsonl": _export("jsonl"),
    "export --to markdown": _export("markdown"),
    "export --to otlp": _export("otlp"),
    "export --to otlp --metrics": _export("otlp", metrics=True),
    "export --to otlp --redact": _redacted,
    "export --to pqtrace": _export("pqtrace"),
    "export --to pqtrace --order content": _export("pqtrace", order=Order.CONTENT, everything=True),
    "export --to pqtrace --plain": _export("pqtrace", plain=True),
    "export --to pcapng": _export("pcapng"),
    "advise": _advise,
    "check": _check,
    "--filter": _filter,
    "open": _screen,
    "compare": _compared,
    "diff": _diff,
}


@contextmanager
def opened(path: Path, scratch: Path, *, timeline: bool = True) -> Iterator[Trace]:
    """The FILE as a trace that was read to its end. Raises PgTraceError."""
    one: Import | None = None
    out = scratch / "imported"
    read = path
    try:
        if not is_capture(str(path)):
            one = Import(str(path), str(out), keep_bytes=KEEP_BYTES)
            read = out
        trace = Trace.open([read], names=[path], timeline=timeline)
        try:
            while one is not None and one.step():
                trace.update()
            while trace.update():
                pass
            if one is not None:
                one.notes()
                one.nothing_found()
            yield trace
        finally:
            trace.close()
    finally:
        if one is not None:
            one.close()
        shutil.rmtree(out, ignore_errors=True)


def look(path: Path, scratch: Path, views: Sequence[str] = tuple(VIEWS), *, timeline: bool = True) -> str:
    """Ask the views; the refusal where the FILE, or a view, says no."""
    refusal = ""
    try:
        with opened(path, scratch, timeline=timeline) as trace:
            for view in views:
                try:
                    VIEWS[view](trace)
                except PgTraceError as error:
                    refusal = str(error)
    except PgTraceError as error:
        refusal = str(error)
    assert "\x1b" not in refusal
    return refusal
