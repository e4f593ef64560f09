"""Durations as people type them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.durations import duration_ns, has_unit
from pgtrace.errors import UsageError

UNITS = {"us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}


@pytest.mark.parametrize(
    ("text", "ns"),
    [("1000000s", 10**15), ("20ms", 20_000_000), ("0.5s", 500_000_000), ("300us", 300_000), ("20", 20_000_000), (" 1 s ", 10**9), ("0", 0)],
)
def test_what_a_duration_is(text: str, ns: int) -> None:
    assert duration_ns(text) == ns


@given(st.integers(0, 10**6), st.sampled_from(list(UNITS)), st.sampled_from(["", " ", "\t"]))
def test_number_and_unit(number: int, unit: str, space: str) -> None:
    assert duration_ns(f"{number}{space}{unit}") == number * UNITS[unit]
    assert has_unit(f"{number}{unit}")
    assert not has_unit(str(number))


@pytest.mark.parametrize("text", ["", "ms", "-1ms", "1m", "1e3", "1.ms", ".5s", "1 2", "nan", "\x1b[31m1", "1ms;"])
def test_anything_else_is_refused_by_name(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        duration_ns(text)
    assert str(raised.value).startswith(repr(text))
    assert not has_unit(text)


@pytest.mark.parametrize("text", ["1000001s", "1000000.5s", "1000000001ms", "9" * 400, "9" * 5000 + "us"])
def test_a_duration_that_nobody_means_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is too long: at most 1000000s"):
        duration_ns(text)
