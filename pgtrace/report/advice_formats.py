"""Findings in machine-readable reports: SARIF 2.1.0, JUnit XML, GitHub Actions annotations.

A result is placed at the line of code that sent the statement if the capture has it, else at the
capture. Findings that fail the job (`--fail-on`, `--baseline`) are errors, others are warnings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePath
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from pgtrace import __version__, sanitise
from pgtrace.callsites.notes import Site
from pgtrace.judge.baseline import UNEXPLAINED, Verdict, identity
from pgtrace.judge.finding import Finding
from pgtrace.judge.findings import KINDS
from pgtrace.judge.unexplained import Unexplained
from pgtrace.report import advice, filenames
from pgtrace.report.encoding import as_json
from pgtrace.sanitise import Shown
from pgtrace.trace.trace import Trace

SARIF_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_SITES_NAMED: Final = 8


def as_sarif(trace: Trace, findings: Sequence[Finding], unexplained: Unexplained, verdict: Verdict | None) -> Iterator[Shown]:
    """A SARIF run: a rule for each kind, and a result for each finding and each unexplained
    SQLSTATE or end.
    """
    rules = [
        {
            "id": kind.name,
            "shortDescription": {"text": kind.why},
            "defaultConfiguration": {"level": "warning"},
            "help": {"text": "\n".join(remedy.text for remedy in kind.remedies)},
        }
        for kind in KINDS
    ]
    rules.append({"id": UNEXPLAINED, "shortDescription": {"text": "An error, or an end of a session, that no finding explains."}})
    numbers = {rule["id"]: number for number, rule in enumerate(rules)}
    results = [_result(trace, finding, numbers, verdict) for finding in findings]
    for what, times in {**unexplained.errors, **unexplained.ends}.items():
        results.append(
            {
                "ruleId": UNEXPLAINED,
                "ruleIndex": numbers[UNEXPLAINED],
                "level": "error" if verdict is not None and what in verdict.unexplained else "note",
                "message": {"text": sanitise.text(f"{what} x{times}: no finding explains it")},
                "locations": [_location(None, trace)],
                "partialFingerprints": {"finding/v1": _fingerprint((UNEXPLAINED, what))},
            }
        )
    driver = {"name": "pgtrace", "version": __version__, "rules": rules}
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    yield as_json({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _result(trace: Trace, finding: Finding, numbers: dict[Any, int], verdict: Verdict | None) -> dict[str, Any]:
    sites: list[Site | None] = [*_sites(finding)]
    return {
        "ruleId": finding.name,
        "ruleIndex": numbers[finding.name],
        "level": _level(finding, verdict),
        "message": {"text": _sentence(finding)},
        "locations": [_location(site, trace) for site in sites[:1] or [None]],
        **({"relatedLocations": [_location(site, trace) for site in sites[1:]]} if sites[1:] else {}),
        "partialFingerprints": {"finding/v1": _fingerprint(identity(finding))},
        **({"baselineState": "new" if finding in verdict.findings else "unchanged"} if verdict is not None else {}),
        "properties": {
            "roundTrips": finding.cost,
            "number": finding.number,
            "unit": finding.kind.unit,
            "driver": sanitise.text(finding.driver),
            "layer": sanitise.text(finding.layer),
            "evidence": [advice.evidence_line(trace, one) for one in finding.evidence],
        },
    }


def _level(finding: Finding, verdict: Verdict | None) -> str:
    if verdict is not None:
        return "error" if finding in verdict.findings else "note"
    return "error" if finding.failed else "warning"


def _location(site: Site | None, trace: Trace) -> dict[str, Any]:
    if site is None:
        return {"physicalLocation": {"artifactLocation": {"uri": _uri(_capture(trace))}}}
    return {
        "physicalLocation": {"artifactLocation": {"uri": _uri(site.file)}, "region": {"startLine": max(1, site.line)}},
        "logicalLocations": [{"name": sanitise.text(site.function), "kind": "function"}],
    }


def _capture(trace: Trace) -> str:
    """The first capture: its path in the checkout, or its name."""
    name = trace.files[0]
    return filenames.sent(name) if PurePath(name).is_absolute() else name


def _uri(path: str) -> str:
    from urllib.parse import quote

    pure = PurePath(path)
    return quote(pure.as_posix().encode("utf-8", "surrogateescape"), safe="/") if not pure.is_absolute() else pure.as_uri()


def _sites(finding: Finding) -> list[Site]:
    """The finding's lines of code, those with most rows first."""
    return [site for site, _ in finding.lines[:_SITES_NAMED]]


def _fingerprint(what: tuple[str, ...]) -> str:
    return hashlib.sha256("\0".join(what).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _sentence(finding: Finding) -> Shown:
    remedies = " | ".join(finding.remedies)
    return sanitise.text(f"{advice.cost(finding)}: {finding.what}. Remedy: {remedies}")


def as_junit(trace: Trace, findings: Sequence[Finding], unexplained: Unexplained, verdict: Verdict | None) -> Iterator[Shown]:
    """JUnit XML: a test case for each finding and each unexplained failure. Those that fail the job
    have failed; without `verdict` all have.
    """
    return map(sanitise.line, _junit(trace, findings, unexplained, verdict))


def _junit(trace: Trace, findings: Sequence[Finding], unexplained: Unexplained, verdict: Verdict | None) -> Iterator[str]:
    left = {**unexplained.errors, **unexplained.ends}
    fails = [verdict is None or finding in verdict.findings for finding in findings]
    left_fails = [verdict is None or what in verdict.unexplained for what in left]
    tests, failures = len(fails) + len(left_fails), sum(fails) + sum(left_fails)
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield f'<testsuites tests="{tests}" failures="{failures}" errors="0">'
    yield f'  <testsuite name="pgtrace advise" tests="{tests}" failures="{failures}" errors="0" skipped="0" time="0">'
    for finding, failed in zip(findings, fails, strict=True):
        evidence = [advice.evidence_line(trace, one) for one in finding.evidence]
        yield from _case(finding.name, f"{advice.who(finding)}: {finding.what}", _sentence(finding), evidence, failed=failed)
    for (what, times), failed in zip(left.items(), left_fails, strict=True):
        words = sanitise.text(f"{what} x{times}: no finding explains it")
        yield from _case(UNEXPLAINED, sanitise.text(what), words, [], failed=failed)
    yield "  </testsuite>"
    yield "</testsuites>"


def _case(kind: str, name: str, message: str, evidence: Sequence[str], *, failed: bool) -> Iterator[str]:
    case = f'    <testcase classname="pgtrace.{kind}" name={quoteattr(sanitise.text(name))} time="0"'
    if not failed:
        yield f"{case}/>"
        return
    yield f"{case}>"
    yield f'      <failure type="{kind}" message={quoteattr(sanitise.text(message))}>'
    yield from (escape(line) for line in evidence)
    yield "      </failure>"
    yield "    </testcase>"


def as_github(trace: Trace, findings: Sequence[Finding], unexplained: Unexplained, verdict: Verdict | None) -> Iterator[Shown]:
    """GitHub annotations, at the line of code if it is known: errors for findings that fail the
    job, warnings for the rest.
    """
    for finding in findings:
        word = "error" if _level(finding, verdict) == "error" else "warning"
        place = "".join(f"file={_property(site.file)},line={max(1, site.line)}," for site in _sites(finding)[:1])
        yield Shown(f"::{word} {place}title={_property(f'pgtrace: {finding.name}')}::{_data(_sentence(finding))}")
    for what, times in {**unexplained.errors, **unexplained.ends}.items():
        word = "error" if verdict is not None and what in verdict.unexplained else "warning"
        yield Shown(f"::{word} title={_property('pgtrace: unexplained')}::{_data(f'{what} x{times}: no finding explains it')}")
    yield sanitise.line(advice.summary(trace, findings, unexplained))


def _data(text: str) -> str:
    return sanitise.text(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


FORMATS: Final[dict[str, Callable[[Trace, Sequence[Finding], Unexplained, Verdict | None], Iterator[Shown]]]] = {
    "sarif": as_sarif,
    "junit": as_junit,
    "github": as_github,
}
"""Value of `--format`, except text and json -> its function."""
