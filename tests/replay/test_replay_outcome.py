"""What a replay says of two captures: only what was recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgtrace.compare.behaviour import Behaviour
from pgtrace.replay.outcome import Outcome, as_dict, lines, outcome
from pgtrace.trace.trace import Trace
from tests.corpus import CAPTURES


def compared(before: Path, after: Path) -> Outcome:
    traces = [Trace([str(path)], timeline=False) for path in (before, after)]
    behaviours = [Behaviour([str(path)]) for path in (before, after)]
    for each in (*traces, *behaviours):
        while each.update():
            pass
    found = outcome(*traces, *behaviours)
    for each in (*traces, *behaviours):
        each.close()
    return found


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_what_was_not_recorded_is_not_called_a_change(part: float, tmp_path: Path) -> None:
    """A disk that was full: what is missing did happen."""
    whole = next(path for path in CAPTURES if path.match("asyncpg/ten_queries.pgtrace"))
    cut = tmp_path / "cut.pgtrace"
    data = whole.read_bytes()
    cut.write_bytes(data[: int(len(data) * part)])
    found = compared(whole, cut)
    assert not found.complete
    assert found.changes == []
    assert any(str(line).startswith("incomplete: ") for line in lines(found))
    assert as_dict(found)["complete"] is False


def test_two_whole_captures_are_compared() -> None:
    first, second = (next(path for path in CAPTURES if path.match(f"{driver}/ten_queries.pgtrace")) for driver in ("asyncpg", "psycopg"))
    found = compared(first, second)
    assert found.complete
    assert found.changes
    assert not any("incomplete" in str(line) for line in lines(found))
