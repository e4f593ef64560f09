"""A line is exactly as wide as it was made, whatever is put in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from pgtrace.tui.model import cells, figures
from pgtrace.tui.model.theme import DARK, Pen
from pgtrace.tui.widgets import lines
from pgtrace.tui.widgets.lines import Line

TEXTS = st.text(alphabet=st.sampled_from("ab Z漢字🙂e\u0301→…é─│"), max_size=40)


@given(TEXTS, st.integers(1, 30))
def test_cut_fits_and_keeps_what_fits(text: str, width: int) -> None:
    short = cells.cut(text, width)
    assert cells.width(short) <= width
    if cells.width(text) <= width:
        assert short == text


@given(st.lists(st.tuples(TEXTS, st.none() | st.integers(0, 20), st.booleans()), max_size=8), st.integers(1, 60), st.booleans())
def test_a_line_is_filled_exactly(pieces: list[tuple[str, int | None, bool]], width: int, ascii_only: bool) -> None:
    line = Line(Pen(DARK, ascii_only=ascii_only), width)
    for text, column, right in pieces:
        line.add(text, "text", column, right=right)
    strip = line.strip()
    assert cell_len(strip.text) == width
    assert strip.cell_length == width
    if ascii_only:
        assert strip.text.isascii()


def test_a_wide_character_is_never_split() -> None:
    assert cells.width(cells.cut("漢字漢字", 6)) <= 6
    assert cells.cut("漢字", 3) == "漢…"


def test_a_very_long_text_is_cut_without_being_measured() -> None:
    assert cells.cut("x" * 1_000_000, 10) == "xxxxxxxxx…"
    assert cells.cut("e" + "\u0301" * 10_000, 5).startswith("e")


def test_pad_counts_cells() -> None:
    assert cells.pad("漢", 4) == "漢  "
    assert cells.pad("漢", 4, right=True) == "  漢"


def test_to_never_goes_back() -> None:
    assert Line(Pen(), 8).add("abcdef").to(3).add("g").strip().text == "abcdefg "


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "·"),
        (7, "7"),
        (959, "959"),
        (1000, "1.0k"),
        (9_240, "9.2k"),
        (18_000, "18k"),
        (999_400, "999k"),
        (1_234_567, "1.2M"),
        (5 << 30, "5.4G"),
    ],
)
def test_counts_take_five_cells_at_most(number: int, text: str) -> None:
    assert figures.count(number) == text
    assert len(text) <= 5


@given(st.integers(0, 1 << 62))
def test_no_count_is_wider_than_five_cells(number: int) -> None:
    assert len(figures.count(number)) <= 5


@pytest.mark.parametrize(("ns", "text"), [(0, "0.00"), (394_000, "0.39"), (999_990_000, "999.99"), (1_234_567_890, "1235")])
def test_milliseconds_have_two_decimals_below_a_thousand(ns: int, text: str) -> None:
    assert figures.milliseconds(ns) == text


@pytest.mark.parametrize(("ns", "text"), [(36_800_000, "0.0368"), (12_345_678_900, "12.3457"), (4_000_000_000_000, "4000.00")])
def test_seconds_fit_eight_cells(ns: int, text: str) -> None:
    assert figures.seconds(ns) == text
    assert len(text) <= 8


@pytest.mark.parametrize(
    ("ns", "text"), [(41_000_000, "41 ms"), (12_400_000_000, "12.4 s"), (134_000_000_000, "2 min 14 s"), (11_100_000_000_000, "3 h 05 min")]
)
def test_spans_for_people(ns: int, text: str) -> None:
    assert figures.span(ns) == text


def test_a_rule_has_its_note_at_the_right_or_leaves_it_out() -> None:
    wide = lines.rule(Pen(), 40, "left", "right").text
    assert wide.startswith("── left ──")
    assert wide.endswith("─ right ─")
    assert "right" not in lines.rule(Pen(), 14, "leftleft", "right").text
