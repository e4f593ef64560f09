"""`pgtrace advise` as it is called: text, JSON, filter, exit code."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests import commands

ROOT = Path(__file__).parents[2]


def advise(*args: str) -> subprocess.CompletedProcess[str]:
    return commands.call("advise", *args, cwd=ROOT)


def test_json_has_the_rows_that_show_it() -> None:
    found = advise("--json", "captures/pg8000/ten_queries.pgtrace")
    assert found.returncode == 0
    told = json.loads(found.stdout)
    assert told["schema"] == "pgtrace.advice/1"
    assert [(one["finding"], one["round_trips"], one["number"]) for one in told["findings"]] == [
        ("extra-describe", 18, 18), ("n+1", 9, 9),
    ]  # fmt: skip
    shown = commands.call("show", "--json", "captures/pg8000/ten_queries.pgtrace", cwd=ROOT)
    flights = {row["row"]: row["flight"] for row in map(json.loads, shown.stdout.splitlines())}
    evidence = told["findings"][0]["evidence"]
    assert [flights[one["row"]] for one in evidence] == [one["flight"] for one in evidence]


def test_nothing_found_is_said_and_fine() -> None:
    found = advise("captures/asyncpg/one_query.pgtrace")
    assert (found.stdout, found.stderr, found.returncode) == ("nothing found\n", "", 0)


def test_findings_are_no_failure_of_the_command() -> None:
    found = advise("captures/pdo_pgsql/failure.pgtrace")
    assert found.returncode == 0
    assert "failed  aborted-transaction  pdo_pgsql  c1" in found.stdout


def test_a_filter_selects_what_counts() -> None:
    both = ["captures/psycopg/ten_queries.pgtrace", "captures/asyncpg/ten_queries.pgtrace"]
    told = json.loads(advise("--json", "--filter", "driver:asyncpg", *both).stdout)
    assert told["filter"] == "driver:asyncpg"
    assert [(one["driver"], one["round_trips"], one["connections"][0]["file"]) for one in told["findings"]] == [("asyncpg", 9, both[1])]


def test_a_wrong_filter_and_no_capture() -> None:
    assert advise("--filter", "driver:(", "captures/psycopg/ten_queries.pgtrace").returncode == 2
    assert advise("no-such-file").returncode == 4
