"""`check` as a user types it: budgets from options and files, formats, exit codes."""

from __future__ import annotations

import json
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests import commands
from tests.playbook import write

SCRIPT = """
F Query SELECT 1 FROM users
B DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I
mark begin checkout
F Query SELECT 2 FROM users
B ErrorResponse 42P01 no users | ReadyForQuery I
mark end checkout
F Terminate
c1 close F
end
"""
CONFIG = '[tool.pgtrace.budgets]\nround_trips = 2\n[tool.pgtrace.budgets.marks."*"]\nerrors = 0\n'


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return write(tmp_path / "a.pgtrace", SCRIPT)


def test_a_budget_that_is_kept_is_0_and_one_that_is_not_is_1(capture: Path) -> None:
    found = commands.call("check", "--max", "round_trips=2", "--max", "errors=1", capture)
    assert (found.returncode, found.stdout, found.stderr) == (0, "2 budgets met\n", "")
    found = commands.call("check", "--max", "round_trips=1", "--max", "errors=1", capture)
    assert found.returncode == 1
    assert found.stdout.splitlines() == [
        "capture: round_trips is 2, at most 1",
        "    ×1  Q → DCZ  SELECT $1 FROM users",
        "    ×1  Q → EZ   error 42P01 SELECT $1 FROM users",
        "",
        "1 of 2 budgets not met",
    ]


def test_each_mark_and_a_filter(capture: Path) -> None:
    found = commands.call("check", "--by", "mark", "--max", "errors=0", "--json", capture)
    assert found.returncode == 1
    (budget,) = json.loads(found.stdout)["budgets"]
    assert (budget["about"], budget["name"], budget["actual"]) == ("mark", "checkout", 1)
    assert commands.call("check", "--max", "errors=0", "--filter", "not mark:checkout", capture).returncode == 0


def test_the_budgets_of_the_project_are_found_from_below(capture: Path, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(CONFIG)
    below = tmp_path / "tests" / "shop"
    below.mkdir(parents=True)
    found = commands.call("check", capture, cwd=below)
    assert found.returncode == 1
    assert found.stdout.splitlines()[0] == "mark checkout: errors is 1, at most 0"
    assert commands.call("check", "--max", "round_trips=2", capture, cwd=below).returncode == 0  # these alone
    other = tmp_path / "other.toml"
    other.write_text("errors = 1\n")
    assert commands.call("check", "--config", other, capture, cwd=below).stdout == "1 budget met\n"


def test_without_a_budget_it_says_where_one_can_be(capture: Path, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\n")
    found = commands.call("check", capture, cwd=tmp_path)
    assert found.returncode == 2
    assert "--max COUNTER=N, --config FILE, or [tool.pgtrace.budgets]" in found.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--max", "round_trip=4"), "pgtrace: --max: unknown counter 'round_trip'; did you mean round_trips, "),
        (("--config", "absent.toml"), "pgtrace: absent.toml: cannot be read: No such file or directory"),
        (("--config", "a.toml"), "pgtrace: a.toml: errrors: unknown counter 'errrors'; did you mean errors"),
        (("--config", "a.pgtrace"), "pgtrace: a.pgtrace: not TOML: it is not UTF-8"),
    ],
)
def test_a_wrong_budget_is_a_wrong_use_in_one_line(capture: Path, tmp_path: Path, args: tuple[str, str], message: str) -> None:
    (tmp_path / "a.toml").write_text("errrors = 0\n")
    capture.write_bytes(capture.read_bytes() + b"\xff")
    found = commands.call("check", *args, capture, cwd=tmp_path)
    assert found.returncode == 2
    assert found.stderr.startswith(message)
    assert found.stderr.count("\n") == 1
    assert not found.stdout


@pytest.mark.parametrize("form", ["text", "json", "junit", "github", "markdown"])
def test_every_format_tells_the_same_number(capture: Path, form: str) -> None:
    found = commands.call("check", "--format", form, "--max", "round_trips=1", capture)
    assert found.returncode == 1
    assert not found.stderr
    if form == "junit":
        assert ET.fromstring(found.stdout).get("failures") == "1"
    if form == "json":
        assert json.loads(found.stdout)["budgets"][0]["actual"] == 2
    assert "round_trips" in found.stdout


@pytest.mark.parametrize(
    "what",
    ["cut off", "no end", pytest.param("joined", marks=pytest.mark.skipif(not shutil.which("editcap"), reason="editcap is not installed"))],
)
def test_what_is_incomplete_keeps_no_budget(capture: Path, tmp_path: Path, what: str) -> None:
    """Counts are lower bounds then: a capture cut off before its queries would keep every budget."""
    if what == "cut off":
        part = tmp_path / "cut.pgtrace"
        part.write_bytes(capture.read_bytes()[:-60])
    elif what == "no end":
        part = write(tmp_path / "part.pgtrace", SCRIPT.strip().removesuffix("end"))
    else:
        packets = tmp_path / "all.pcapng"
        assert commands.call("export", "--to", "pcapng", capture, "-o", packets).returncode == 0
        part = tmp_path / "middle.pcapng"
        assert subprocess.run(["editcap", "-r", packets, part, "6-100"], check=False).returncode == 0
    found = commands.call("check", "--max", "round_trips=100", part)
    assert found.returncode == 1
    assert "pgtrace: incomplete: " in found.stderr
    assert commands.call("diff", part, part).returncode == 1


def test_an_option_is_no_program(tmp_path: Path) -> None:
    found = commands.call("run", "--bogus", "--", "true")
    assert found.returncode == 2
    assert "--bogus" in found.stderr
    assert "there is no such program" not in found.stderr
