"""Bars stand where their round trips stood, and idle time does not flatten them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pgtrace.tui.axis import Axis

MS = 1_000_000


def drawn(axis: Axis, start: int, end: int) -> str:
    return "".join(text for text, _ in axis.bar(start, end))


def test_a_bar_over_the_whole_axis_fills_it() -> None:
    axis = Axis([(5 * MS, 15 * MS)], 12)
    assert drawn(axis, 5 * MS, 15 * MS) == "━" * 12
    assert axis.span_ns == 10 * MS
    assert axis.head() == "0  +10.00 ms"


def test_halves_of_a_cell_end_a_bar() -> None:
    axis = Axis([(0, 12 * MS)], 12)
    assert drawn(axis, 0, 1 * MS + MS // 2) == "━╸" + " " * 10
    assert drawn(axis, MS // 2, 2 * MS) == "╺━" + " " * 10


def test_nothing_is_shorter_than_half_a_cell() -> None:
    axis = Axis([(0, 1000 * MS)], 12)
    assert drawn(axis, 999 * MS, 1000 * MS).strip() in ("╺", "╸")
    assert drawn(axis, 1000 * MS, 1000 * MS).strip() == "╺"


def test_long_idle_time_is_one_cell() -> None:
    spans = [(0, 10 * MS), (1000 * MS, 1010 * MS)]
    axis = Axis(spans, 20)
    assert len(axis.cuts) == 1
    first, second = drawn(axis, *spans[0]), drawn(axis, *spans[1])
    assert first.count("━") >= 8
    assert second.count("━") >= 8
    assert first[axis.cuts[0]] == "╌" == second[axis.cuts[0]]


@given(
    st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**10)).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=40),
    st.integers(12, 24),
)
def test_every_bar_fills_its_cells(spans: list[tuple[int, int]], width: int) -> None:
    axis = Axis(spans, width)
    assert len(axis.cuts) <= 9
    for start, end in spans:
        bar = drawn(axis, start, end)
        assert len(bar) == width
        assert set(bar) & set("━╸╺")
    assert len(axis.head()) >= width


def test_no_rows_no_trouble() -> None:
    assert len(drawn(Axis((), 12), 0, 0)) == 12
