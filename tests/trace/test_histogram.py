"""Durations in a few buckets: totals are exact, percentiles nearly, and sums of histograms are histograms of all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pgtrace.trace.histogram import Histogram

VALUES = st.lists(st.integers(0, 10**13))


def of(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


def told(histogram: Histogram) -> tuple[object, ...]:
    return histogram.count, histogram.total, histogram.max, [histogram.percentile(percent) for percent in range(0, 101, 5)]


@given(st.lists(st.integers(0, 10**13), min_size=1))
def test_percentiles_are_within_two_percent(values: list[int]) -> None:
    histogram = of(values)
    assert (histogram.count, histogram.total, histogram.max) == (len(values), sum(values), max(values))
    ordered = sorted(values)
    for percent in (50, 95):
        exact = ordered[max(0, -(-len(values) * percent // 100) - 1)]
        assert abs(histogram.percentile(percent) - exact) <= exact * 0.02 + 1


@given(VALUES, VALUES, st.integers(1, 5))
def test_all_ways_to_add_are_one(some: list[int], others: list[int], times: int) -> None:
    whole = told(of(some + others * times))
    merged = of(some)
    for _ in range(times):
        merged.merge(of(others))
    at_once = Histogram()
    at_once.add_all(some)
    for value in others:
        at_once.add(value, times)
    assert told(merged) == told(at_once) == whole


def test_a_histogram_in_parts_has_every_value() -> None:
    shares = of([100, 100, 120, 3_000, 100_000]).shares(3)
    assert [times for _, _, times in shares] == [3, 1, 1]
    assert shares[0][0] in range(95, 106)
    assert shares[-1][1] == 100_000
    assert sum(times for _, _, times in of([0]).shares(4)) == 1


@given(st.lists(st.integers(0, 10**13), min_size=1), st.integers(0, 10**13))
def test_the_greatest_value_is_exact_where_it_stands_alone(values: list[int], one: int) -> None:
    assert {of([one]).percentile(percent) for percent in (0, 50, 95, 100)} == {one}
    assert of([*values, 2 * max(values) + 100]).percentile(100) == 2 * max(values) + 100
