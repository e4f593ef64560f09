"""Questions about captures: what is true of them, within a bound, and of the named captures alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pgtrace.assistant.answers import LONGEST, MESSAGES, Answers
from pgtrace.errors import PgTraceError, UsageError
from tests import playbook

ROOT = Path(__file__).parents[2]
ASKED = (
    ROOT / "captures" / "psycopg" / "ten_queries.pgtrace",
    ROOT / "captures" / "asyncpg" / "ten_queries.pgtrace",
    ROOT / "tests" / "data" / "findings" / "pooler_26000.pgtrace",
)


@pytest.fixture
def answers() -> Iterator[Answers]:
    asked = Answers(ASKED)
    yield asked
    asked.close()


def read(text: str) -> Any:
    assert len(text) <= LONGEST
    return json.loads(text)


def test_the_captures(answers: Answers) -> None:
    found = read(answers.captures())["captures"]
    assert [(one["file"], one["path"], one["round_trips"]) for one in found] == [
        (1, str(ASKED[0]), 11),
        (2, str(ASKED[1]), 11),
        (3, str(ASKED[2]), 8),
    ]
    assert found[0]["drivers"] == {"psycopg": 11}


def test_the_counters(answers: Answers) -> None:
    found = read(answers.stats("statement", file=2, limit=1))
    assert (found["totals"]["round_trips"], found["of"], found["statements"][0]["executions"]) == (11, 1, 10)
    chosen = read(answers.stats(file=1, filter="type:Describe and ms > 0"))
    assert (chosen["selected"], chosen["totals"]["describes"]) == (10, 10)


def test_the_findings(answers: Answers) -> None:
    (found,) = read(answers.findings(3))["findings"]
    assert (found["finding"], len(found["evidence"])) == ("pooler-26000", 3)
    row = read(answers.show(found["evidence"][-1]["row"], file=3))
    assert row["error"].startswith("26000")
    assert row["messages"][-1]["type"] == "ReadyForQuery"


def test_the_timeline_page_by_page(answers: Answers) -> None:
    first = read(answers.round_trips(1, limit=10))
    rest = read(answers.round_trips(1, limit=10, start=first["next_start"]))
    assert [one["row"] for one in first["rows"] + rest["rows"]] == list(range(1, first["of"] + 1))
    assert "next_start" not in rest
    assert "PBDES → 12TDCZ" in read(answers.round_trips(1, filter="sql ~ item"))["rows"][0]["line"]


def test_the_difference(answers: Answers) -> None:
    found = read(answers.diff(1, 2))
    assert not found["same"]
    assert any("reused 9 times" in change["words"] for change in found["changes"])


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (lambda answers: answers.stats(file=4), "no capture 4"),
        (lambda answers: answers.stats(file=0), "no capture 0"),
        (lambda answers: answers.stats("table"), "by is one of"),
        (lambda answers: answers.show(999), "no row 999"),
        (lambda answers: answers.round_trips(filter="error and"), "filter"),
        (lambda answers: answers.diff(1, 9), "no capture 9"),
    ],
)
def test_a_mistake_is_one_line(question: Any, said: str, answers: Answers) -> None:
    with pytest.raises(PgTraceError) as raised:
        question(answers)
    assert said in str(raised.value)


def test_no_answer_is_longer_than_its_bound(tmp_path: Path) -> None:
    """Long texts, many statements, many messages in one row, and terminal escapes."""
    path = tmp_path / "long.pgtrace"
    queries = "".join(
        f"F Query select '{'x' * 900}' as a{n}, '\x1b[31m'\nB CommandComplete SELECT 1 | ReadyForQuery I\n" for n in range(300)
    )
    many = (
        "F Parse s1 select 1"
        + " | Bind - s1 | Execute -" * 400
        + " | Sync\nB ParseComplete"
        + " | BindComplete | CommandComplete SELECT 0" * 400
    )
    playbook.write(path, f"{queries}{many} | ReadyForQuery I\nend")
    asked = Answers([path])
    for text in (asked.captures(), asked.stats("statement", limit=10**9), asked.findings(limit=200), asked.round_trips(limit=10**9)):
        assert "\x1b" not in text
        read(text)
    row = read(asked.show(302))
    assert len(row["messages"]) <= MESSAGES < row["of"]
    asked.close()


def test_a_growing_capture_is_read_on(tmp_path: Path) -> None:
    from pgtrace.capture.versions import Header
    from pgtrace.capture.writer import CaptureWriter

    path = tmp_path / "growing.pgtrace"
    records = list(
        playbook.records(
            "F Query select 1\nB CommandComplete SELECT 1 | ReadyForQuery I\nF Query select 2\n"
            "B CommandComplete SELECT 1 | ReadyForQuery I\n"
        )
    )
    with CaptureWriter(path, header=Header.now()) as writer:
        writer.write(records[: len(records) // 2])
        asked = Answers([path])
        before = read(asked.captures())["captures"][0]["round_trips"]
        writer.write(records[len(records) // 2 :])
        after = read(asked.captures())["captures"][0]["round_trips"]
        asked.close()
    assert before < after == 2


def test_a_file_that_is_not_there_is_said_when_it_is_asked_for() -> None:
    asked = Answers(["/nowhere.pgtrace"])
    with pytest.raises(PgTraceError, match="nowhere"):
        asked.captures()
    with pytest.raises(UsageError):
        asked.show(1, file=2)
