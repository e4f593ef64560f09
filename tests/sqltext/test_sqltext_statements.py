"""Statements are counted and their leading words read as the server does."""

from __future__ import annotations

import postgast
import pytest
from hypothesis import given, settings

from pgtrace import sqltext
from pgtrace.sqltext import statements
from tests.sqltext.sql_strategy import SQL


@pytest.mark.parametrize(
    ("sql", "statements"),
    [
        ("", []),
        (" ;; -- nothing\n ; /* ; */", []),
        ("select 1", ["select 1"]),
        ("select 1; select 2;", ["select 1", "select 2"]),
        ("/* a */ select ';' -- ;\n; select $$;$$, $t$;$t$, \";\"", ["select ';'", 'select $$;$$, $t$;$t$, ";"']),
        ("create rule r as on insert to t do (select 1; select 2); x", ["create rule r as on insert to t do (select 1; select 2)", "x"]),
        (
            "create or replace function f() returns int begin atomic select case when true then 1 end; select 2; end; select 3",
            ["create or replace function f() returns int begin atomic select case when true then 1 end; select 2; end", "select 3"],
        ),
        ("begin; select 1; end;", ["begin", "select 1", "end"]),
        ("select 'open; select 2", ["select 'open; select 2"]),
        (" \n select /* c */ 1 \t", ["select /* c */ 1"]),
    ],
)
def test_split_finds_the_statements(sql: str, statements: list[str]) -> None:
    assert sqltext.split(sql) == statements


def test_split_agrees_with_libpg_query() -> None:
    script = """CREATE TABLE a (x int DEFAULT 1, y text); -- one
        INSERT INTO a VALUES (1, 'a;b'), (2, E'c\\';d');
        DO $body$ BEGIN PERFORM 1; END; $body$; ; /* ; */ SELECT "x;y" FROM (SELECT 1 AS "x;y") s"""
    assert sqltext.split(script) == [
        statement.strip().rstrip(";").strip() for statement in postgast.split(script) if statement.strip(" ;\n")
    ]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("BEGIN", ["BEGIN"]),
        ("begin isolation level serializable", ["BEGIN", "ISOLATION", "LEVEL", "SERIALIZABLE"]),
        ("/* app */ rollback -- x\n to savepoint s1", ["ROLLBACK", "TO", "SAVEPOINT", "S1"]),
        ("PREPARE p (int) AS SELECT 1", ["PREPARE", "P"]),
        ("(select 1) union select 2", ["SELECT"]),
        ("1 + 1", []),
        ("", []),
    ],
)
def test_words_are_the_leading_ones(sql: str, words: list[str]) -> None:
    assert sqltext.words(sql) == words


def test_identifiers_are_folded_as_the_server_does() -> None:
    assert sqltext.identifiers('DEALLOCATE "Foo""bar"') == ["deallocate", 'Foo"bar']
    assert sqltext.identifiers("DEALLOCATE Foo") == ["deallocate", "foo"]
    assert sqltext.identifiers("deallocate ÄB") == ["deallocate", "Äb"]
    assert sqltext.identifiers("deallocate prepare _pg3_0", 2) == ["deallocate", "prepare"]


@given(SQL)
@settings(max_examples=400)
def test_split_gives_statements_that_are_one_statement_each(sql: str) -> None:
    found = sqltext.split(sql)
    assert all(statement in sql and statement.strip(" \t\n\r\f\v") for statement in found)
    assert found == list(statements.split_of(sql))
    for statement in found:
        sqltext.words(statement)
