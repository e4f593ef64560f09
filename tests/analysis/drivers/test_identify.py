"""Drivers are told by what they sent in recorded sessions, and left unknown where two of them send the same."""

from __future__ import annotations

import pkgutil

import pytest

from pgtrace.analysis import drivers
from pgtrace.analysis.drivers import Evidence
from pgtrace.analysis.notation import SSL, START

WITH_SSL = (SSL, START, 0x70, 0x70)
USER = (("user", "app"), ("database", "shop"))
UTF8 = (*USER, ("client_encoding", "UTF8"))
TRANSACTION = ("BEGIN", "COMMIT")
POINTS = tuple(f"select name from item where id = {item}" for item in range(1, 6))


def libpq(*queries: str, **more: object) -> Evidence:
    return Evidence(**{"startup_parameters": USER, "first_codes": WITH_SSL, "queries": queries, "flights": {"Q → CZ": len(queries)}} | more)  # type: ignore[arg-type]


ASYNCPG = Evidence(
    startup_parameters=(("client_encoding", "'utf-8'"), *USER),
    first_codes=WITH_SSL,
    statement_names=("__asyncpg_stmt_1__", "__asyncpg_stmt_2a__"),
    queries=("BEGIN;", "select $1::int", "COMMIT;"),
    flights={"PDH → 1tT": 1, "BES → 2DCZ": 9, "Q → CZ": 2},
)
PG8000 = Evidence(
    startup_parameters=USER,
    first_codes=WITH_SSL,
    queries=("begin transaction", "select $1", "commit"),
    flights={"Q → CZ": 1, "PHS → 1Z": 2, "DHS → tTZ": 2, "BHEHS → 2DCZ": 2},
)
PSYCOPG = libpq(*TRANSACTION, "select $1", flights={"Q → CZ": 2, "PBDES → 12TDCZ": 5}, parameter_types=((21,),))


@pytest.mark.parametrize(
    ("driver", "seen", "sentence"),
    [
        ("asyncpg", ASYNCPG, "client_encoding is 'utf-8' with quotes"),
        ("asyncpg", ASYNCPG, "statement names __asyncpg_stmt_<hex>__"),
        ("asyncpg", Evidence(statement_names=("__asyncpg_stmt_1f__",)), "statement names __asyncpg_stmt_<hex>__"),
        ("asyncpg", Evidence(startup_parameters=ASYNCPG.startup_parameters), "client_encoding is 'utf-8' with quotes"),
        (
            "psql",
            libpq("select 1;", startup_parameters=(*USER, ("application_name", "psql"))),
            "application_name is psql, in libpq's start-up packet",
        ),
        ("psql", libpq('SELECT n.nspname as "Schema",\n  c.relname as "Name"'), "catalog queries of backslash commands"),
        ("pg8000", PG8000, "a Flush behind each message: BHEHS, PHS, DHS"),
        ("pg8000", PG8000, "begin transaction in lower case"),
        ("pg8000", Evidence(statement_names=("pg8000_statement_0",)), "statement names pg8000_statement_<n>"),
        ("psycopg", PSYCOPG, "Parse names the type of each value, int2 for small integers"),
        ("psycopg", libpq(flights={"PBDES → 12TDCZ": 1}, parameter_types=((0, 21),)), "libpq's start-up packet"),
        (
            "psycopg",
            libpq(*TRANSACTION, flights={"PBDE×3 S → 12TDC×3 Z": 1}),
            "Parse Bind Describe Execute for each query, unnamed; BEGIN without a semicolon",
        ),
        ("psycopg", libpq(statement_names=("_pg3_0",)), "statement names _pg3_<n>"),
        ("psycopg", libpq('SAVEPOINT "_pg3_1"', "select 1"), 'savepoint names "_pg3_<n>"'),
        ("psycopg", libpq("select '2020-01-02 03:04:05+00:00'::timestamptz"), "values written into the SQL as ClientCursor writes them"),
        ("psycopg", libpq("select '{1,2}'::int2[]"), "values written into the SQL as ClientCursor writes them"),
        ("psycopg2", libpq(*POINTS, *TRANSACTION), "values written into the SQL: 5 texts of select name from item where id = $1"),
        ("psycopg2", libpq(*POINTS, "insert into t values (1,'a',NULL),(2,'b',NULL)"), "rows written as execute_values writes them"),
        ("psycopg2", libpq("select '2020-01-02T03:04:05'::timestamp"), "timestamps written 'YYYY-MM-DDThh:mm:ss'::timestamp"),
        ("psycopg2", libpq("select '1 days 0.000000 seconds'::interval"), "intervals written '1 days 0.000000 seconds'::interval"),
        ("psycopg2", libpq('DECLARE "c" CURSOR WITHOUT HOLD FOR select 1'), "named cursors declared WITHOUT HOLD"),
        (
            "psycopg2",
            libpq("COPY \"t\" FROM stdin WITH DELIMITER AS '\t' NULL AS '\\N'"),
            "COPY ... WITH DELIMITER AS ... NULL AS of copy_from and copy_to",
        ),
        ("psycopg2", libpq("SELECT t.oid, typarray\nFROM pg_type t JOIN pg_namespace ns\n    ON x"), "the look-up of a type's OID"),
        ("psycopg2", libpq("SET default_transaction_read_only TO 'on'"), "SET default_transaction_... of set_session"),
    ],
)
def test_identified(driver: str, seen: Evidence, sentence: str) -> None:
    found = drivers.identify(seen)
    assert found.driver == driver
    assert sentence in found.evidence


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(Evidence(), id="nothing seen"),
        pytest.param(libpq(*TRANSACTION, "select 1"), id="psycopg or psycopg2"),
        pytest.param(libpq(*POINTS), id="values in SQL, but nothing of psycopg2"),
        pytest.param(libpq(*POINTS[:2], *TRANSACTION), id="two texts may be two queries"),
        pytest.param(libpq(*TRANSACTION, "SAVEPOINT a", "SAVEPOINT b", "SAVEPOINT c"), id="names are no values"),
        pytest.param(libpq(*POINTS, *TRANSACTION, startup_parameters=UTF8), id="Django through either"),
        pytest.param(libpq(*POINTS, *TRANSACTION, flights={"Q → TDCZ": 5, "PBES → 12DCZ": 1}), id="an extended query among them"),
        pytest.param(libpq(*POINTS, *TRANSACTION, application_name="pgbench"), id="pgbench"),
        pytest.param(libpq(flights={"PBDES → 12TDCZ": 5}), id="any user of PQexecParams"),
        pytest.param(libpq(*TRANSACTION, flights={"PBDES → 12TDCZ": 5}, parameter_types=((),)), id="and of BEGIN: psycopg names types"),
        pytest.param(libpq(*TRANSACTION, flights={"PDS → 1tTZ": 5, "PBDES → 12TDCZ": 5}), id="libpq never puts Describe behind Parse"),
        pytest.param(libpq(*TRANSACTION, startup_parameters=UTF8, first_codes=(START,), flights={"PBDES → 12TDCZ": 5}), id="node pg"),
        pytest.param(Evidence(startup_parameters=(("database", "shop"), ("user", "app")), queries=TRANSACTION, flights={"PBDES → 12TDCZ": 1}), id="PgBouncer"),
        pytest.param(Evidence(startup_parameters=(*UTF8, ("DateStyle", "ISO")), statement_names=("S_1",)), id="pgjdbc"),
        pytest.param(Evidence(startup_parameters=(*UTF8, ("application_name", "postgres.js"))), id="postgres.js"),
    ],
)  # fmt: skip
def test_left_unknown(seen: Evidence) -> None:
    assert drivers.identify(seen) == drivers.Identification("unknown", ())


def test_libpq_with_every_setting_is_still_libpq() -> None:
    parameters = (*USER, ("options", "-c a.b=1"), ("application_name", "x"), ("client_encoding", "utf8"), ("timezone", "UTC"))
    assert libpq(startup_parameters=parameters).is_libpq
    assert not libpq(startup_parameters=parameters[::-1]).is_libpq
    assert not libpq(startup_parameters=parameters, first_codes=(START,)).is_libpq


def test_each_driver_is_listed_once() -> None:
    modules = {module.name for module in pkgutil.iter_modules(drivers.__path__)} - {"evidence"}
    assert sorted(name.replace("-", "_") for name, _ in drivers.DRIVERS) == sorted(modules)
