"""Tables of any number of rows: the same lines, and memory that does not grow with them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.report.table import long_table, table

MANY = 20_000
BOUND = 2 << 20


def rows(number: int) -> Iterator[list[str]]:
    for one in range(number):
        yield [f"a:{one}", "psycopg", "x" * 60, *map(str, range(one, one + 8))]


def test_memory_does_not_grow_with_the_rows() -> None:
    tracemalloc.start()
    try:
        printed = sum(1 for _ in long_table(["one"] * 11, rows(MANY)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert printed == MANY + 1
    assert peak < BOUND, f"{peak} bytes"


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2)))
def test_each_row_is_one_line_whatever_is_in_it(cells: list[list[str]]) -> None:
    lines = table(["a", "b"], cells)
    assert len(lines) == len(cells) + 1
    assert not any("\n" in line or "\t" in line for line in lines)


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table(["name", "n"], [["漢字", "1"], ["abcdef", "10"]]) == ["name     n", "漢字     1", "abcdef  10"]


HEAD = ["driver", "round trips", "pipelined", "prepared", "errors", "wait ms"]
ROW = ["psycopg", "14", "1", "2", "3", "7.47"]
WIDE, SHORT, TIGHT = (
    ["driver   round trips  pipelined  prepared  errors  wait ms", "psycopg           14          1         2       3     7.47"],
    ["driver   rt  pipe  prep  err    ms", "psycopg  14     1     2    3  7.47"],
    ["driver  rt pipe prep err   ms", "psycopg 14    1    2   3 7.47"],
)


@pytest.mark.parametrize(
    ("columns", "lines"), [(None, WIDE), (200, WIDE), (58, WIDE), (57, SHORT), (34, SHORT), (33, TIGHT), (29, TIGHT), (10, TIGHT)]
)
def test_a_table_fits_its_terminal_if_it_can(columns: int | None, lines: list[str]) -> None:
    assert table(HEAD, [ROW], columns=columns) == lines


@given(
    st.lists(st.lists(st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=9), min_size=4, max_size=4)),
    st.integers(1, 80),
)
def test_a_narrow_table_has_the_same_cells(cells: list[list[str]], columns: int) -> None:
    head = ["mark", "round trips", "errors", "wait ms"]
    filled = [[cell or "x" for cell in row] for row in cells]
    wide, narrow = table(head, filled), table(head, filled, columns=columns)
    assert [line.split() for line in wide[1:]] == [line.split() for line in narrow[1:]]
    assert narrow == wide or max(map(len, wide)) > columns
    assert max(map(len, narrow)) <= max(map(len, wide))
