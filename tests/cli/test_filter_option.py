"""--filter as a user types it: `show` and `stats`, and where a filter is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import commands
from tests.playbook import write

SCRIPT = """
F Query SELECT 1 FROM users
B DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I
c2 F Query SELECT 2 FROM orders
c2 B ErrorResponse 42P01 no orders | ReadyForQuery I
c2 B NotificationResponse orders 1
c2 F Terminate
c2 close F
c1 close F
end
"""


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return write(tmp_path / "a.pgtrace", SCRIPT)


def test_show_prints_the_selected_rows(capture: Path) -> None:
    found = commands.call("show", "--filter", "error", capture)
    assert found.returncode == 0
    assert [line.split()[:2] for line in found.stdout.splitlines()] == [["0.0020", "c2"], ["F→", "0.000"], ["B←", "1.000"], ["B←", "1.000"]]
    everything = commands.call("show", capture).stdout
    assert found.stdout in everything
    assert len(everything) > len(found.stdout)


def test_show_json_has_the_selected_rows(capture: Path) -> None:
    found = commands.call("show", "--json", "--filter", "conn:2 and not type:StartupMessage", capture)
    assert [json.loads(line)["kind"] for line in found.stdout.splitlines()] == ["round_trip", "asynchronous", "run"]


def test_stats_counts_the_selected_round_trips(capture: Path) -> None:
    told = json.loads(commands.call("stats", "--json", "--filter", "orders or users", capture).stdout)
    assert told["filter"] == "orders or users"
    assert (
        told["totals"]["round_trips"],
        told["totals"]["setup_round_trips"],
        told["totals"]["errors"],
        told["totals"]["notifications"],
    ) == (2, 0, 1, 0)
    assert [one["connection"] for one in told["connections"]] == [1, 2]
    assert "filter" not in json.loads(commands.call("stats", "--json", capture).stdout)


@pytest.mark.parametrize(("by", "first"), [("driver", "filtered"), ("connection", "filtered"), ("statement", "unknown")])
def test_stats_says_that_it_is_filtered(capture: Path, by: str, first: str) -> None:
    lines = commands.call("stats", "--by", by, "-v", "--filter", "orders", capture).stdout.splitlines()
    assert lines[0].endswith("2 connections, filter: orders")
    assert lines[3].split()[0] == first
    assert "users" not in "".join(lines)


def test_a_wrong_filter_is_a_wrong_use_before_anything_is_read(tmp_path: Path) -> None:
    for command in ("show", "stats"):
        found = commands.call(command, "--filter", "error and dept > 1", tmp_path / "missing.pgtrace")
        assert found.returncode == 2
        assert found.stderr.splitlines() == [
            "pgtrace: filter: unknown filter word 'dept'; did you mean 'depth'? To find it in SQL, put it in quotes",
            "    error and dept > 1",
            "              ^^^^",
        ]
