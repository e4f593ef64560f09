"""`python -m bench.feeds`: what it measures is done, and each bar that is missed is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.feeds import Measured, feeds_us, totals_s
from bench.growing import grow

CAPTURES = Path(__file__).parents[1] / "captures"
GOOD = Measured(6.0, 4.9, 1.2, 850_000, 1.4, 0.06)


def test_each_bar_is_checked() -> None:
    assert GOOD.missed() == []
    for change in ({"looking_us": 5.1}, {"filter_ratio": 1.31}, {"totals_s": 2.1}, {"tick_s": 0.11}):
        (line,) = replace(GOOD, **change).missed()
        assert "at most" in line
    assert GOOD.markdown().count("\n") == 6


def test_a_screen_looks_at_all_rows_and_adds_up_a_filter(tmp_path: Path) -> None:
    large = tmp_path / "large.pgtrace"
    copies = grow(CAPTURES / "psycopg" / "ten_queries.pgtrace", large, 200_000)
    reading_us, looking_us = feeds_us(large)
    assert reading_us > 0 < looking_us
    rows, until_s, longest_s = totals_s(large)
    assert rows > 10 * copies
    assert 0 < longest_s <= until_s
