"""The GitHub action: its files are what GitHub takes, its script runs a program, annotates, summarises, and fails where it should."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.live
ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("schema", "file"),
    [("github-actions", "action.yml"), ("github-workflows", "examples/ci/github.yml"), ("gitlab-ci", "examples/ci/gitlab.yml")],
)
def test_a_file_is_what_its_reader_takes(schema: str, file: str) -> None:
    command = [TOOLS / "check-jsonschema", "--builtin-schema", f"vendor.{schema}", file]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout


def test_the_example_uses_inputs_and_outputs_that_there_are() -> None:
    (step,) = [
        step
        for step in yaml.safe_load((ROOT / "examples/ci/github.yml").read_text("utf-8"))["jobs"]["round-trips"]["steps"]
        if step.get("id") == "pgtrace"
    ]
    assert set(step["with"]) <= set(ACTION["inputs"])
    asked = set(re.findall(r"steps\.pgtrace\.outputs\.([\w-]+)", (ROOT / "examples/ci/github.yml").read_text("utf-8")))
    assert asked <= set(ACTION["outputs"])


def test_the_report_is_uploaded_if_it_has_a_name() -> None:
    (upload,) = [step for step in ACTION["runs"]["steps"] if "uses" in step]
    assert upload["with"] == {"name": "${{ inputs.artifact }}", "path": "${{ steps.run.outputs.report }}"}
    assert upload["if"] == "always() && inputs.artifact != '' && steps.run.outputs.report != ''"
    assert not ACTION["inputs"]["artifact"]["default"]


def test_no_input_is_put_into_a_command() -> None:
    """They are somebody else's text: they come by the environment."""
    steps = [step for step in ACTION["runs"]["steps"] if "run" in step]
    assert not [step for step in steps if "${{" in step["run"]]
    variables = {name for step in steps for name in step["env"]}
    read = set(re.findall(r"\$\{?(PGTRACE_ACTION_\w+)", (ROOT / "release/action.sh").read_text("utf-8")))
    assert read == {name for name in variables if name.startswith("PGTRACE_ACTION_")}


def acted(tmp_path: Path, **inputs: str) -> tuple[subprocess.CompletedProcess[str], dict[str, str], str]:
    """The step with these inputs: what it did, its outputs, its summary."""
    given = {name: one.get("default", "") for name, one in ACTION["inputs"].items()} | {
        name.replace("_", "-"): text for name, text in inputs.items()
    }
    variables = {
        f"PGTRACE_ACTION_{name.upper().replace('-', '_')}": text for name, text in given.items() if name not in ("install", "artifact")
    }
    output, summary = tmp_path / "output", tmp_path / "summary"
    environment = {
        **os.environ,
        **variables,
        "GITHUB_OUTPUT": str(output),
        "GITHUB_STEP_SUMMARY": str(summary),
        "RUNNER_TEMP": str(tmp_path),
    }
    environment["PATH"] = f"{TOOLS}:{environment['PATH']}"
    done = subprocess.run([ROOT / "release/action.sh"], capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    lines = output.read_text("utf-8").splitlines() if output.exists() else []
    return done, dict(line.split("=", 1) for line in lines), summary.read_text("utf-8") if summary.exists() else ""


PROGRAM = """
import os, psycopg
with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
    for number in range(9):
        connection.execute("select %s::int", (number,))
"""


@pytest.fixture
def program(server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A command with ten round trips."""
    monkeypatch.setenv("DATABASE_URL", server.url())
    path = tmp_path / "program.py"
    path.write_text(PROGRAM, encoding="utf-8")
    return f"{sys.executable} {path}"


def test_a_program_within_its_budget(program: str, tmp_path: Path) -> None:
    done, outputs, summary = acted(tmp_path, run=program, max="round_trips=40\n errors=0\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(outputs["round-trips"]) == 10
    assert json.loads(Path(outputs["sarif"]).read_text("utf-8"))["version"] == "2.1.0"
    assert Path(outputs["capture"]).exists()
    assert "| psycopg | 1 |" in summary
    assert "### Costliest statements" in summary
    assert "2 budgets met" in summary
    page = Path(outputs["report"]).read_text("utf-8")
    assert page.startswith("<!doctype html>")
    assert "select $1::int" in page


def test_a_program_that_costs_too_much(program: str, tmp_path: Path) -> None:
    done, outputs, summary = acted(tmp_path, run=program, max="round_trips=5")
    assert done.returncode == 1
    assert "::error" in done.stdout
    assert outputs["round-trips"] == "10"
    assert "at most 5" in summary or "| 5 |" in summary


def test_a_program_that_fails(server, tmp_path: Path) -> None:
    done, outputs, _ = acted(tmp_path, run="exit 7", upstream=server.url())
    assert done.returncode == 7
    assert outputs["round-trips"] == "0"
