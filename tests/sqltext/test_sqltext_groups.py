"""What is the same statement: by example, against libpg_query, and as laws that hold for any text."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable

import postgast
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pgtrace import sqltext
from pgtrace.sqltext import groups
from pgtrace.sqltext.scanner import IN_NAME
from tests.sqltext.sql_strategy import SQL


@pytest.mark.parametrize(
    ("sql", "normalised"),
    [
        ("SELECT  a\n FROM t -- c\n WHERE b = 'x' AND c=-1.5 ;", "SELECT a FROM t WHERE b = $1 AND c=$2"),
        ("select * from t where a in (1, 2,3) and b = $1", "select * from t where a in ($1) and b = $2"),
        ("insert into t values (1, null), (2, 'x'), ($3, true) returning id", "insert into t values ($1, $2) returning id"),
        ("select a from t where b is not null and c is true", "select a from t where b is not null and c is true"),
        ("select (a,b) in ((1,2), (3,4)), f(1, 1)", "select (a,b) in (($1,$2)), f($3, $4)"),
        ("select array[1,2], x in ($1::int, $2::int)", "select array[$1], x in ($2::int)"),
        ("select a-1, a - -1", "select a-$1, a - $2"),
        ("select'a'", "select $1"),
        ("copy t from stdin (format csv, null 'x', header true)", "copy t from stdin (format csv, null $1, header true)"),
        ("ROLLBACK TO SAVEPOINT sa_savepoint_7", "ROLLBACK TO SAVEPOINT $1"),
        ('DECLARE "_django_curs_1_sync_2" CURSOR FOR SELECT 1', "DECLARE $1 CURSOR FOR SELECT $2"),
        ("DEALLOCATE ALL", "DEALLOCATE ALL"),
        ("values (1), (2) union values (3), (4)", "values ($1) union values ($2)"),
        ("", ""),
    ],
)
def test_normalise(sql: str, normalised: str) -> None:
    assert sqltext.normalise(sql) == normalised


def test_fingerprint_is_stable() -> None:
    """Numbers kept in reports and tests of users: they may not change with a release."""
    assert sqltext.fingerprint("SELECT id FROM users WHERE id = $1") == sqltext.fingerprint('select "id" from Users where id=42;')
    assert sqltext.fingerprint("SELECT id FROM users WHERE id = $1") == "b5de8637d542a942"
    assert sqltext.fingerprint('SELECT "Id" FROM users') != sqltext.fingerprint("SELECT id FROM users")
    assert sqltext.fingerprint('SELECT "user" FROM t') != sqltext.fingerprint("SELECT user FROM t")


def test_habits_of_drivers_make_no_group() -> None:
    plain = sqltext.fingerprint("SELECT a FROM t WHERE b = $1 AND c IN ($2)")
    for cast in ("::numeric(10, 2)[]", " :: timestamp(3) without time zone", '::pg_catalog."text"', "::double precision", "::text::jsonb"):
        assert sqltext.fingerprint(f"SELECT a FROM t WHERE b = 'x'{cast} AND c IN (1{cast}, -2)") == plain
    assert sqltext.fingerprint("SELECT a FROM t WHERE b = 'x'::int + 1 AND c IN (1)") != plain
    assert sqltext.fingerprint("begin transaction") == sqltext.fingerprint("BEGIN") != sqltext.fingerprint("BEGIN READ ONLY")


ORM_LIKE = [
    # SQLAlchemy on asyncpg, psycopg, psycopg2, pg8000
    "SELECT users.id, users.name FROM users WHERE users.id = $1::INTEGER",
    "SELECT users.id, users.name \nFROM users \nWHERE users.id = 42::INTEGER",
    "SELECT users.id, users.name \nFROM users \nWHERE users.id = 42",
    "SELECT users.id, users.name FROM users WHERE users.id = -7",
    "SELECT users.id, users.age FROM users WHERE users.id IN ($1, $2, $3)",
    "SELECT users.id, users.age FROM users WHERE users.id IN ($1)",
    "SELECT users.id, users.age FROM users WHERE users.id IN (1, 2, 3, 4, 5, 6, 7, 8)",
    "SELECT users.id, users.name FROM users WHERE users.id NOT IN (1, 2, 3, 4, 5, 6, 7, 8)",
    "SELECT users.id, users.age FROM users WHERE users.id IN ($1::INTEGER, $2::INTEGER)",
    "SELECT users.id, users.age FROM users WHERE users.id IN ($1::INTEGER)",
    "INSERT INTO audit (user_id, what) VALUES ($1, $2) RETURNING audit.id",
    "INSERT INTO audit (user_id, what) VALUES (1, 'a'), (2, NULL), (3, 'it''s') RETURNING audit.id",
    "INSERT INTO audit (user_id, what) VALUES ($1, $2), ($3, $4) RETURNING audit.id",
    "INSERT INTO audit (user_id, what) VALUES ($1, $2)",
    "INSERT INTO audit (user_id, what) SELECT p0::INTEGER, p1::VARCHAR FROM (VALUES ($1, $2, 0), ($3, $4, 1)) AS imp_sen(p0, p1, "
    "n) ORDER BY n",
    "INSERT INTO audit (user_id, what) SELECT p0::INTEGER, p1::VARCHAR FROM (VALUES ($1, $2, 0)) AS imp_sen(p0, p1, n) ORDER BY n",
    "INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = excluded.a, b = 'x'",
    "INSERT INTO t (a) VALUES ($1) ON CONFLICT (a) DO UPDATE SET a = excluded.a, b = NULL",
    # Django
    'SELECT "auth_user"."id", "auth_user"."is_active" FROM "auth_user" WHERE ("auth_user"."is_active" AND "auth_user"."id" = 1) LIMIT 21',
    'SELECT "auth_user"."id", "auth_user"."is_active" FROM "auth_user" WHERE ("auth_user"."is_active" AND "auth_user"."id" = 99) LIMIT 21',
    'SELECT "auth_user"."id", "auth_user"."is_active" FROM "auth_user" WHERE "auth_user"."last_login" IS NULL LIMIT 21',
    'SELECT "auth_user"."id", "auth_user"."is_active" FROM "auth_user" WHERE "auth_user"."last_login" IS NOT NULL LIMIT 21',
    'UPDATE "auth_user" SET "last_login" = \'2026-01-01 10:00:00+00:00\'::timestamptz, "is_active" = true WHERE "auth_user"."id" = 1',
    'UPDATE "auth_user" SET "last_login" = NULL::timestamptz, "is_active" = false WHERE "auth_user"."id" = 2',
    'SELECT 1 AS "a" FROM "t" WHERE "t"."name" = \'x\' LIMIT 1',
    'SELECT 1 AS "a" FROM "t" WHERE "t"."name" = E\'back\\\\slash\' LIMIT 1',
    # sqlcommenter, keywords in any case, operators
    "SELECT a FROM t WHERE b = 1 /*route='%%2Fcheckout',traceparent='00-5bd6'*/",
    "SELECT a FROM t WHERE b = 2 /*route='%%2Fcart'*/",
    "select A from T where B = 3",
    "SELECT data->>'name' FROM t WHERE data @> '{\"a\": 1}'",
    "SELECT data->>'other' FROM t WHERE data @> '{}'::jsonb",
    "SELECT data->>'other' FROM t WHERE data @> $1",
    "SELECT * FROM t WHERE a BETWEEN 1 AND 2 AND c LIKE '%x%'",
    "SELECT * FROM t WHERE a BETWEEN -1 AND $1 AND c LIKE '%y%'",
    "SELECT count(*) FILTER (WHERE a > 1) FROM t GROUP BY b HAVING count(*) > 5",
    "SELECT count(*) FILTER (WHERE a > 2) FROM t GROUP BY b HAVING count(*) > 6",
    "SELECT CASE WHEN a = 1 THEN NULL ELSE 'x' END FROM t",
    "SELECT CASE WHEN a = 2 THEN 'y' ELSE NULL END FROM t",
    "SELECT a FROM t WHERE (a, b) IN ((1, 2), (3, 4))",
    "SELECT a FROM t WHERE (a, b) IN ((1, 2))",
    "SELECT c FROM t WHERE b = ANY('{1,2}'::int[])",
    "SELECT c FROM t WHERE b = ANY(ARRAY[1, 2, 3]::int[])",
    "SELECT c FROM t WHERE b = ANY(ARRAY[1]::int[])",
    "WITH c AS (SELECT id FROM t WHERE x = 1) SELECT * FROM c JOIN u ON u.id = c.id WHERE u.y IN (1, 2)",
    "WITH c AS (SELECT id FROM t WHERE x = 2) SELECT * FROM c JOIN u ON u.id = c.id WHERE u.y IN (1, 2, 3)",
    "DELETE FROM t WHERE id = 1",
    "DELETE FROM t WHERE id = $1",
    "DELETE FROM t WHERE id = $1 OR id = $1",
    "DELETE FROM t WHERE id = $1 OR id = $2",
    # what drivers send on their own
    "BEGIN",
    "BEGIN;",
    "begin transaction",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT sa_savepoint_1",
    "SAVEPOINT _pg3_1",
    'SAVEPOINT "_pg3_2"',
    "DEALLOCATE _pg3_0",
    "DEALLOCATE __asyncpg_stmt_2a__",
    "DEALLOCATE ALL",
    "DECLARE a CURSOR FOR SELECT 1",
    "DECLARE b CURSOR FOR SELECT 2",
    "SET statement_timeout = 100",
    "SET statement_timeout = 200",
    "SET lock_timeout = 200",
    "COPY items (id, sku) FROM STDIN",
    "COPY items (id, sku) FROM STDIN WITH (FORMAT binary)",
    "SHOW transaction isolation level",
    "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;",
    "SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;",
]


def partition(key: Callable[[str], object]) -> set[frozenset[str]]:
    found: dict[object, set[str]] = defaultdict(set)
    for sql in ORM_LIKE:
        found[key(sql)].add(sql)
    return {frozenset(group) for group in found.values()}


def test_groups_are_those_of_libpg_query() -> None:
    ours, theirs = partition(sqltext.fingerprint), partition(lambda sql: postgast.fingerprint(sql).hex)
    assert ours == theirs
    assert len(ours) < len(ORM_LIKE) - 20  # the corpus has something to group


@given(SQL)
@settings(max_examples=400)
@example("'a'b'").via("a string against an identifier")
@example("- -1")
@example("+null'")
@example("\ud800'\udcff'")
def test_any_text_has_a_group_and_its_normal_form_the_same(sql: str) -> None:
    normalised = sqltext.normalise(sql)
    assert sqltext.normalise(normalised) == normalised
    assert sqltext.fingerprint(normalised) == sqltext.fingerprint(sql)
    assert len(sqltext.fingerprint(sql)) == 16


@given(SQL)
@settings(max_examples=400)
def test_blanking_values_first_changes_no_group(sql: str) -> None:
    """The fast path for texts with their values inside says what the scanner alone says."""
    assert groups.group_of(sql) == (sqltext.normalise(sql), sqltext.fingerprint(sql))


PLAIN = re.compile(rf"""'[^']*'|"[^"]*(?:"|\Z)|(?<!{IN_NAME})(?<!\.)[0-9]+(?:\.[0-9]+)?(?!{IN_NAME}|\.)""")
"""A string, a quoted name, a number: what the pattern of groups.py finds, which begins with a jump."""


@given(st.text(alphabet="'\"0123456789..abé_$ ,()-\n", max_size=24))
@example("1.2.3 .5 a.5 a5 5a 1.x 1.5'")
@example('"0')
@settings(max_examples=400)
def test_plain_values_are_where_they_seem(sql: str) -> None:
    assert [match.span() for match in groups._SIMPLE_VALUE.finditer(sql)] == [match.span() for match in PLAIN.finditer(sql)]
