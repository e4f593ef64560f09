"""Alignment against the longest common subsequence, and what it costs where there is little in common."""

from __future__ import annotations

import itertools
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.compare import align as module
from pgtrace.compare.align import align

SEQUENCE = st.lists(st.integers(0, 4), max_size=40)


def common(first: list[int], second: list[int]) -> int:
    """Length of the longest common subsequence, by the textbook's table."""
    row = [0] * (len(second) + 1)
    for one in first:
        diagonal = 0
        for place, other in enumerate(second, 1):
            diagonal, row[place] = row[place], diagonal + 1 if one == other else max(row[place], row[place - 1])
    return row[-1]


def is_alignment(first: list[int], second: list[int], pairs: list[tuple[int, int]]) -> bool:
    rising = all(one[0] < other[0] and one[1] < other[1] for one, other in itertools.pairwise(pairs))
    return rising and all(first[one] == second[other] for one, other in pairs)


@given(SEQUENCE, SEQUENCE)
def test_no_alignment_is_longer(first: list[int], second: list[int]) -> None:
    pairs = align(first, second)
    assert is_alignment(first, second, pairs)
    assert len(pairs) == common(first, second)


@given(SEQUENCE, SEQUENCE)
def test_a_search_that_is_cut_short_is_an_alignment_still(first: list[int], second: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "_STEPS", 1)
        patched.setattr(module, "_FEWEST_EDITS", 2)
        pairs = align(first, second)
    assert is_alignment(first, second, pairs)
    ends = [one == other for one, other in zip(first, second, strict=False)]
    assert len(pairs) >= (ends.index(False) if False in ends else len(ends))


def test_what_was_inserted_disturbs_nothing_else() -> None:
    first = [number % 7 for number in range(1000)]
    second = [*first[:500], 9, *first[500:]]
    assert align(first, second) == [(place, place + (place >= 500)) for place in range(1000)]


def test_the_cost_grows_with_the_length_and_not_with_its_square() -> None:
    spent = {}
    for length in (5_000, 40_000):
        chance = random.Random(length)
        first, second = ([chance.randrange(50) for _ in range(length)] for _ in range(2))
        begun = time.process_time()
        assert is_alignment(first, second, align(first, second))
        spent[length] = time.process_time() - begun
    assert spent[40_000] < 24 * max(spent[5_000], 0.01), spent  # 8 times as long: 64 times the square
