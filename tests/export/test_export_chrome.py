"""Trace events: one for each round trip, by the rules of the format, and the events of a thread nest."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from pgtrace.export import chrome
from tests import playbook
from tests.traces import fully_read

CAPTURES = sorted((Path(__file__).parents[2] / "captures").glob("*/[fn]*.pgtrace"))
PHASES = {"X": {"ts", "dur", "args"}, "i": {"ts", "s"}, "M": {"args"}}


def events_of(*paths: Path, **options: Any) -> list[dict[str, Any]]:
    trace = fully_read(*paths)
    text = "".join(str(piece.content) for piece in chrome.export(trace, **options))
    trace.close()
    events: list[dict[str, Any]] = json.loads(text)["traceEvents"]
    return events


def check(events: list[dict[str, Any]]) -> None:
    """The rules: what each phase has, names before use, and complete events of one thread that follow one another or nest."""
    ends: dict[tuple[int, int], float] = defaultdict(float)
    named = set()
    for event in events:
        assert PHASES[event["ph"]] <= event.keys()
        assert isinstance(event["name"], str)
        assert event["name"]
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        thread = event["pid"], event["tid"]
        if event["ph"] == "M":
            named.add((event["name"], thread))
            continue
        if event.get("s") == "g":
            continue
        assert event["ts"] >= 0
        assert event["cat"]
        assert ("thread_name", thread) in named
        assert ("process_name", (event["pid"], 0)) in named
        if event["ph"] == "X":
            assert event["dur"] >= 0
            assert event["ts"] + 0.001 >= ends[thread]
            ends[thread] = event["ts"] + event["dur"]
        else:
            assert event["s"] == "t"


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_an_event_for_each_round_trip(path: Path) -> None:
    trace = fully_read(path)
    totals = trace.totals()
    trace.close()
    events = events_of(path)
    check(events)
    found = [event for event in events if event["ph"] == "X" and "open" not in event["args"]]
    assert sum(event["cat"] == "round trip" for event in found) == totals.round_trips
    assert sum(event["cat"] == "set-up" for event in found) == totals.setup_round_trips
    assert sum("error" in event["args"] for event in found) <= totals.errors


def played(tmp_path: Path, script: str, **options: Any) -> list[dict[str, Any]]:
    path = tmp_path / "played.pgtrace"
    playbook.write(path, script)
    events = events_of(path, **options)
    check(events)
    return [event for event in events if event["ph"] == "X" and event["cat"] == "round trip"]


def test_what_an_event_says(tmp_path: Path) -> None:
    (event,) = played(tmp_path, "F Query update item set name = 'x'\nB ErrorResponse 23505 duplicate key | ReadyForQuery I\nend")
    assert event["name"] == "UPDATE item"
    said = event["args"]
    assert (said["flight"], said["sql"], said["rows"], said["error"]) == ("Q → EZ", "update item set name = 'x'", 0, "23505 duplicate key")


def test_what_is_sent_before_an_answer_is_one_event(tmp_path: Path) -> None:
    """So the events of a thread never overlap."""
    once = "Parse - select {} from item | Bind - - | Execute - | Sync"
    answer = "ParseComplete | BindComplete | CommandComplete SELECT 0 | ReadyForQuery I"
    (event,) = played(tmp_path, f"F {once.format(1)}\nF {once.format(2)}\nB {answer}\nB {answer}\nend")
    assert event["args"]["flight"] == "PBES×2 → 12CZ×2"


def test_one_without_an_end_lasts_as_long_as_the_capture(tmp_path: Path) -> None:
    path = tmp_path / "open.pgtrace"
    playbook.write(path, "F Query select pg_sleep(60)")
    (event,) = [event for event in events_of(path) if event["ph"] == "X" and event["args"].get("open")]
    assert event["args"]["sql"] == "select pg_sleep(60)"


def test_a_process_for_each_capture_and_only_the_rows_of_a_filter() -> None:
    events = events_of(*CAPTURES[:2])
    names = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert [Path(name).name for name in names.values()] == [path.name for path in CAPTURES[:2]]
    assert [event["args"]["row"] for event in events_of(CAPTURES[0], places=[1, 2]) if event["ph"] == "X"] == [2, 3]
    assert events_of(CAPTURES[0], places=[]) == []


def test_hostile_text_is_only_text(tmp_path: Path) -> None:
    (event,) = played(tmp_path, "F Query select '\x1b]0;x\x07\u202e' from item\nB CommandComplete SELECT 0 | ReadyForQuery I\nend")
    assert event["args"]["sql"] == r"select '\x1b]0;x\x07\u202e' from item"
