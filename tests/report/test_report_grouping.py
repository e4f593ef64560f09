"""`stats --by tag.KEY` and `--by statement`: sums by what is written in comments."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pgtrace.ask.filter import parse
from pgtrace.ask.filter.rowcounting import RowCounts
from pgtrace.report import grouping
from pgtrace.trace import interned
from pgtrace.trace.trace import Trace
from tests import commands
from tests.ask.filter.test_filter_tags import TAGGED
from tests.playbook import write


@pytest.fixture(params=["index", "messages"])
def tagged(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trace]:
    """Read with all tables, and with tables that keep nothing."""
    if request.param == "messages":
        monkeypatch.setattr(interned, "LABELS_KEPT", 0)
    with closing(Trace.open([write(tmp_path / "tagged.pgtrace", TAGGED)])) as trace:
        while trace.update():
            pass
        yield trace


def by(trace: Trace, name: str, text: str = "") -> list[tuple[str | None, int, int]]:
    group = grouping.grouping(name)
    assert group is not None
    return [(value, one.round_trips, one.executions) for value, one in grouping.sums(parse(text).over(trace), group)]


def test_round_trips_by_the_first_value_of_a_tag(tagged: Trace) -> None:
    assert by(tagged, "tag.route") == [("/checkout", 2, 3), (None, 2, 2), ("/cart", 1, 1)]
    assert by(tagged, "tag.job") == [(None, 4, 4), ("x", 1, 2)]
    assert by(tagged, "tag.nothing") == [(None, 5, 6)]
    assert by(tagged, "tag.route", "tag.route:/cart") == [("/cart", 1, 1), ("/checkout", 1, 2)]


def test_the_sums_are_those_of_everything(tagged: Trace) -> None:
    whole = RowCounts(parse("").over(tagged))
    whole.update()
    group = grouping.grouping("tag.route")
    assert group is not None
    found = [one.as_dict() for _, one in grouping.sums(parse("").over(tagged), group)]
    for key, value in whole.totals().as_dict().items():
        if isinstance(value, int) and key != "max_pipeline_depth":
            assert sum(one[key] for one in found) == value, key


def run(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return commands.run("stats", path, *options)


def test_the_command_prints_and_refuses(tmp_path: Path) -> None:
    path = write(tmp_path / "tagged.pgtrace", TAGGED)
    found = run(path, "--by", "tag.route")
    assert found.returncode == 0, found.stderr
    assert [line.split()[0] for line in found.stdout.splitlines()[3:]] == ["/checkout", "(no", "/cart"]
    sums = json.loads(run(path, "--by", "tag.route", "--json").stdout)
    assert [(one["tag"], one["value"], one["round_trips"]) for one in sums["tags"]] == [
        ("route", "/checkout", 2),
        ("route", None, 2),
        ("route", "/cart", 1),
    ]
    for wrong in ("tag.", "tags", "route"):
        refused = run(path, "--by", wrong)
        assert refused.returncode == 2
        assert "tag.KEY" in refused.stderr


def test_texts_that_differ_by_comments_stand_below_the_statements(tmp_path: Path) -> None:
    found = run(write(tmp_path / "tagged.pgtrace", TAGGED), "--by", "statement")
    assert "3 texts differ only in comments: SELECT $1" in found.stdout
    assert len([line for line in found.stdout.splitlines() if line.endswith("SELECT $1")]) == 2


def test_without_marks_the_ways_to_set_them_are_said(tmp_path: Path) -> None:
    told = run(write(tmp_path / "a.pgtrace", "F Query SELECT 1\nB CommandComplete SELECT 1 | ReadyForQuery I\nend"), "--by", "mark")
    assert "no marks: set them in the program with pgtrace.mark(), or around it with `pgtrace mark begin NAME`\n" in told.stdout
