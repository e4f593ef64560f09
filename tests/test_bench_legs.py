"""The table of what two legs cost, and the sentence about joining."""

from __future__ import annotations

from pathlib import Path

from bench.legs import ALONE, BARE, BOTH, reading, table
from bench.measure import Latency

BOTH_SIDES = Path(__file__).parent / "data" / "findings" / "both_sides.pgtrace"


def test_the_table() -> None:
    found = {ALONE: [Latency(40, 50, None)], BARE: [Latency(120, 200, None)], BOTH: [Latency(100, 150, None)]}
    assert table(found)[2:] == [
        f"| {ALONE} | 40 µs | · | · | 50 µs |",
        f"| {BARE} | 120 µs | 80 µs | 1.00 | 200 µs |",
        f"| {BOTH} | 100 µs | 60 µs | 0.75 | 150 µs |",
    ]


def test_the_sentence() -> None:
    assert reading(BOTH_SIDES).startswith("60 of 60 round trips joined; read in ")
