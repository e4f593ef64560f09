"""Both sides of a pooler at the command line: joined where they belong together, said on stderr, and not where `--no-join` forbids it."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from pgtrace.cli.reading import joined_at_once
from pgtrace.trace.trace import Trace
from tests import commands

POOLERS = Path(__file__).parents[1] / "data" / "poolers"
BOTH = (str(POOLERS / "front.pgtrace"), str(POOLERS / "back.pgtrace"))
SAID = "pgtrace: both sides of a pooler: 51 of 51 round trips of A were joined with those of B; --no-join counts both sides"


def run(*words: str) -> tuple[str, str]:
    """What a command prints on stdout and on stderr."""
    found = commands.call(*words)
    assert found.returncode == 0, found.stderr
    return found.stdout, found.stderr


def test_stats_counts_once_and_says_so() -> None:
    out, err = run("stats", "--json", *BOTH)
    told = json.loads(out)
    assert (told["totals"]["round_trips"], told["joins"]["joined"], told["joins"]["added"]) == (51, 51, 3)
    assert err.strip() == SAID
    out, err = run("stats", "--json", "--no-join", *BOTH)
    told = json.loads(out)
    assert (told["totals"]["round_trips"], told["joins"], told["legs"], err) == (105, None, [], "")
    text, _ = run("stats", "-q", *BOTH)
    assert "pooler, A in front, B behind: 51 round trips joined" in text
    assert "joined" not in run("stats", "-q", BOTH[0])[0]


def test_advise_counts_once_on_the_drivers_side() -> None:
    told = json.loads(run("advise", "-q", "--json", *BOTH)[0])
    assert [(one["finding"], one["number"], one["driver"]) for one in told["findings"]] == [("begin-commit", 24, "asyncpg")]
    assert told["unexplained"] == {"errors": {}, "ends": {}}


def test_stats_under_a_filter_counts_one_side() -> None:
    for chosen, expected in (("rows > 0", 24), ("rows > 0 and leg:/", 0), ("conn:b:1 or conn:b:2", 54)):
        told = json.loads(run("stats", "-q", "--json", "--filter", chosen, *BOTH)[0])
        assert told["totals"]["round_trips"] == expected, chosen


def test_stats_by_leg_has_both_sides_and_counts_once() -> None:
    lines = run("stats", "-q", "-v", "--by", "leg", *BOTH)[0].splitlines()
    (counted, times), (front, front_times), (back, back_times) = (
        [line.split() for line in lines if line.startswith(head) and (head == "all " or "→" in line)] for head in ("all ", "A ", "B ")
    )
    assert (counted[1:4], front[4:7], back[4:7]) == (["3", "3", "51"], ["3", "3", "51"], ["2", "6", "54"])
    assert counted[1:] == front[4:], "what is behind the pooler is counted in front of it"
    assert times[1:] == front_times[4:]
    assert all(cell[0].isdigit() for cell in back_times[4:12]), "its times are known too"
    assert "Round trips behind a pooler count once: in `all` it is on the drivers' side." in lines
    chosen = run("stats", "-q", "--by", "leg", "--filter", "rows > 0", *BOTH)[0]
    assert [line.split()[0] for line in chosen.splitlines() if "→" in line] == ["A"]
    assert "one leg: " in run("stats", "--by", "leg", BOTH[0])[0]


def test_show_marks_the_other_side() -> None:
    out, err = run("show", *BOTH)
    assert err.strip() == SAID
    assert out.count("⇒ b:") == out.count("⇐ a:") == 51
    assert out.count("⇔ the pooler's own, before a:") == 3
    rows = [json.loads(line) for line in run("show", "-q", "--json", *BOTH)[0].splitlines()]
    joined = [row for row in rows if row["join"] and row["join"]["state"] == "joined" and row["leg"] == "A"]
    assert len(joined) == 51
    by_number = {row["row"]: row for row in rows}
    for row in joined:
        (other,) = row["join"]["rows"]
        assert by_number[other]["leg"] == "B"
        assert by_number[other]["join"]["rows"] == [row["row"]]
        assert row["join"]["in_pooler_ns"] <= row["duration_ns"]
    assert "⇒" not in run("show", "--no-join", *BOTH)[0]


def test_a_screen_counts_once_too(tmp_path: Path) -> None:
    paths = list(BOTH)
    with contextlib.closing(Trace.open(paths)) as trace:
        trace.update()
        expected = {connection.index for connection in trace.connections if connection.file == 1}
    joins = joined_at_once(paths, paths)
    assert joins is not None
    assert joins.connections == expected
    assert joined_at_once(paths[:1], paths[:1]) is None
    both = str(POOLERS.parent / "findings" / "both_sides.pgtrace")
    joins = joined_at_once([both], [both])
    assert joins is not None
    assert len(joins.connections) == 1
    unfinished = tmp_path / "growing.pgtrace"
    unfinished.write_bytes(Path(both).read_bytes()[:-40])
    assert joined_at_once([str(unfinished)], ["growing"]) is None
