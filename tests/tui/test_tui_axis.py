"""Bars stand where their round trips stood, and idle time does not flatten them."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from pgtrace.tui.model.axis import FOR_NOBODY, IDLE, IN_POOLER, RECEIVING, WAITING, Axis, Part

MS = 1_000_000


def drawn(axis: Axis, start: int, end: int) -> str:
    return "".join(text for text, _ in axis.bar([(start, end, WAITING)]))


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
    assert first[axis.cuts[0]] == " " == second[axis.cuts[0]]
    assert axis.head()[axis.cuts[0]] == "╌"


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


def test_a_bar_tells_waiting_from_receiving_and_the_drivers_own_time() -> None:
    axis = Axis([(0, 12 * MS)], 12)
    parts = [(0, 4 * MS, IDLE), (6 * MS + MS // 2, 12 * MS, RECEIVING), (4 * MS, 6 * MS + MS // 2, WAITING)]
    assert axis.bar(parts) == [("┄┄┄┄", "faint"), ("━━╾─────", "bar")]


def test_what_the_server_did_for_nobody_stands_out() -> None:
    axis = Axis([(0, 10 * MS)], 10)
    assert axis.bar([(4 * MS, 10 * MS, FOR_NOBODY), (0, 4 * MS, WAITING)]) == [("━━━━", "bar"), ("╍╍╍╍╍╍", "attention")]


def test_time_in_a_pooler_is_around_the_servers() -> None:
    axis = Axis([(0, 10 * MS)], 10)
    assert axis.bar([(0, 10 * MS, IN_POOLER), (4 * MS, 8 * MS + MS // 2, WAITING)]) == [("░░░░━━━━╸░", "bar")]
    assert axis.bar([(0, 4 * MS, IDLE), (4 * MS, 8 * MS, IN_POOLER)]) == [("┄┄┄┄", "faint"), ("░░░░", "bar"), ("  ", "faint")]


def test_zoomed_it_shows_the_window_and_nothing_else() -> None:
    axis = Axis([(0, 100 * MS)], 10, (20 * MS, 30 * MS))
    assert drawn(axis, 0, 100 * MS) == "━" * 10
    assert drawn(axis, 25 * MS, 100 * MS) == " " * 5 + "━" * 5
    assert drawn(axis, 0, 19 * MS) == drawn(axis, 31 * MS, 40 * MS) == " " * 10
    assert Axis([], 24, (20 * MS, 30 * MS)).head() == "0.0200         +10.00 ms"


PARTS = st.tuples(st.integers(0, 10**10), st.integers(0, 10**10), st.sampled_from([WAITING, RECEIVING, IDLE, FOR_NOBODY, IN_POOLER])).map(
    lambda part: (min(part[:2]), max(part[:2]), part[2])
)


@given(
    st.lists(PARTS, max_size=12),
    st.integers(12, 80),
    st.none() | st.tuples(st.integers(0, 10**10), st.integers(1000, 10**10)).map(lambda pair: (pair[0], sum(pair))),
)
def test_whatever_the_zoom_a_bar_stays_on_the_axis(parts: list[Part], width: int, window: tuple[int, int] | None) -> None:
    axis = Axis([part[:2] for part in parts], width, window)
    assert len("".join(text for text, _ in axis.bar(parts))) == width
    assert len(axis.head()) == width
    moments = [axis.time_at(cell) for cell in range(width)]
    assert moments == sorted(moments)
    if window is not None:
        assert window[0] <= moments[0]
        assert moments[-1] <= window[1]


@given(st.integers(0, 10**10), st.integers(10**6, 10**10), st.integers(12, 80))
def test_a_moment_is_found_at_its_cell(start: int, span: int, width: int) -> None:
    axis = Axis([], width, (start, start + span))
    assert all(abs(axis.half(axis.time_at(cell)) - 2 * cell) < 0.01 for cell in range(width))


def test_a_cut_is_not_marked_within_the_numbers() -> None:
    """The blank before `ms` is not free: `+42.90╌ms` would be another unit."""
    for width in range(12, 60):
        for pause in range(1, 60):
            first, second = (0, MS), ((1 + pause) * MS, (2 + pause) * MS)
            assert re.fullmatch(r"0?[ ╌]*\+[\d.]+ ms", Axis([first, second, (200 * MS, 201 * MS)], width).head())
