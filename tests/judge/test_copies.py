"""A COPY for each row is a loop, in the round trips that it takes; one for several rows is not, nor is one now and then."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgtrace.trace.turns import REPEATS
from tests.judging import Judge

DONE = "F Terminate\nc1 close F\nend"
BEGIN = "F Query BEGIN\nB CommandComplete BEGIN | ReadyForQuery T"
COMMIT = "F Query COMMIT\nB CommandComplete COMMIT | ReadyForQuery I"


def copy(rows: int, status: str, *, waits: bool, table: str = "item", fails: bool = False) -> str:
    """A COPY whose driver waits for CopyInResponse, or sends on."""
    begins, data = f"F Query COPY {table} FROM STDIN", "CopyData 'tea' | CopyDone"
    ends = f"ErrorResponse 22P02 no | ReadyForQuery {status}" if fails else f"CommandComplete COPY {rows} | ReadyForQuery {status}"
    if waits:
        return f"{begins}\nB CopyInResponse text 1\nF {data}\nB {ends}"
    return f"{begins}\nF {data}\nB CopyInResponse text 1 | {ends}"


@pytest.mark.parametrize("status", ["I", "T"])
@pytest.mark.parametrize("waits", [True, False])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(rows=st.lists(st.sampled_from([1, 1, 1, 1, 1, 0, 2]), max_size=24))
def test_copies_of_one_row_each(judged: Judge, rows: list[int], waits: bool, status: str) -> None:
    """However many rows the others have: they end the loop."""
    lines = [copy(many, status, waits=waits) for many in rows]
    found = judged(*([BEGIN, *lines, COMMIT] if status == "T" else lines), DONE)
    runs = [len(list(run)) for many, run in itertools.groupby(rows) if many == 1]
    loops = [length for length in runs if length >= REPEATS]
    cost = sum(length - 1 for length in loops) * (2 if waits else 1)
    assert found.told == ([("n+1", cost)] if loops else [])
    if loops:
        assert found["n+1"].note.times == sum(loops)
        assert "in one COPY" in found["n+1"].remedies[0]


@pytest.mark.parametrize(
    "between", ["F Query SELECT 1\nB CommandComplete SELECT 1 | ReadyForQuery I", "another table", "an error", "a pause"]
)
def test_copies_with_something_in_between(judged: Judge, between: str) -> None:
    lines, now = [], 0
    for number in range(10):
        now += 100 if between == "a pause" else 1
        lines.append(f"{now} " + copy(1, "I", waits=True).replace("\n", f"\n{now} "))
        if between == "another table":
            lines.append(copy(1, "I", waits=True, table=f"other{number}"))
        elif between == "an error":
            lines.append(copy(1, "I", waits=True, fails=True))
        elif between != "a pause":
            lines.append(between)
        now += 10
    assert "n+1" not in judged(*lines, DONE).names
