"""Captures of programs that somebody had to debug (tests/data/cases): what advise says of each is what the protocol says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.judging import Judge

CASES = Path(__file__).parents[1] / "data" / "cases"

TOLD = {
    "cache_thrash_asyncpg": [("cache-thrash", 92)],
    "cache_thrash_pgx": [("cache-thrash", 28)],
    "cached_plan_psycopg": [("cached-plan", 3), ("repeat", 7)],
    "connect_in_transaction": [("connect", 10)],
    "connections_without_queries": [("connect", 60)],
    "cursor_behind_pooler": [("pooler-42P05", 4)],
    "dealloc_extended": [("statement-dropped", 1)],
    "dealloc_second_statement": [("statement-dropped", 1)],
    "declare_cursor_describe": [],
    "direct_tls_refused": [("tls-refused", 1)],
    "discard_all_direct": [("statement-dropped", 3)],
    "failed_deallocate": [("pooler-26000", 10)],
    "fetch_size_one": [("fetch-size", 991)],
    "flush_dropped": [("refused", 1)],
    "idle_timeout_25p03": [("server-ended", 1)],
    "idle_until_terminate": [("idle-in-transaction", 3)],
    "introspection_asyncpg": [("introspection", 54)],
    "parameter_types_alternate": [("n+1", 15), ("re-parse", 16)],
    "portal_left_open": [("open-portal", 1.5)],
    "psycopg_forgets_at_rollback": [("re-parse", 20)],
    "replication_keepalive_unanswered": [("keepalive-unanswered", 1)],
    "rollback_block": [],
    "same_question_repeated": [("repeat", 11)],
    "serializable_blocks": [],
    "tls_refused": [("tls-refused", 1)],
    "two_statements_alternating": [("n+1", 98)],
}
SAYS = {
    "cache_thrash_asyncpg": ["the statement cache holds 5, and 12 texts are in use"],
    "cached_plan_psycopg": ["fails 3 times", "until it is dropped"],
    "connections_without_queries": ["20 connections for nothing"],
    "connect_in_transaction": ["10 connections for 10 statements"],
    "cursor_behind_pooler": ["a cursor is always prepared under a name"],
    "dealloc_extended": ["this session dropped it by DEALLOCATE ALL"],
    "dealloc_second_statement": ["this session dropped it by DEALLOCATE ALL"],
    "discard_all_direct": ["this session dropped it by DISCARD ALL"],
    "failed_deallocate": ["it was prepared and never dropped", "prepared_max=None", "libpq 17"],
    "fetch_size_one": ["1000 rows in 1001 portions"],
    "idle_timeout_25p03": ["0.7 s idle", "25P03, idle_in_transaction_session_timeout", "used afterwards once, up to 0.8 s later"],
    "idle_until_terminate": ["3.0 s"],
    "introspection_asyncpg": ["54 of 78 round trips of 6 connections"],
    "parameter_types_alternate": ["alternate: (int4) and (int8)", "one setter"],
    "psycopg_forgets_at_rollback": ["ROLLBACK makes psycopg forget"],
    "replication_keepalive_unanswered": ["closed by the server"],
    "direct_tls_refused": ["--tls auto"],
    "tls_refused": ["--tls auto, or sslmode=disable towards pgtrace"],
}
NEVER_SAYS = {
    "cache_thrash_asyncpg": ["values as parameters"],
    "cache_thrash_pgx": ["under new names"],
    "cursor_behind_pooler": ["statement_cache_size=0)", "no transaction()"],
    "dealloc_extended": ["pooler", "PgBouncer"],
    "dealloc_second_statement": ["pooler", "PgBouncer"],
    "discard_all_direct": ["pooler", "PgBouncer"],
    "failed_deallocate": ["PgBouncer 1.21 or later", "or never prepared"],
    "idle_timeout_25p03": ["1.5 s", "continues"],
    "parameter_types_alternate": ["prepareThreshold=5"],
    "psycopg_forgets_at_rollback": ["prepare_threshold=5, the default", "prepare=True"],
    "same_question_repeated": ["for each value", "ANY("],
}


@pytest.mark.parametrize("name", sorted(TOLD))
def test_what_is_said_of_a_case(judged: Judge, name: str) -> None:
    found = judged(capture=CASES / f"{name}.pgtrace")
    assert found.told == TOLD[name]
    for words in SAYS.get(name, ()):
        assert words in found.words, words
    for words in NEVER_SAYS.get(name, ()):
        assert words not in found.words, words
    assert not found.errors
    assert not found.ends


def test_each_case_is_judged() -> None:
    assert {path.stem for path in CASES.glob("*.pgtrace")} == set(TOLD)


def test_the_row_that_gave_a_statement_up_is_shown(judged: Judge) -> None:
    found = judged(capture=CASES / "dealloc_second_statement.pgtrace")
    rows = [found.trace.rows[one.place].label.sql for one in found["statement-dropped"].evidence]
    assert "RESET ALL; DEALLOCATE ALL" in rows


def test_the_portal_of_a_cursor_is_shown_by_its_declare(judged: Judge) -> None:
    found = judged(capture=CASES / "declare_cursor_describe.pgtrace")
    texts = {row.shape.flight: row.label.sql for row in found.trace.rows}
    assert texts["DS → TZ"] == texts["PBDES → 12nCZ"] == 'DECLARE "cur" CURSOR FOR select * from generate_series(1, 40)'
