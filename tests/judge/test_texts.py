"""What the text of a statement shows, wherever comments, other spellings and further statements stand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.judge import texts

NOISE = st.sampled_from(["", " ", "\n", "/* a ; b */ ", "-- begin read only\n", "\t"])
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
    ("makes_temporary", "create temp table t (a int)", True),
    ("makes_temporary", "create local temporary table t (a int)", True),
    ("makes_temporary", "select 1 into temp t", True),
    ("makes_temporary", "create temp table t (a int) on commit drop", False),
    ("makes_temporary", "create table temp_t (a int)", False),
    ("declares_with_hold", "declare c cursor with hold for select 1", True),
    ("declares_with_hold", "declare c cursor for select 1", False),
]


@pytest.mark.parametrize(("question", "sql", "answer"), CASES, ids=[f"{question}: {sql}" for question, sql, _ in CASES])
@given(NOISE, st.booleans(), st.booleans())
def test_the_answer_is_the_statements(question: str, sql: str, answer: bool, noise: str, upper: bool, among_others: bool) -> None:
    ask = getattr(texts, question)
    text = noise + spelled(sql, upper)
    assert ask(f"{PLAIN}; {text}; {PLAIN}" if among_others else text) is answer


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


@given(st.text(max_size=300))
def test_no_text_raises(sql: str) -> None:
    for question in ("locks", "begins_with_options", "calls_unknown", "changes", "makes_temporary", "declares_with_hold"):
        assert getattr(texts, question)(sql) in (True, False)
    texts.sets_for_session(sql, frozenset())
    texts.names(sql, "EXECUTE")


def test_of_a_long_text_the_beginning_is_looked_at() -> None:
    assert not texts.locks(f"select '{'x' * texts.LOOKED_AT}' for update")
