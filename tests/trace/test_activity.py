"""How busy connections were over time: no time is lost when the slices grow, and each stays where it was; and what was open at once."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.trace import activity as activity_module
from pgtrace.trace.activity import SLICES, Activity, AtOnce
from pgtrace.trace.feed import Feed
from pgtrace.trace.times import keys_of, times
from pgtrace.trace.trace import Trace
from tests import playbook

DATA = Path(__file__).parents[1] / "data"
CAPTURES = Path(__file__).parents[2] / "captures"
TAKEN = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 10**12), st.integers(0, 10**11)), min_size=1, max_size=200)


@given(TAKEN, st.integers(1, 3 * SLICES))
def test_no_time_is_lost(taken: list[tuple[int, int, int]], parts: int) -> None:
    activity = Activity()
    for connection, opened, took in taken:
        activity.add([connection], [opened], [took])
    for connection in range(4):
        expected = sum(took for own, _, took in taken if own == connection)
        assert sum(activity._busy[connection].values()) == expected
        assert all(0 <= place < SLICES for place in activity._busy[connection])
        assert all(0 <= share <= 1 for share in activity.of(connection, 2 * 10**12, parts))


@given(st.lists(st.integers(0, 10**11), min_size=2, max_size=60, unique=True), st.integers(1, 24))
def test_it_is_where_it_was(moments: list[int], parts: int) -> None:
    """One connection: round trips do not overlap. A share is off by what lies in the slices at the ends of a part."""
    moments.sort()
    spans = [(first, second) for first, second in zip(moments[::2], moments[1::2], strict=False)]
    activity = Activity()
    for first, second in spans:
        activity.add([1], [first], [second - first])
    until = 10**11
    found, part = activity.of(1, until, parts), until / parts
    for number, share in enumerate(found):
        begin, end = number * part - activity._slice_ns, (number + 1) * part + activity._slice_ns
        most = sum(max(0, min(second, end) - max(first, begin)) for first, second in spans)
        assert share * part <= most + 1
    assert sum(found) * part == pytest.approx(sum(second - first for first, second in spans), rel=0.01, abs=parts)


def test_it_does_not_grow_with_time() -> None:
    activity = Activity()
    for second in range(5_000):
        activity.add([1], [second * 1_000_000_000], [250_000_000])
    assert len(activity._busy[1]) <= SLICES
    assert activity.of(1, 5_000 * 10**9, 10) == pytest.approx([0.25] * 10, rel=0.05)
    activity.add([2], [0], [5_000 * 10**9])
    assert activity.of(2, 5_000 * 10**9, 7) == pytest.approx([1.0] * 7)


@pytest.mark.parametrize(
    "path",
    [DATA / "poolers" / "front.pgtrace", DATA / "findings" / "both_sides.pgtrace", CAPTURES / "asyncpg" / "pool.pgtrace"],
    ids=lambda path: path.stem,
)
@pytest.mark.parametrize("budget", [None, 4096])
def test_at_once_is_what_stats_says(path: Path, budget: int | None) -> None:
    with closing(Trace.open([path])) as trace:
        feed, at_once = Feed(trace), AtOnce(())
        feed.subscribe(at_once)
        while trace.update(budget_bytes=budget):
            feed.advance()
        feed.advance()
        (expected,) = times(trace, keys_of(trace, "all")).values()
        assert at_once.most == expected.round_trips_at_once > 0


@pytest.mark.parametrize(("bound", "expected"), [(10_000, (0, 0)), (3, (2, 20_000_000))])
def test_what_waits_for_an_open_one_is_bounded(
    bound: int, expected: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity_module, "MOST_WAITING", bound)
    login = "{at} c{number} F StartupMessage user=app\n{at} c{number} B AuthenticationOk | ReadyForQuery I\n"
    script = login.format(at=0, number=1) + login.format(at=1, number=2) + "10 c1 F Query SELECT 1\n"
    for at in range(20, 60, 4):
        script += f"{at} c2 F Query SELECT 2\n{at + 1} c2 B CommandComplete SELECT 1 | ReadyForQuery I\n"
    with closing(Trace.open([playbook.write(tmp_path / "open.pgtrace", script)])) as trace:
        feed, at_once = Feed(trace), AtOnce(())
        feed.subscribe(at_once)
        trace.update()
        feed.advance()
        assert len(at_once._waiting) <= bound
        assert (at_once.most, at_once.at_ns) == expected
