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
        ("SELECT a FROM t WHERE id IN ($1, $2, $3, $4, $5) AND b = 1", 48, "SELECT … FROM t WHERE id IN ($1, …, $5) AND b =…"),
        ("SELECT a FROM t WHERE id IN ($1, $2, $3, $4, $5) AND b = 1", 50, "SELECT … FROM t WHERE id IN ($1, …, $5) AND b = 1"),
        ("SELECT a FROM t WHERE id = ANY(ARRAY[1, 2, 3, 4]) AND b = 1", 56, "SELECT … FROM t WHERE id = ANY(ARRAY[1, …, 4]) AND b = 1"),
        ("SELECT f(1, 2, 3, (4, 5, 6, 7)), b FROM t", 17, "SELECT … FROM t"),
        ("UPDATE t SET a = f(1, 2, 3, g(4, 5, 6, 7)) WHERE id = 1", 49, "UPDATE t SET a = f(1, …, g(4, …, 7)) WHERE id = 1"),
        ("SELECT b.id FROM book b JOIN author a ON a.id = b.author_id WHERE b.id = 1", 37, "SELECT … FROM book b … WHERE b.id = 1"),
        ("SELECT 1 FROM a, b WHERE a.x = b.x", 31, "SELECT … FROM a … WHERE a.x =…"),
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
