"""The screen's lines are shared out so that every band has its place at every size."""

from __future__ import annotations

import pytest

from pgtrace.tui.model.bands import LIST_MINIMUM, bands


@pytest.mark.parametrize("size", [(60, 12), (80, 24), (100, 30), (110, 20), (120, 40), (160, 45), (200, 60), (240, 80)])
@pytest.mark.parametrize("drivers", [0, 1, 3, 9])
def test_the_list_keeps_its_minimum_or_the_inspector_has_the_body(size: tuple[int, int], drivers: int) -> None:
    width, height = size
    shares = bands(width, height, drivers, timeline=True, inspector=True)
    assert shares.fits
    body = height - 3 - shares.totals
    if shares.inspector_alone:
        assert shares.inspector == body
    else:
        assert body - shares.inspector - 2 >= LIST_MINIMUM
        assert shares.inspector >= 13


def test_sizes_of_the_design() -> None:
    assert bands(80, 24, 3, timeline=True, inspector=True).inspector_alone
    assert not bands(120, 40, 3, timeline=True, inspector=True).inspector_alone
    assert bands(120, 40, 3, timeline=True, inspector=True).inspector == 16
    assert bands(80, 24, 3, timeline=True, inspector=False).totals == 1
    assert bands(120, 40, 3, timeline=True, inspector=False).totals == 5


def test_more_than_four_drivers_take_one_line_more() -> None:
    assert bands(120, 40, 4, timeline=True, inspector=False).totals == 6
    assert bands(120, 40, 9, timeline=True, inspector=False).totals == 7


def test_other_panes_keep_the_line_of_everything() -> None:
    assert bands(120, 40, 3, timeline=False, inspector=True).totals == 2


@pytest.mark.parametrize("size", [(59, 40), (120, 11), (1, 1)])
def test_too_small(size: tuple[int, int]) -> None:
    assert not bands(*size, 3, timeline=True, inspector=False).fits
