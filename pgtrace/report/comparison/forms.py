"""A comparison as text, Markdown and JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pgtrace import sanitise
from pgtrace.compare.side_by_side import SideBySide
from pgtrace.compare.variants import QUANTITIES, Spread, Variant, told_apart
from pgtrace.report.comparison.sections import Section, about, command, failures, sections, title
from pgtrace.report.markdown import plain
from pgtrace.report.table import table
from pgtrace.sanitise import EMPTY, Shown

SCHEMA: Final = "pgtrace.compare/1"


def as_text(found: SideBySide) -> Iterator[Shown]:
    """Lines for a terminal."""
    yield sanitise.line(title(found))
    for text in (*about(found), *failures(found)):
        yield sanitise.line(text)
    for section in sections(found):
        yield EMPTY
        yield sanitise.line(section.title)
        if section.rows:
            left = frozenset({0} | {place for place, cell in enumerate(section.rows[0]) if cell.role in ("sql", "flight")})
            for line in table(list(section.head), [[cell.text for cell in row] for row in section.rows], left=left):
                yield sanitise.line(f"  {line}")
        for note in section.notes:
            yield sanitise.line(f"  {note}")


def as_markdown(found: SideBySide) -> Iterator[Shown]:
    """Lines of a Markdown document."""
    yield Shown(f"# {plain(title(found))}")
    yield EMPTY
    for text in about(found):
        yield Shown(plain(text))
    for text in failures(found):
        yield EMPTY
        yield Shown(f"**{plain(text)}**")
    for section in sections(found):
        yield EMPTY
        yield Shown(f"## {plain(section.title)}")
        yield EMPTY
        yield from _table(section)
        if section.rows and section.notes:
            yield EMPTY
        for note in section.notes:
            yield Shown(f"- {plain(note)}")


def _table(section: Section) -> Iterator[Shown]:
    if not section.rows:
        return
    yield Shown(f"| {' | '.join(map(plain, section.head))} |")
    marks = ["---" if not place or cell.role in ("sql", "flight") else "---:" for place, cell in enumerate(section.rows[0])]
    yield Shown(f"|{'|'.join(marks)}|")
    for row in section.rows:
        yield Shown(f"| {' | '.join(plain(cell.text) for cell in row)} |")


def as_dict(found: SideBySide) -> dict[str, Any]:
    """The object of `compare --json`."""
    return {
        "schema": SCHEMA,
        "unit": found.unit if isinstance(found.unit, str) else None,
        "concurrency": found.concurrency,
        "complete": found.is_complete,
        "notes": list(found.notes),
        "variants": [_variant(found, variant) for variant in found.variants],
        "not_told_apart": {
            quantity.key: [[one.label, other.label] for one, other in pairs]
            for quantity in QUANTITIES
            if (pairs := told_apart(found.variants, quantity))
        },
        "statements": [
            {
                "sql": one.sql,
                "variants": {
                    label: {
                        "round_trips": facts.round_trips,
                        "executions": facts.executions,
                        "parses": facts.parses,
                        "reused": facts.reused,
                        "parameters": sorted(facts.parameters),
                        "results": sorted(facts.results),
                        "errors": dict(facts.errors),
                        "flights": dict(facts.flights.most_common()),
                    }
                    for label, facts in one.facts.items()
                },
            }
            for one in found.statements
        ],
    }


def _variant(found: SideBySide, variant: Variant) -> dict[str, Any]:
    added = variant.control.added
    return {
        "label": variant.label,
        "drivers": list(variant.drivers),
        "numbers": {
            quantity.key: {
                **_spread(variant.spread(quantity)),
                "unit": quantity.unit or None,
                "command": command(found, variant, quantity) or None,
            }
            for quantity in QUANTITIES
            if variant.knows(quantity)
        },
        "sqlstates": dict(variant.sqlstates),
        "distances": [
            {
                "rtt_ns": one.rtt_ns,
                "round_trips": one.round_trips,
                "computed_ms": one.computed,
                "measured_ms": _spread(one.measured),
            }
            for one in variant.distances()
        ],
        "direct_ms": _spread(added[0]) if added else None,
        "through_ms": _spread(added[1]) if added else None,
        "changes": [
            {
                "kind": change.kind,
                "words": change.words,
                "round_trips": change.round_trips,
                "setup_round_trips": change.setup_round_trips,
                "statement": change.statement or None,
            }
            for change in found.changes.get(variant.label, [])
        ],
        "failures": list(variant.failures),
        "turns": [
            {
                "file": turn.path if found.are_kept else None,
                "rtt_ns": turn.rtt_ns,
                "units": turn.units,
                "complete": turn.complete,
                "connections": turn.connections,
                "took_ns": turn.took_ns,
                "counters": turn.counters.as_dict(),
                "times": turn.times.as_dict(),
                "joins": turn.joins,
            }
            for turn in variant.turns
        ],
    }  # fmt: skip


def _spread(spread: Spread) -> dict[str, float]:
    return {"median": spread.median, "low": spread.low, "high": spread.high, "turns": spread.turns}
