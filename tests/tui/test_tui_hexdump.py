"""The dump shows every byte once, and the marked ones inverted in both halves."""

from __future__ import annotations

import pytest

from pgtrace.tui.model.theme import DARK, Pen
from pgtrace.tui.widgets.hexdump import hex_line, line_count

DATA = b"E\0\0\0\x82SERROR\0C23505\0M"


def inverted(width: int, number: int, marked: tuple[int, int]) -> str:
    style = Pen(DARK).on("background")["inverted"]
    return "|".join(segment.text for segment in hex_line(Pen(DARK), width, DATA, number, 0x10AC, marked) if segment.style == style)


def test_pairs_when_narrow_bytes_when_wide() -> None:
    narrow = hex_line(Pen(), 66, DATA, 0, 0x10AC, (0, 0)).text
    wide = hex_line(Pen(), 80, DATA, 0, 0x10AC, (0, 0)).text
    tiny = hex_line(Pen(), 60, DATA, 1, 0x10AC, (0, 0)).text
    assert tiny.rstrip() == "  10b4  524f 5200 4332 3335  ROR·C235"
    assert narrow.rstrip() == "  10ac  4500 0000 8253 4552  524f 5200 4332 3335  E····SERROR·C235"
    assert wide.rstrip() == "  10ac  45 00 00 00 82 53 45 52  52 4f 52 00 43 32 33 35  E····SERROR·C235"


@pytest.mark.parametrize("width", [40, 60, 66, 67, 76, 80, 120])
def test_lines_fill_the_width(width: int) -> None:
    for number in range(line_count(len(DATA), width)):
        assert len(hex_line(Pen(), width, DATA, number, 0, (3, 9)).text) == width


def test_marked_bytes_are_inverted_in_both_halves_across_lines() -> None:
    assert inverted(66, 0, (12, 18)).replace("|", "") == "4332 3335C235"
    assert inverted(66, 1, (12, 18)).replace("|", "") == "303505"


def test_an_offset_counts_from_the_stream() -> None:
    assert hex_line(Pen(), 80, DATA, 1, 0x10AC, (0, 0)).text.strip().startswith("10bc")


def test_line_count() -> None:
    assert [line_count(size, 80) for size in (0, 1, 16, 17)] == [0, 1, 1, 2]
    assert [line_count(size, 60) for size in (0, 1, 8, 16, 17)] == [0, 1, 1, 2, 3]
