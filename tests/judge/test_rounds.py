"""Rounds as long as an answer has rows: a pair of statements is proven by its runs, and by nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.judge.rounds import PROVEN, Rounds


def proven(rounds: Rounds, runs: list[tuple[str, int]]) -> list[bool]:
    """Runs of a statement, the last execution of which has as many rows as the next run is long, or 7."""
    said, place = [], 0
    for number, (key, times) in enumerate(runs):
        rows = runs[number + 1][1] if number + 1 < len(runs) else 7
        for time in range(times):
            place += 1
            said.append(rounds.take(key, rows if time == times - 1 else 1, place))
    return said


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12))
def test_proven_by_several_rounds_with_several_rows(children: list[int]) -> None:
    runs = [run for many in children for run in (("parent", 1), ("child", many))]
    rounds = Rounds()
    assert any(proven(rounds, [*runs, ("other", 1)])) is (sum(many > 1 for many in children) >= PROVEN)
    if rounds.found is not None:
        assert rounds.found == ("parent", "child")
        assert rounds.since == 1


@given(st.lists(st.integers(2, 5), min_size=PROVEN + 1, max_size=8), st.integers(0, 7), st.sampled_from([-1, 1]))
def test_one_other_round_is_enough_to_know_nothing(children: list[int], at: int, more: int) -> None:
    rounds, place = Rounds(), 0
    for number, many in enumerate(children):
        place += 1
        rounds.take("parent", many, place)
        for _ in range(many + more * (number == at % len(children))):
            place += 1
            rounds.take("child", 1, place)
    rounds.take("other", 1, place + 1)
    assert rounds.found is None


@pytest.mark.parametrize("together", [True, False])
def test_executions_may_come_together(together: bool) -> None:
    rounds = Rounds()
    for round_ in range(4):
        rounds.take("parent", 6, 10 * round_)
        for number in [6] if together else [1] * 6:
            rounds.take("child", 1, 10 * round_ + 6, number)
    assert rounds.found == ("parent", "child")
    rounds.clear()
    assert rounds.found is None
    assert rounds.since == 0


def test_what_is_kept_is_bounded() -> None:
    rounds = Rounds()
    for number in range(10_000):
        rounds.take(f"statement {number}", 1, number)
    assert len(rounds._pairs) <= 64
