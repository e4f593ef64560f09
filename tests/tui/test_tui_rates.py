"""Round trips per second: over five seconds, and a minute of them as blocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.tui.model.rates import CELLS, Rates, blocks


@pytest.mark.parametrize(
    ("counts", "shown"), [([], ""), ([0, 0], "··"), ([0, 1], "·█"), ([1, 4, 8], "▂▅█"), ([5, 5], "██"), ([1, 1000], "▁█")]
)
def test_blocks_are_relative_to_the_greatest(counts: list[int], shown: str) -> None:
    assert blocks(counts, "·") == shown


def test_nothing_is_known_of_one_moment() -> None:
    rates = Rates()
    assert (rates.per_second, rates.sparkline()) == (0.0, "")
    rates.note(1.0, 1000)
    assert (rates.per_second, rates.sparkline()) == (0.0, "")


@given(st.integers(1, 500), st.integers(11, 300))
def test_a_steady_rate_is_that_rate(each_second: int, seconds: int) -> None:
    rates = Rates()
    for second in range(seconds):
        rates.note(float(second), second * each_second)
    assert rates.per_second == pytest.approx(each_second)
    assert rates.sparkline() == "█" * min(CELLS, (seconds - 1) // 5)
    assert len(rates._recent) <= 7


def test_what_lies_five_seconds_back_is_forgotten() -> None:
    rates = Rates()
    for second in range(60):
        rates.note(float(second), 1000 if second >= 20 else 50 * second)
    assert rates.per_second == 0.0
    assert rates.sparkline() == "████" + "▁" * 7


def test_a_pause_is_cells_of_nothing() -> None:
    """Nothing is read for a while, then much at once: it counts where it was read."""
    rates = Rates()
    rates.note(0.0, 0)
    rates.note(31.0, 600)
    assert rates.sparkline() == "█" + "▁" * 5
    assert rates.per_second == pytest.approx(600 / 31)


def test_errors_are_known_by_the_cell() -> None:
    rates = Rates()
    for second in range(16):
        rates.note(float(second), 10 * second, 0 if second < 7 else 1)
    assert rates.failed() == [False, True, False]
    assert len(rates.sparkline()) == 3
