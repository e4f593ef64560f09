"""Tokens end where the server's scanner ends them, in linear time, in any text."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings

from pgtrace import sqltext
from pgtrace.sqltext import groups, statements
from tests.corpus import NIGHTLY
from tests.sqltext.sql_strategy import SQL


def solid(sql: str) -> list[tuple[str, str]]:
    return [(token.kind, sql[token.start : token.end]) for token in sqltext.scan(sql) if token.kind not in ("space", "comment")]


@pytest.mark.parametrize(
    ("sql", "tokens"),
    [
        ("'it''s'", [("string", "'it''s'")]),
        (r"E'a\'b' x", [("string", r"E'a\'b'"), ("word", "x")]),
        (r"'a\' x", [("string", r"'a\'"), ("word", "x")]),
        (r"'never closed", [("string", "'never closed")]),
        ("E'ends in a backslash\\", [("string", "E'ends in a backslash\\")]),
        ("'one' -- comment\n  'still one' 'two'", [("string", "'one' -- comment\n  'still one'"), ("string", "'two'")]),
        ("B'01'X'ff'N'n'U&'\\0041'", [("string", "B'01'"), ("string", "X'ff'"), ("string", "N'n'"), ("string", "U&'\\0041'")]),
        ('U&"a" "b""c"', [("quoted", 'U&"a"'), ("quoted", '"b""c"')]),
        ("$$a;$b$$$", [("string", "$$a;$b$$"), ("other", "$")]),
        ("$x$ $$ $y$ $x$ z", [("string", "$x$ $$ $y$ $x$"), ("word", "z")]),
        ("a$b$c $1a", [("word", "a$b$c"), ("parameter", "$1"), ("word", "a")]),
        ("/* a /* b */ c */ x /* open", [("word", "x")]),
        (
            "1 1.5 .5 1e10 2.e-3 0x1F 1..2",
            [("number", n) for n in ("1", "1.5", ".5", "1e10", "2.e-3", "0x1F", "1")] + [("operator", ".."), ("number", "2")],
        ),
        ("a=-1", [("word", "a"), ("operator", "="), ("operator", "-"), ("number", "1")]),
        ("a@-1", [("word", "a"), ("operator", "@-"), ("number", "1")]),
        ("a+-+b", [("word", "a"), ("operator", "+"), ("operator", "-"), ("operator", "+"), ("word", "b")]),
        ("a*--b\n/c", [("word", "a"), ("operator", "*"), ("operator", "/"), ("word", "c")]),
        ("a/*b*/->>'c'::int", [("word", "a"), ("operator", "->>"), ("string", "'c'"), ("operator", "::"), ("word", "int")]),
    ],
)
def test_scan_follows_the_servers_rules(sql: str, tokens: list[tuple[str, str]]) -> None:
    assert solid(sql) == tokens


@given(SQL)
@settings(max_examples=400)
def test_tokens_cover_any_text(sql: str) -> None:
    tokens = sqltext.scan(sql)
    assert "".join(sql[token.start : token.end] for token in tokens) == sql
    assert all(token.end > token.start for token in tokens)


SIZE = 200_000 if NIGHTLY else 50_000
LONG = ["'", '"', "$", "/*", "("]
SHORT = [
    "E'",
    "E'\\",
    "--\n",
    ";",
    "+-",
    "=+-",
    "$a$b",
    "- ",
    "x IN (1,(",
    "values (1),(",
    "'a'\n",
    "' ' -- \n",
    "in(a,a,",
    "()",
    "1.",
    "1::a(",
    "\ud800",
]


@pytest.mark.parametrize(("unit", "size"), [(unit, 5 * SIZE) for unit in LONG] + [(unit, SIZE) for unit in SHORT])
def test_time_is_linear_in_the_text(unit: str, size: int) -> None:
    """Texts that could take quadratic time: four times the text may not take much more than four times as long."""
    text = unit * (size // len(unit))

    def seconds(sql: str) -> float:
        began = time.process_time()
        groups.group_of(sql)
        statements.split_of(sql)
        sqltext.words(sql)
        sqltext.shorten(sql, 40)
        return time.process_time() - began

    measured = []
    for _ in range(3):  # other work on the machine costs CPU time too: it has to be within the bound once
        quarter, whole = seconds(text[: size // 4]), seconds(text)
        measured.append((quarter, whole))
        if whole < max(0.1, quarter * 9):
            return
    pytest.fail(f"more than linear: {measured}")


@pytest.mark.parametrize(
    ("sql", "left"), [("select 1", "select 1"), ("/* a */ select /* b */ 1 -- c", "select 1"), ("select '--'", "select '--'")]
)
def test_a_text_without_its_comments(sql: str, left: str) -> None:
    assert sqltext.without_comments(sql) == left
