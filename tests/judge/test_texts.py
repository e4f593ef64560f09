"""What the text of a statement shows, wherever comments, other spellings and further statements stand."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pgtrace.judge import texts
from tests.sqltext.sql_strategy import SQL

NOISES = ["", " ", "\n", "/* a ; b */ ", "-- begin read only\n", "\t"]
NOISE = st.sampled_from(NOISES)
PLAIN = "select 1"


def spelled(sql: str, upper: bool) -> str:
    return sql.upper() if upper else sql.lower()


CASES: list[tuple[str, str, bool]] = [
    ("locks", "select * from t for update", True),
    ("locks", "select * from t for no key update", True),
    ("locks", "lock table t", True),
    ("locks", "select pg_advisory_lock(1)", True),
    ("locks", "select pg_try_advisory_xact_lock_shared(1)", True),
    ("locks", "select 'for update'", False),
    ("locks", 'select "for" from "update"', False),
    ("begins_with_options", "begin isolation level serializable", True),
    ("begins_with_options", "start transaction read only", True),
    ("begins_with_options", "begin deferrable", True),
    ("begins_with_options", "begin isolation level read committed", False),
    ("begins_with_options", "begin work", False),
    ("begins_with_options", "insert into begin values (serializable)", False),
    ("calls_unknown", "select do_something(1)", True),
    ("calls_unknown", "select now()", False),
    ("calls_unknown", "select pg_sleep(1)", False),
    ("calls_unknown", "select f(a) from t", True),
    ("calls_unknown", "select * from f(1) x", True),
    ("calls_unknown", "with a as (select 1) select count(*), lower(b) from a where b in (1) and exists (select 1)", False),
    ("calls_unknown", "insert into t (a) values (f(1))", False),
    ("changes", "with a as (update t set b = 1 returning *) select * from a", True),
    ("changes", "with a as (select * from t for update) select * from a", False),
    ("changes", "select 'update' from t", False),
    ("changes", "insert into t values (1) returning id", True),
    ("changes", "delete from t where a = 1 returning a", True),
    ("changes", "select * from update_log", False),
    ("makes_temporary", "create temp table t (a int)", True),
    ("makes_temporary", "create local temporary table t (a int)", True),
    ("makes_temporary", "select 1 into temp t", True),
    ("makes_temporary", "create temp table t (a int) on commit drop", False),
    ("makes_temporary", "create table temp_t (a int)", False),
    ("makes_temporary", "create table t (temp int)", False),
    ("makes_temporary", "select temp from readings", False),
    ("makes_temporary", "with temp as (select 1) select * from temp", False),
    ("creates_from_query", "create table t as select 1", True),
    ("creates_from_query", "create unlogged table t as select 1", True),
    ("creates_from_query", "select 1 into t", True),
    ("creates_from_query", "select 1 into temp t", False),
    ("creates_from_query", "create temporary table t as select 1", False),
    ("creates_from_query", "with a as (insert into t values (1) returning 1) select * from a", False),
    ("declares_with_hold", "declare c cursor with hold for select 1", True),
    ("declares_with_hold", "declare c cursor for select 1", False),
]


@pytest.mark.parametrize(("question", "sql", "answer"), CASES, ids=[f"{question}: {sql}" for question, sql, _ in CASES])
def test_the_answer_is_the_statements(question: str, sql: str, answer: bool) -> None:
    ask = getattr(texts, question)
    for noise, upper, among_others in itertools.product(NOISES, (False, True), (False, True)):
        text = noise + spelled(sql, upper)
        assert ask(f"{PLAIN}; {text}; {PLAIN}" if among_others else text) is answer, text


@pytest.mark.parametrize(
    ("sql", "for_session"),
    [
        ("set search_path = a", True),
        ("set session search_path = a", True),
        ("set local search_path = a", False),
        ("set transaction read only", False),
        ("set constraints all deferred", False),
        ("set extra_float_digits = 3", False),
        ("set session extra_float_digits = 3", False),
        ("select set_config('a', 'b', false)", True),
        ("select set_config('a', 'b', true)", False),
        ("update t set a = 1", False),
    ],
)
def test_a_setting_that_outlives_its_transaction(sql: str, for_session: bool) -> None:
    assert texts.sets_for_session(sql, frozenset({"EXTRA_FLOAT_DIGITS"})) is for_session


def test_names_of_prepared_statements() -> None:
    assert texts.names("deallocate s1; DEALLOCATE PREPARE s2; execute s3(1); deallocate", "DEALLOCATE") == ("s1", "s2")
    assert texts.names("/* x */ execute s3(1)", "EXECUTE") == ("s3",)
    assert texts.advisory_locks("select pg_advisory_lock(1), pg_advisory_unlock(1)") == ("PG_ADVISORY_LOCK",)


@pytest.mark.parametrize("sql", ["select 1", "SELECT 1;", " Select  1 -- ping\n", "/* pool */ select 1 ;"])
def test_a_pool_asks_whether_a_connection_is_alive(sql: str) -> None:
    assert texts.is_select_1(sql)


@given(
    st.one_of(
        st.text(max_size=9).filter(lambda text: "'" not in text).map(lambda text: f"'{text}'"), st.integers(2).map(str), st.just("1.0")
    )
)
def test_another_value_is_a_question(value: str) -> None:
    assert not texts.is_select_1(f"select {value}")
    assert not texts.is_select_1(f"select 1, {value}")


@given(SQL)
@settings(max_examples=400)
@example("select 'it''s', 1.5e3, a1, \"q 1\", x'0f' from t1 where b in (1, 2) and c = 'open")
def test_the_words_are_those_of_a_text_without_its_values(sql: str) -> None:
    assert texts.words(sql) == texts._words(sql[: texts.LOOKED_AT])
    assert texts.words(texts.without_values(sql)) == texts.words(sql)


WORDS = [
    "create",
    "select",
    "with",
    "insert",
    "update",
    "delete",
    "merge",
    "copy",
    "into",
    "from",
    "table",
    "view",
    "temp",
    "temporary",
    "local",
    "global",
    "unlogged",
    "if",
    "not",
    "exists",
    "as",
    "on",
    "commit",
    "drop",
    "only",
    "set",
    "or",
    "replace",
    "values",
    "(",
    ")",
    ";",
    ",",
    '"t"',
    "'t'",
    "$1",
    "t",
    "declare",
    "with",
    "hold",
    "begin",
    "execute",
]


@given(st.one_of(st.text(max_size=300), st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)))
def test_no_text_raises(sql: str) -> None:
    for question in (
        "locks", "begins_with_options", "calls_unknown", "changes", "makes_temporary", "creates_from_query", "declares_with_hold"
    ):  # fmt: skip
        assert getattr(texts, question)(sql) in (True, False)
    texts.sets_for_session(sql, frozenset())
    texts.names(sql, "EXECUTE")
    texts.writes_elsewhere(sql, set(texts.temporary_tables(sql)))


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("create temp table if not exists t (a int)", ["T"]),
        ("create temp table a as select 1; select 1 into temporary table b", ["A", "B"]),
        ('create local temp table "T" (a int)', [""]),
        ("create or replace temp view v as select 1", ["V"]),
        ("create table t (a int)", []),
    ],
)
def test_names_of_temporary_tables(sql: str, names: list[str]) -> None:
    assert texts.temporary_tables(sql) == names


@pytest.mark.parametrize(
    ("sql", "elsewhere"),
    [
        ("insert into other values (1)", True),
        ("insert into t values (1)", False),
        ("insert into other select * from t", False),
        ('insert into "t" values (1)', False),
        ("update only t set a = 1", False),
        ("insert into pg_temp.other values (1)", False),
    ],
)
def test_a_write_to_something_that_is_not_temporary(sql: str, elsewhere: bool) -> None:
    """If it may be, it is taken for one that is."""
    assert texts.writes_elsewhere(sql, {"T"}) is elsewhere
    assert not texts.writes_elsewhere(sql, {""})


def test_of_a_long_text_the_beginning_is_looked_at() -> None:
    assert not texts.locks(f"select '{'x' * texts.LOOKED_AT}' for update")
