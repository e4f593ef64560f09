"""`--fault` of the commands that record: what is wrong with a rule is said before anything starts,
what is right strikes the program's connection."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from pgtrace.cli import _run, root

PGTRACE_RUN = [sys.executable, "-m", "pgtrace", "run", "--json"]
LOG_IN = "import psycopg, sys\ntry: psycopg.connect().execute('select 1')\nexcept psycopg.OperationalError as error: sys.exit(7)"


@pytest.mark.parametrize("command", [["listen", ":0"], ["demo"], ["run", "true"]])
def test_a_rule_that_means_nothing_points_at_the_place(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    name, *rest = command
    assert _run(root, [name, "--fault", "split 1", "--fault", "close before Synk", *rest]) == 2
    assert capsys.readouterr().err == (
        "pgtrace: fault: unknown message 'Synk'; did you mean Sync?\n    close before Synk\n                 ^^^^\n"
    )


@pytest.mark.parametrize(("rule", "code", "errors"), [("close before Query", 7, 0), ("close before reply to Query#9", 0, 0)])
def test_a_program_meets_the_fault(server, rule: str, code: int, errors: int) -> None:
    program = [sys.executable, "-c", LOG_IN]
    ran = subprocess.run(
        [*PGTRACE_RUN, "--upstream", f"{server.host}:{server.port}", "--fault", rule, "--fault", "delay 1ms F", "--", *program],
        env=server.environment() | {"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == code, ran.stderr
    counted = json.loads(ran.stdout)
    assert counted["totals"]["queries"] >= 1
    assert counted["totals"]["errors"] == errors
