"""The claims about drivers: each has a verdict or a reason, and the verdicts are those that were found before."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from examples.driver_evidence import evidence
from examples.driver_evidence.evidence import Stage, claims, decide, staged
from examples.driver_evidence.load import load
from pgtrace.report.page.page import STYLE

TOLD = claims()
SCENARIOS = evidence.HERE / "scenarios"
RESULTS = evidence.HERE / "results"
VERDICTS = {evidence.HOLDS, evidence.DOES_NOT, evidence.PARTLY, evidence.NOT_DECIDED}
OTHERS = frozenset({23})
"""Claims about drivers that these tests do not install: `make evidence` decides them."""


def runs_of(claim: dict[str, Any]) -> set[str]:
    text = json.dumps([claim.get("parts", []), claim.get("decided_by", "")])
    return set(claim.get("runs", [])) | set(re.findall(r"r\('([\w/-]+)'\)", text))


def test_all_48_claims_have_a_verdict_or_a_reason() -> None:
    assert [claim["number"] for claim in TOLD["claims"]] == list(range(1, 49))
    for claim in TOLD["claims"]:
        assert claim["says"].endswith(".")
        assert ("cannot" in claim) != ("parts" in claim and "decided_by" in claim), claim["number"]
        assert ("cannot" in claim) == ("expected" not in claim)
        assert claim.get("expected", evidence.NOT_DECIDED) in VERDICTS


def test_each_run_is_a_scenario() -> None:
    named = {run for claim in TOLD["claims"] for run in runs_of(claim)} | set(TOLD["runs"])
    assert {run.partition("/")[0] for run in named} == {path.stem for path in SCENARIOS.glob("*.py")} - {"common"}


def test_the_results_that_are_kept_are_those_that_are_expected() -> None:
    kept = json.loads((RESULTS / "evidence.json").read_text(encoding="utf-8"))
    expected = {claim["number"]: claim.get("expected", evidence.NOT_DECIDED) for claim in TOLD["claims"]}
    assert {one["number"]: one["verdict"] for one in kept["claims"]} == expected
    said = {claim["number"]: [part["says"] for part in claim.get("parts", ())] for claim in TOLD["claims"]}
    assert {one["number"]: [part["says"] for part in one["parts"]] for one in kept["claims"]} == said, "run make evidence"
    page = (RESULTS / "EVIDENCE.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert f"<style>{STYLE}</style>" in page, "run make evidence"
    assert all(f"| {number} |" in (RESULTS / "EVIDENCE.md").read_text(encoding="utf-8") for number in expected)
    pinned = dict(re.findall(r"^([\w-]+)(?:\[\w+\])?==(\S+)$", (evidence.HERE / "requirements.txt").read_text(), re.MULTILINE))
    assert kept["versions"] == {name: pinned[name] for name in evidence.DRIVERS}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("evidence"), sys.executable, TOLD) as found:
        yield found


@pytest.mark.live
@pytest.mark.parametrize(
    "claim",
    [claim for claim in TOLD["claims"] if "parts" in claim and claim["number"] not in OTHERS],
    ids=lambda claim: str(claim["number"]),
)
def test_a_verdict_is_the_expected_one(claim: dict[str, Any], stage: Stage) -> None:
    found = decide(claim, stage)
    assert evidence.is_expected(found, claim), found
    assert found.decided_by


def test_the_application_of_the_load_runs_in_a_python_named_from_here() -> None:
    """`make evidence-load` names it `.evidence/bin/python`; the application runs in its own directory."""
    with pytest.raises(SystemExit, match="no such variant: the application does not start"):
        load.run(os.path.relpath(sys.executable), "postgresql://", "no such variant", (1,), 1.0)


def test_the_tables_of_the_load_are_ratios_within_a_turn() -> None:
    def measured(p50_ms: float) -> list[load.Measured]:
        return [load.Measured(p50_ms, p50_ms, p50_ms, 100.0, 50.0, 1.0, 0) for _ in load.CLIENTS]

    through = {variant: [measured(3), measured(8)] for variant in load.VARIANTS}
    directly = {variant: [measured(2), measured(4)] for variant in load.VARIANTS}
    wire = {variant: {"requests": 10, "round trips": 30, "transactions": 10, "wait part": 0.5} for variant in load.VARIANTS}
    found = load.lines(load.CLIENTS, through, directly, wire)
    assert load.ratios([3, 8], [2, 4]) == "1.75 (1.50-2.00)"
    assert sum("1.75 (1.50-2.00)" in line for line in found) == len(load.VARIANTS) * len(load.CLIENTS)
    assert any("3.00" in line and "50%" in line for line in found)
