"""A compact set of hashes does what a set does."""

from __future__ import annotations

import sys

from hypothesis import given
from hypothesis import strategies as st

from pgtrace.session.hashes import Hashes

VALUES = st.one_of(st.integers(-4, 40), st.integers(-(1 << 63), (1 << 63) - 1).map(lambda value: value & ~0xFF | 7))
"""Few different ones, and many that have the same low bits."""


@given(st.lists(st.tuples(st.sampled_from(["add", "discard"]), VALUES), max_size=200))
def test_it_is_a_set(steps: list[tuple[str, int]]) -> None:
    hashes, known = Hashes(), set()
    for step, value in steps:
        getattr(hashes, step)(value)
        getattr(known, step)(value if value not in (0, 1) else 2)
        assert len(hashes) == len(known)
    hashes.clear()
    assert not hashes


def test_what_is_discarded_takes_no_room_for_ever() -> None:
    hashes = Hashes()
    for number in range(2, 10_000):
        hashes.add(number << 20)
        hashes.discard(number << 20)
    assert not hashes
    assert sys.getsizeof(hashes._slots) < 1000


def test_how_much_very_many_take() -> None:
    hashes = Hashes()
    for number in range(100_000):
        hashes.add(hash(f"s{number}"))
    assert len(hashes) == 100_000
    assert sys.getsizeof(hashes._slots) <= 24 * 100_000
