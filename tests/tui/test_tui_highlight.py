"""SQL in three tones, wrapped: nothing of it is lost, and no line is wider than asked for."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from pgtrace import sanitise
from pgtrace.tui.model import cells
from pgtrace.tui.model.highlight import wrapped
from tests.sqltext.sql_strategy import SQL


def texts(lines: tuple[tuple[tuple[str, str], ...], ...]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


@given(SQL, st.integers(min_value=20, max_value=60), st.booleans())
@settings(max_examples=150)
def test_all_of_it_is_there_and_fits(sql: str, width: int, as_written: bool) -> None:
    sql = re.sub("[\t\n\r\f\v]", " ", sql)
    lines = texts(wrapped(sql, width, as_written=as_written))
    assert all(cells.width(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == sanitise.text(sql).replace(" ", "")


def test_three_tones() -> None:
    (line,) = wrapped("SELECT a FROM t WHERE b = $1 AND c = 'x' -- why", 80)
    roles = {text.strip(): role for text, role in line if text.strip()}
    assert roles["SELECT"] == roles["FROM"] == roles["AND"] == "keyword"
    assert roles["$1"] == "parameter"
    assert roles["'x'"] == "literal"
    assert roles["-- why"] == "dim"
    assert roles["a"] == "text"


def test_values_take_the_place_of_parameters_outside_strings() -> None:
    (line,) = texts(wrapped("SELECT '$1', $1, $2", 80, (("$1", "42"), ("$2", "'x'"))))
    assert line == "SELECT '$1', 42, 'x'"


def test_line_breaks_are_kept_where_it_is_shown_as_written() -> None:
    sql = "SELECT a,\n       b\n  FROM t"
    assert texts(wrapped(sql, 80)) == ["SELECT a, b FROM t"]
    assert texts(wrapped(sql, 80, as_written=True)) == ["SELECT a,", "       b", "  FROM t"]


def test_wide_characters_and_what_a_terminal_would_obey() -> None:
    lines = texts(wrapped("SELECT '漢字漢字漢字漢字漢字漢字' \x1b[2J", 20))
    assert all(cells.width(line) <= 20 for line in lines)
    assert "\\x1b" in "".join(lines)
