"""Which tables a statement names."""

from __future__ import annotations

import pytest
from hypothesis import given

from pgtrace.sqltext.tables import tables
from tests.sqltext.sql_strategy import SQL


@given(SQL)
def test_any_text_has_an_answer(sql: str) -> None:
    assert len(tables(sql)) <= 9


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("SELECT id FROM orders WHERE a = 1", ("orders",)),
        ("SELECT * FROM public.orders o, items AS i", ("orders", "items")),
        ('select 1 from "Shop"."Order Lines" JOIN ONLY items USING (id)', ("Order Lines", "items")),
        ("INSERT INTO audit (a, b) VALUES (1, 2)", ("audit",)),
        ("UPDATE items SET a = 1 FROM orders", ("items", "orders")),
        ("DELETE FROM items", ("items",)),
        ("SELECT * FROM generate_series(1, 3)", ()),
        ("SELECT * FROM (SELECT 1 FROM deep) x", ("deep",)),
        ("SELECT a FROM t FOR UPDATE OF t NOWAIT", ("t",)),
        ("COPY items (id) FROM STDIN", ("items",)),
        ("COPY items FROM STDIN", ("items",)),
        ("SELECT 1", ()),
        ("BEGIN", ()),
        ("SELECT extract(epoch FROM at) FROM log", ("at", "log")),
        ("INSERT INTO t SELECT 1 ON CONFLICT DO UPDATE SET a = 1", ("t",)),
    ],
)
def test_tables(sql: str, named: tuple[str, ...]) -> None:
    assert tables(sql) == named
