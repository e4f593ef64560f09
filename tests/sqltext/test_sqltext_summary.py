"""What may leave the machine of a statement: a summary without values, and a text without them."""

from __future__ import annotations

import pytest
from hypothesis import given

from pgtrace.sqltext import scan
from pgtrace.sqltext.summary import LONGEST, summary, without_values
from tests.sqltext.sql_strategy import SQL


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("select * from orders o join customers c on true where id = 7", "SELECT orders customers"),
        ("INSERT INTO item VALUES (1)", "INSERT item"),
        ("begin; select 1; select 2; commit", "BEGIN; SELECT; COMMIT"),
        ("-- a comment\nupdate only shop.item set a = 1", "UPDATE item"),
        ("", ""),
        (";;", ""),
    ],
)
def test_the_summary(sql: str, said: str) -> None:
    assert summary(sql) == said


def test_a_summary_is_cut_at_a_word() -> None:
    long = summary("select 1 from " + ", ".join(f"a_rather_long_name_of_a_table_{n}" for n in range(8)) + "; select 1 from " + "b" * 63)
    assert len(long) <= LONGEST
    assert not long.endswith(" ")
    assert long.split()[-1].startswith("a_rather_long_name_of_a_table_")


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("select 'secret', 42, E'x\\'y', $$z$$ /* 'q' */", "select ?, ?, ?, ?"),
        ("select a from t where b = $1 and c = 7", "select a from t where b = $1 and c = 7"),
        ('select "Name" from t1', 'select "Name" from t1'),
    ],
)
def test_the_text_without_values(sql: str, said: str) -> None:
    assert without_values(sql) == said


@given(SQL)
def test_no_string_is_left(sql: str) -> None:
    """Of any text, if no parameter says that it has none to hide."""
    kinds = {token.kind for token in scan(sql)}
    if "parameter" not in kinds:
        assert not {"string", "comment"} & {token.kind for token in scan(without_values(sql))}
    assert len(summary(sql)) <= LONGEST
