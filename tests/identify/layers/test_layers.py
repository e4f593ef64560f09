"""Layers are told by what they sent in recorded sessions; SQL that anybody could have written through a driver has none."""

from __future__ import annotations

import pytest

from pgtrace.describe.notation import SSL, START
from pgtrace.identify import layers
from pgtrace.identify.drivers import Evidence

WITH_SSL = (SSL, START, 0x70, 0x70)
USER = (("user", "app"), ("database", "shop"))
UTF8 = (*USER, ("client_encoding", "UTF8"))
RESET = "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL"
FIRST = ("select pg_catalog.version()", "select current_schema()", "show transaction isolation level", "show standard_conforming_strings")
LAID_OUT = "SELECT item.id, item.name \nFROM item \nWHERE item.id = "
QUALIFIED = 'SELECT "item"."id", "item"."name" FROM "item" WHERE "item"."id" = 7'
TIGHT = 'SELECT "name","id" FROM "item" WHERE "id"=$1'
SETTINGS = ("SET client_min_messages TO 'warning'", "SET standard_conforming_strings = on", "SET intervalstyle = iso_8601")
STAR = 'SELECT "item".* FROM "item" WHERE "item"."id" = $1 LIMIT $2'
HSTORE = "SELECT t.oid, typarray FROM pg_type t JOIN pg_namespace ns ON typnamespace = ns.oid WHERE typname = 'hstore';"


def libpq(*queries: str, **more: object) -> Evidence:
    return Evidence(**{"startup_parameters": USER, "first_codes": WITH_SSL, "queries": queries} | more)  # type: ignore[arg-type]


def asyncpg(*queries: str) -> Evidence:
    return Evidence(startup_parameters=(("client_encoding", "'utf-8'"), *USER), first_codes=WITH_SSL, queries=queries)


@pytest.mark.parametrize(
    ("layer", "seen", "sentence"),
    [
        ("sqlalchemy", libpq("BEGIN", *FIRST, "ROLLBACK"), "an engine's first connection"),
        ("sqlalchemy", Evidence(queries=FIRST), "an engine's first connection"),
        ("sqlalchemy", libpq(LAID_OUT + "7"), "SQL laid out by its compiler"),
        ("sqlalchemy", asyncpg(LAID_OUT + "$1::INTEGER"), "SQL laid out by its compiler"),
        ("sqlalchemy", asyncpg(LAID_OUT + "$1::INTEGER", RESET), "parameters with their type in capitals: $1::INTEGER"),
        ("sqlalchemy", libpq("INSERT INTO t (a) SELECT p0::TEXT FROM (VALUES ('a', 0)) AS imp_sen(p0, "
            "sen_counter)"), "inserts of many rows"),
        ("databases", asyncpg(LAID_OUT + "$1", RESET), "the reset of asyncpg's pool, which is not SQLAlchemy's own"),
        ("django", libpq(QUALIFIED, startup_parameters=UTF8), 'every column with its table, quoted: "item"."id"'),
        ("django", libpq(QUALIFIED.replace('"name"', '"name" AS "x"'), startup_parameters=UTF8),
        "client_encoding=UTF8 in libpq's start-up packet"),
        ("django", libpq(QUALIFIED, startup_parameters=UTF8, first_codes=(START,), scram_bytes=32), "every column with its table"),
        ("django", Evidence(queries=('SELECT COUNT(*) AS "__count" FROM "item"',)), 'count() written COUNT(*) AS "__count"'),
        ("django", Evidence(queries=('SELECT 1 AS "a" FROM "item" WHERE "item"."id" = 7 LIMIT 1',)), "exists() written"),
        ("django", Evidence(queries=('SAVEPOINT "s139867890444096_x1"',)), 'savepoint names "s<thread>_x<n>"'),
        ("django", Evidence(queries=('DECLARE "_django_curs_139867890444096_sync_1" NO SCROLL CURSOR FOR SELECT 1',)), "cursor names"),
        ("django", Evidence(queries=('SELECT x FROM "django_session" WHERE y',)), "Django's own tables"),
        ("django", Evidence(queries=('INSERT INTO "item" ("id") SELECT * FROM UNNEST((ARRAY[1])::integer[])',)), "bulk_create() written"),
        ("rails", libpq(*SETTINGS, "SELECT 1"), "its settings"),
        ("rails", libpq("SELECT t.oid, t.typname, t.typelem, t.typdelim, t.typinput, r.rngsubtype, t.typtype\n"
            "FROM pg_type as t"), "its look-up of types"),
        ("rails", libpq(*SETTINGS, STAR), 'whole rows as "item".*'),
        ("rails", libpq(*SETTINGS, statement_names=("a1",)), "statement names a<n>"),
        ("hibernate", Evidence(queries=("select i1_0.id,i1_0.name from item i1_0 where i1_0.id=$1",)), "aliases like i1_0"),
        ("tortoise", asyncpg(TIGHT, RESET), "the reset of asyncpg's pool"),
        ("tortoise", asyncpg('INSERT INTO "item" ("id","name") VALUES ($1,$2)', RESET), 'SQL as PyPika writes it: "id","name" and "id"=$1'),
        ("tortoise", asyncpg('UPDATE "item" SET "name"=$1 WHERE "id"=$2', RESET), 'SQL as PyPika writes it: "id","name" and "id"=$1'),
        ("tortoise", libpq("", TIGHT, parameter_types=((21,),)), "an empty Query, the check of psycopg's pool"),
        ("aiopg", libpq(HSTORE, "select 1"), "its look-up of hstore's OID, in one line"),
    ],
)  # fmt: skip
def test_told(layer: str, seen: Evidence, sentence: str) -> None:
    found = layers.layer_of(seen)
    assert found.name == layer
    assert any(told.startswith(sentence) for told in found.evidence)


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(Evidence(), id="nothing seen"),
        pytest.param(libpq("BEGIN", "select pg_catalog.version()", "select current_schema()"), id="two of the questions"),
        pytest.param(libpq("SELECT item.id\nFROM item\nWHERE item.id = 7"), id="lines without blanks are anybody's"),
        pytest.param(libpq("insert into t values ($1::INTEGER)"), id="types in capitals are anybody's"),
        pytest.param(asyncpg(LAID_OUT + "$1"), id="the compiler's SQL over asyncpg, and no word of whose pool"),
        pytest.param(asyncpg("select 1", RESET), id="asyncpg's own pool"),
        pytest.param(libpq(LAID_OUT.replace(" \n", " ") + "7", RESET), id="one line"),
        pytest.param(libpq(QUALIFIED), id="quoted columns without client_encoding"),
        pytest.param(libpq("select 1", startup_parameters=UTF8), id="client_encoding alone"),
        pytest.param(libpq(QUALIFIED, startup_parameters=UTF8, first_codes=(START,)), id="client_encoding without a sign of libpq"),
        pytest.param(libpq(QUALIFIED, startup_parameters=UTF8, first_codes=(START,), scram_bytes=33), id="SCRAM of node pg"),
        pytest.param(
            libpq('SELECT "t1"."id", "t1"."name" FROM "item" AS "t1" WHERE ("t1"."id" = 7)', startup_parameters=UTF8), id="peewee's aliases"
        ),
        pytest.param(libpq('SELECT "item"."id" FROM "item" "item"', startup_parameters=UTF8), id="TypeORM's aliases"),
        pytest.param(libpq('SELECT "items".* FROM "items" LIMIT 1', startup_parameters=UTF8), id="Rails's star"),
        pytest.param(libpq(*SETTINGS[:2], STAR, statement_names=("a1",)), id="some of Rails' settings"),
        pytest.param(libpq("select i1.id from item i1 where i1.id = 1"), id="an alias of one's own"),
        pytest.param(libpq("select i1_0.id from item i2_0"), id="an alias of another table"),
        pytest.param(asyncpg(TIGHT), id="PyPika's SQL and no pool"),
        pytest.param(libpq(TIGHT, parameter_types=((21,),)), id="PyPika's SQL over psycopg"),
        pytest.param(libpq("", "select 1", parameter_types=((21,),)), id="the check of psycopg's pool"),
        pytest.param(libpq(HSTORE.replace(" FROM", "\nFROM")), id="psycopg2's own look-up"),
    ],
)
def test_none(seen: Evidence) -> None:
    assert layers.layer_of(seen) == layers.NONE
