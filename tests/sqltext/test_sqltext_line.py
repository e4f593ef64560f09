"""One line of a statement, never wider than asked for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtrace import sqltext
from tests.sqltext.sql_strategy import SQL


@given(SQL, st.integers(min_value=0, max_value=60))
@settings(max_examples=300)
def test_shorten_keeps_the_width(sql: str, width: int) -> None:
    assert len(sqltext.shorten(sql, width)) <= width


@pytest.mark.parametrize(
    ("sql", "width", "line"),
    [
        ("SELECT id, sku, price\n  FROM items WHERE order_id = $1", 80, "SELECT id, sku, price FROM items WHERE order_id = $1"),
        ("SELECT id, sku, price FROM items WHERE order_id = $1", 29, "SELECT … FROM items WHERE or…"),
        ("SELECT id, sku, price FROM users WHERE id = $1", 30, "SELECT … FROM users WHERE id…"),
        ("SELECT a, (SELECT max(b) FROM u) FROM t", 16, "SELECT … FROM t"),
        ("WITH c AS (SELECT id FROM x) SELECT id, name FROM c", 45, "WITH c AS (SELECT id FROM x) SELECT … FROM c"),
        ("INSERT INTO audit (user_id, what) VALUES ($1, $2)", 29, "INSERT INTO audit …"),
        ("INSERT INTO audit (user_id, what) VALUES ($1, $2) RETURNING id", 40, "INSERT INTO audit … RETURNING id"),
        ("COPY items (id, sku, price) FROM STDIN", 29, "COPY items (id, sku, price)…"),
        ("SELECT pg_advisory_unlock_all(); CLOSE ALL", 30, "SELECT …; CLOSE ALL"),
        ("SELECT 1 -- why\n", 29, "SELECT 1"),
        ("", 10, ""),
    ],
)
def test_shorten(sql: str, width: int, line: str) -> None:
    assert sqltext.shorten(sql, width) == line


def test_shorten_measures_in_cells() -> None:
    def wide(text: str) -> int:
        return sum(2 if ord(c) > 0x2E80 else 1 for c in text)

    assert sqltext.shorten("値値値値値値", 6, wide) == "値値…"
