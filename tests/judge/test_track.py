"""A watch that rests while round trips are alike finds what it finds when it is told of each."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pgtrace.judge import track
from pgtrace.judge.advice import Advice
from pgtrace.judge.findings import KINDS
from pgtrace.judge.findings.kind import Watch
from pgtrace.trace import feed
from pgtrace.trace.trace import Trace
from tests import corpus
from tests.traces import fully_read
from tests.wire_recording import (
    BOUND,
    EXECUTE,
    INT8,
    PARSED,
    SYNC,
    Recording,
    bind,
    columns,
    describe,
    done,
    error,
    int8,
    message,
    parameters,
    parse,
    query,
    ready,
    row,
)

FINDINGS = sorted((Path(__file__).parents[1] / "data" / "findings").glob("*.pgtrace"))
CAPTURES = FINDINGS + (corpus.CAPTURES if corpus.NIGHTLY else corpus.CAPTURES[1::9])
SQL = {"s1": "SELECT name FROM items WHERE id = $1", "s2": "UPDATE items SET name = 'x' WHERE id = $1", "s3": "SELECT $1"}


def found(trace: Trace, *, budget_s: float | None = None) -> dict[str, Any]:
    """All that findings say of a capture, and which rows belong to them."""
    advice = Advice(trace)
    while not advice.update(budget_s=budget_s):
        pass
    marked = [kind and kind.name for kind in map(advice.kind_at, range(len(trace.rows)))]
    unexplained = advice.unexplained()
    return {
        "marked": marked,
        "findings": [(one.name, one.driver, one.note) for one in advice.findings()],
        "unexplained": (unexplained.errors, unexplained.ends),
    }


def told_of_each(patched: pytest.MonkeyPatch) -> None:
    for kind in KINDS:
        patched.setattr(kind.watch, "rests", lambda watch, step: False)


@pytest.mark.parametrize("path", CAPTURES, ids=corpus.name)
def test_in_captures(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(fully_read(path)) as trace:
        resting = found(trace)
        with monkeypatch.context() as patched:
            told_of_each(patched)
            each = found(trace)
    assert resting == each


def session(path: Path, seed: int) -> Path:
    """Runs of round trips that are alike, of many kinds, with pauses of many lengths."""
    rng = random.Random(seed)
    recording = Recording(path)
    numbers = [recording.connect(driver) for driver in ("asyncpg", "psycopg")]
    status = dict.fromkeys(numbers, "I")
    for number in numbers:
        for name, sql in SQL.items():
            asked = parse(name, sql) + describe("S", name) + SYNC
            recording.trip(number, asked, PARSED + parameters(INT8) + columns(("name", INT8)) + ready())

    def runs(name: str, tag: str, most: int) -> Callable[[int], tuple[bytes, bytes]]:
        def ask(value: int) -> tuple[bytes, bytes]:
            rows = b"".join(row(b"x") for _ in range(rng.randint(0, 1) if name == "s3" else 1)) if tag.startswith("S") else b""
            return bind(name, int8(value % most)) + EXECUTE + SYNC, BOUND + rows + done(tag)

        return ask

    plain = {
        "SET search_path TO a": "SET", "DISCARD ALL": "DISCARD ALL", "SELECT now()": "SELECT 1", "DEALLOCATE s1": "DEALLOCATE",
        "SELECT unknown_function()": "SELECT 1",
    }  # fmt: skip
    kinds: list[Callable[[int], tuple[bytes, bytes]]] = [runs("s1", "SELECT 1", 1000), runs("s1", "SELECT 1", 2)]
    kinds += [runs("s2", "UPDATE 1", 3), runs("s3", "SELECT 1", 1)]
    kinds += [lambda _: (parse("s4", "SELECT $1 + 4") + SYNC, PARSED)]
    kinds += [lambda _, sql=sql, tag=tag: (query(sql), done(tag)) for sql, tag in plain.items()]  # type: ignore[misc]
    kinds += [lambda value: (parse("", "SELECT 2") + bind("", int8(value)) + EXECUTE + SYNC, PARSED + BOUND + done("SELECT 0"))]
    kinds += [lambda _: (query(""), message("I"))]
    for _ in range(40):
        number = rng.choice(numbers)
        if rng.random() < 0.2:
            inside = status[number] == "I"
            status[number] = "T" if inside else "I"
            word = "BEGIN" if inside else rng.choice(["COMMIT", "ROLLBACK"])
            recording.trip(number, query(word), done(word) + ready(status[number]))
            continue
        if rng.random() < 0.1:
            state = "E" if status[number] == "T" else "I"
            status[number] = state
            missing = error("26000", 'prepared statement "s1" does not exist')
            recording.trip(number, bind("s1", int8(1)) + EXECUTE + SYNC, missing + ready(state))
            continue
        ask = rng.choice(kinds)
        for value in range(rng.choice([1, 2, 3, 8, 30])):
            asked, answer = ask(value)
            if status[number] == "E":
                answer = error("25P02", "current transaction is aborted")
            recording.trip(number, asked, answer + ready(status[number]))
            recording.wait(rng.choice([0.1] * 20 + [60, 1200]))
    recording.close(numbers[0])
    for _ in range(6):
        short = recording.connect("pg8000")
        for _ in range(rng.randint(0, 6)):
            recording.trip(short, query("SELECT 1"), done("SELECT 1") + ready())
        recording.close(short)
    recording.end()
    return path


@pytest.mark.sampled(4)
@pytest.mark.parametrize("seed", range(60))
def test_in_sessions_made_of_runs(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the turns are cut."""
    with closing(fully_read(session(tmp_path / "x.pgtrace", seed))) as trace:
        resting = found(trace)
        with monkeypatch.context() as patched:
            patched.setattr(feed, "SLICE", 7)
            patched.setattr(track, "_MOST_ALIKE", 5)
            in_turns = found(trace, budget_s=0.0)
        with monkeypatch.context() as patched:
            told_of_each(patched)
            each = found(trace)
    assert resting == each
    assert in_turns == each


def test_most_watches_rest_in_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Telling each of them would take 20,000 calls."""
    recording = Recording(tmp_path / "x.pgtrace")
    one = recording.connect()
    recording.trip(one, parse("s1", SQL["s1"]) + describe("S", "s1") + SYNC, PARSED + parameters(INT8) + columns(("name", INT8)) + ready())
    for number in range(2000):
        recording.trip(one, bind("s1", int8(number)) + EXECUTE + SYNC, BOUND + row(b"x") + done("SELECT 1") + ready())
    recording.end()
    calls = 0

    def counting(row: Callable[[Watch, Any], None]) -> Callable[[Watch, Any], None]:
        def counted(watch: Watch, step: Any) -> None:
            nonlocal calls
            calls += 1
            row(watch, step)

        return counted

    with monkeypatch.context() as patched:
        for kind in KINDS:
            patched.setattr(kind.watch, "row", counting(kind.watch.row))
        with closing(fully_read(recording.path)) as trace:
            found(trace)
    assert 0 < calls < 2000
