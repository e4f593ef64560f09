"""Loops over several keys in turn are found as soon as a slow look at the whole run finds them."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from pgtrace.trace.turns import MOST, REPEATS, Turns

PARTS = st.lists(st.tuples(st.text("abc", min_size=1, max_size=MOST + 1), st.integers(1, REPEATS + 1)), max_size=6)


def shortest(keys: str) -> int:
    """How many keys the loop has that the last one makes known."""
    return next(
        (period for period in range(1, MOST + 1) if len(keys) >= period * REPEATS and keys.endswith(keys[-period:] * REPEATS)),
        0,
    )


@given(PARTS)
@example([("ab", REPEATS)])
@example([("abcdefgh", REPEATS)])
@example([("abcdefghi", REPEATS)])
@example([("aab", REPEATS)])
def test_a_loop_is_known_with_its_last_round(parts: list[tuple[str, int]]) -> None:
    keys = "".join(part * times for part, times in parts)
    turns: Turns[int] = Turns()
    began = 0
    for place, key in enumerate(keys):
        found = turns.take(key, place)
        period = shortest(keys[began : place + 1])
        assert found == list(range(place + 1 - period * REPEATS, place + 1))
        if found:
            turns.clear()
            began = place + 1


def test_without_a_look_at_it_a_loop_goes_on() -> None:
    turns: Turns[int] = Turns()
    found = [turns.take("ab"[place % 2], place) for place in range(2 * REPEATS + 3)]
    assert [bool(one) for one in found] == [False] * (2 * REPEATS - 1) + [True] * 4
    assert found[-1] == list(range(3, 2 * REPEATS + 3))
