"""Every width has columns that fit it, in the order of need."""

from __future__ import annotations

import pytest

from pgtrace.tui.model.columns import SQL_MINIMUM, columns

WIDTHS = range(60, 241)


def names(width: int, **facts: object) -> set[str]:
    return {column.name for column in columns(width, **facts)}  # type: ignore[arg-type]


@pytest.mark.parametrize("waterfall", [True, False])
@pytest.mark.parametrize("connection", [2, 3, 5, 7])
@pytest.mark.parametrize("driver", [True, False])
@pytest.mark.parametrize(("joined", "sites"), [(True, True), (True, False), (False, True), (False, False)])
def test_columns_stand_side_by_side_within_the_width(driver: bool, connection: int, waterfall: bool, joined: bool, sites: bool) -> None:
    for width in WIDTHS:
        end = 0
        for column in columns(width, driver=driver, connection=connection, waterfall=waterfall, joined=joined, sites=sites):
            assert column.start >= end, (width, column)
            assert column.width > 0, (width, column)
            end = column.end
        assert end <= width - 1, width


def test_sql_keeps_its_minimum_from_72_cells_on() -> None:
    for width in range(72, 241):
        sql = next(column for column in columns(width) if column.name == "sql")
        assert sql.width >= SQL_MINIMUM, width


def test_what_always_stays() -> None:
    for width in WIDTHS:
        assert names(width) >= {"cursor", "time", "cn", "rail", "flight", "sql", "marks", "rows", "ms"}, width


def test_80_cells_give_up_driver_bytes_and_bar() -> None:
    assert not names(80) & {"driver", "bytes", "sent", "recv", "bar", "statement", "first"}


def test_120_cells_have_all_but_the_luxuries() -> None:
    assert names(120) >= {"driver", "bytes", "bar"}
    assert not names(120) & {"statement", "first", "sent", "recv"}


def test_200_cells_have_everything() -> None:
    assert names(200) >= {"driver", "statement", "sent", "recv", "first", "bar"}
    assert "bytes" not in names(200)


def test_columns_never_leave_as_the_screen_grows() -> None:
    order = ("bytes", "driver", "bar", "statement")
    first_seen = [min(width for width in WIDTHS if name in names(width) or (name == "bytes" and "sent" in names(width))) for name in order]
    assert first_seen == sorted(first_seen)
    for name in ("driver", "bar", "statement", "first"):
        seen = [name in names(width) for width in WIDTHS]
        assert seen == sorted(seen), name


def test_lines_of_code_have_a_column_from_140_cells_on_if_there_are_any() -> None:
    assert {width for width in WIDTHS if "site" in names(width, sites=True)} == set(range(140, 241))
    assert not any("site" in names(width) for width in WIDTHS)


def test_one_driver_needs_no_column() -> None:
    assert "driver" not in names(240, driver=False)


def test_the_error_flight_of_a_pipeline_fits_at_120() -> None:
    flight = next(column for column in columns(120) if column.name == "flight")
    assert flight.width >= len("PBDE×5 S → …E skip×2 Z")


def test_in_a_waterfall_the_bar_has_the_room_of_rows_and_bytes() -> None:
    bars = []
    for width in WIDTHS:
        assert not names(width, waterfall=True) & {"rows", "bytes", "sent", "recv"}, width
        assert names(width, waterfall=True) >= {"time", "cn", "rail", "flight", "sql", "marks", "ms", "bar"}, width
        bars.append(next(column.width for column in columns(width, waterfall=True) if column.name == "bar"))
    assert bars == sorted(bars)
    assert (bars[0], bars[120 - 60], bars[-1]) == (12, 33, 75)
    assert "driver" in names(120, waterfall=True)
