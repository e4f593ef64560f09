"""The lines of code behind findings, where the program noted them (trace/call_sites.py).

A row belongs to the finding of its kind and driver, and if there are several of these, to the one
about its statement.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from pgtrace import sqltext
from pgtrace.callsites.notes import Site
from pgtrace.judge.advice import Advice
from pgtrace.judge.finding import Finding


def with_lines(advice: Advice, findings: Sequence[Finding]) -> list[Finding]:
    """The findings with their lines of code, each with the number of its rows, most first."""
    trace = advice.trace
    counted: list[Counter[Site]] = [Counter() for _ in findings]
    if not trace.call_sites.is_empty:
        about: dict[tuple[str, str], list[int]] = {}
        for number, finding in enumerate(findings):
            about.setdefault((finding.name, finding.driver), []).append(number)
        texts: dict[int, str] = {}
        for place in range(len(trace.rows)):
            kind = advice.kind_at(place)
            sites = trace.call_sites.at(place) if kind is not None else ()
            if kind is None or not sites:
                continue
            entry = trace.rows.entry(place)
            numbers = about.get((kind.name, trace.connections[entry.connection].driver), [])
            if len(numbers) > 1:
                text = texts.get(entry.label)
                if text is None:
                    text = texts[entry.label] = sqltext.normalise(trace.rows.label_at(entry.label).sql)
                numbers = [number for number in numbers if text and text in findings[number].note.subject]
            for number in numbers[:1]:
                counted[number].update(sites)
    return [replace(finding, lines=tuple(counts.most_common())) for finding, counts in zip(findings, counted, strict=True)]
