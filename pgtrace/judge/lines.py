"""The lines of code behind findings, if the program noted them (trace/call_sites.py).

A row belongs to the findings of its kinds and its driver. If there are several of one kind, it
belongs to the one about its statement. If one occurrence has several rows (BEGIN, a statement,
COMMIT), Kind.is_counted says which of them counts.
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
            for name in (finding.name, *finding.note.parts):
                about.setdefault((name, finding.driver), []).append(number)
        texts: dict[int, str] = {}
        for place in range(len(trace.rows)):
            kinds = advice.kinds_at(place)
            sites = trace.call_sites.at(place) if kinds else ()
            if not sites:
                continue
            entry = trace.rows.entry(place)
            driver = trace.connections[entry.connection].driver
            found = set()
            for kind in kinds:
                if not kind.is_counted(trace.rows.shape_at(entry.shape)):
                    continue
                numbers = about.get((kind.name, driver), [])
                if len(numbers) > 1:
                    text = texts.get(entry.label)
                    if text is None:
                        text = texts[entry.label] = sqltext.normalise(trace.rows.label_at(entry.label).sql)
                    numbers = [number for number in numbers if text and findings[number].note.is_about(text)]
                found.update(numbers[:1])
            for number in found:
                counted[number].update(sites)
    return [replace(finding, lines=tuple(counts.most_common())) for finding, counts in zip(findings, counted, strict=True)]
