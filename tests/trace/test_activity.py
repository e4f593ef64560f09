"""Round trips over time: none is lost when the slices grow, and each stays where it was."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pgtrace.trace.activity import SLICES, Activity


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 10**12)), max_size=300), st.integers(1, SLICES // 4))
def test_none_is_lost_and_none_moves_by_more_than_a_part(taken: list[tuple[int, int]], parts: int) -> None:
    activity = Activity()
    until = max((time for _, time in taken), default=0) + SLICES * 1_000_000
    for connection, time in taken:
        activity.add([connection], [time])
    for connection in range(4):
        times = [time for own, time in taken if own == connection]
        found = activity.of(connection, until, parts)
        assert sum(found) == len(times)
        for place, count in enumerate(found):
            near = [time for time in times if (place - 1) * until <= time * parts <= (place + 2) * until]
            assert count <= len(near)


def test_it_does_not_grow_with_time() -> None:
    activity = Activity()
    for second in range(5_000):
        activity.add([1], [second * 1_000_000_000])
    assert len(activity._counts[1]) <= SLICES
    found = activity.of(1, 5_000 * 10**9, 10)
    assert sum(found) == 5_000
    assert max(found) < 2 * min(found)
