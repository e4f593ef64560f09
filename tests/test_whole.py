"""Whole numbers in text that somebody else wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.whole import whole_number


@given(st.integers(0, 10**18), st.integers(0, 10**18))
def test_a_number_up_to_the_largest(number: int, most: int) -> None:
    assert whole_number(str(number), most) == (number if number <= most else None)


@pytest.mark.parametrize("text", ["", "-1", "+1", " 1", "1 ", "1_0", "1.0", "²", "٣", "x", "1" * 21, "9" * 5000])
def test_anything_else_is_none(text: str) -> None:
    """Digits of other scripts, and as many as int() refuses, among it."""
    assert whole_number(text, 10**30) is None
