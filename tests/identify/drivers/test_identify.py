"""Drivers are told by what they sent in recorded sessions, and left unknown where two of them send the same."""

from __future__ import annotations

import pkgutil
from collections import Counter
from dataclasses import replace

import pytest

from pgtrace.describe.notation import SSL, START
from pgtrace.identify import drivers
from pgtrace.identify.drivers import Evidence

WITH_SSL = (SSL, START, 0x70, 0x70)
USER = (("user", "app"), ("database", "shop"))
UTF8 = (*USER, ("client_encoding", "UTF8"))
TRANSACTION = ("BEGIN", "COMMIT")
QUOTED = tuple(f"select name from item where id = '{item}'" for item in range(1, 6))
POINTS = tuple(f"select name from item where id = {item}" for item in range(1, 6))


def libpq(*queries: str, **more: object) -> Evidence:
    return Evidence(
        **{"startup_parameters": USER, "first_codes": WITH_SSL, "queries": queries, "sent": Counter({"Q": len(queries)})} | more
    )  # type: ignore[arg-type]


ASYNCPG = Evidence(
    startup_parameters=(("client_encoding", "'utf-8'"), *USER),
    first_codes=WITH_SSL,
    statement_names=("__asyncpg_stmt_1__", "__asyncpg_stmt_2a__"),
    queries=("BEGIN;", "select $1::int", "COMMIT;"),
    sent=Counter({"PDH": 1, "BES": 9, "Q": 2}),
)
PG8000 = Evidence(
    startup_parameters=USER,
    first_codes=WITH_SSL,
    queries=("begin transaction", "select $1", "commit"),
    sent=Counter({"Q": 1, "PHS": 2, "DHS": 2, "BHEHS": 2}),
)
PSYCOPG = libpq(*TRANSACTION, "select $1", sent=Counter({"Q": 2, "PBDES": 5}), parameter_types=((21,),))
JDBC = (*UTF8, ("DateStyle", "ISO"), ("TimeZone", "UTC"))
R2DBC = (
    *USER, ("application_name", "shop"), ("client_encoding", "utf8"), ("DateStyle", "ISO"), ("extra_float_digits", "2"), ("TimeZone",
    "Europe/Berlin"),
)  # fmt: skip
WITHOUT_SSL = (START, 0x70, 0x70)
NODE = Evidence(
    startup_parameters=UTF8,
    first_codes=WITHOUT_SSL,
    queries=("select $1::int",),
    sent=Counter({"PBDES": 1}),
    parameter_types=((),),
    scram_bytes=33,
)
POSTGRES_JS = (*UTF8, ("application_name", "postgres.js"))
SHOP_JS = (*UTF8, ("application_name", "shop"), ("statement_timeout", "9000"))
ARRAY_TYPES = (
    "\n      select b.oid, b.typarray\n      from pg_catalog.pg_type a\n      left join pg_catalog.pg_type b on b.oid = a.typelem\n"
)
RUBY = (*USER, ("application_name", "bin/rails"))
ACTIVE_RECORD = "SELECT t.oid, t.typname, t.typelem, t.typdelim, t.typinput, r.rngsubtype, t.typtype, t.typbasetype\nFROM pg_type as t\n"
RUBY_TYPES = "\t\t\t\tSELECT t.oid, t.typname, t.typelem, t.typdelim, ti.proname AS typinput\n\t\t\t\tFROM pg_type as t\n"


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
        ("pg8000", PG8000, "a Flush after each message: BHEHS, PHS, DHS"),
        ("pg8000", PG8000, "begin transaction in lower case"),
        ("pg8000", Evidence(statement_names=("pg8000_statement_0",)), "statement names pg8000_statement_<n>"),
        ("psycopg", PSYCOPG, "Parse names the type of each value, int2 for small integers"),
        ("psycopg", libpq(sent=Counter({"PBDES": 1}), parameter_types=((0, 21),)), "libpq's start-up packet"),
        (
            "psycopg",
            libpq(*TRANSACTION, sent=Counter({"PBDE×3 S": 1}), parameter_types=((0, 23),)),
            "Parse Bind Describe Execute with the types of Python values for each query, unnamed; BEGIN without a semicolon",
        ),
        ("psycopg", libpq(statement_names=("_pg3_0",)), "statement names _pg3_<n>"),
        ("psycopg", libpq('SAVEPOINT "_pg3_1"', "select 1"), 'savepoint names "_pg3_<n>"'),
        ("psycopg", libpq("select '2020-01-02 03:04:05+00:00'::timestamptz"), "values written into the SQL as ClientCursor writes them"),
        ("psycopg", libpq("select '{1,2}'::int2[]"), "values written into the SQL as ClientCursor writes them"),
        ("psycopg2", libpq("BEGIN", *POINTS, "COMMIT"), "values written into the SQL: 5 texts of select name from item where id = $1"),
        (
            "psycopg2",
            libpq("BEGIN", *POINTS, "COMMIT", first_codes=WITHOUT_SSL, scram_bytes=32),
            "values written into the SQL: 5 texts of select name from item where id = $1",
        ),
        (
            "psycopg2",
            libpq("BEGIN", *POINTS, "COMMIT", is_encrypted=True, scram_bytes=53),
            "values written into the SQL: 5 texts of select name from item where id = $1",
        ),
        (
            "psycopg",
            libpq("copy t from stdin", copy_failures=("COPY from stdin failed: error from Python: Wrong.Inner - no",)),
            "a failed COPY ends with 'error from Python: ...'",
        ),
        (
            "psql",
            Evidence(startup_parameters=(*USER, ("application_name", "psql"), ("client_encoding", "UTF8")), first_codes=WITHOUT_SSL),
            "application_name is psql, in libpq's start-up packet",
        ),
        (
            "pgbouncer",
            Evidence(startup_parameters=USER[::-1], statement_names=("PGBOUNCER_12",)),
            "the database before the user in the start-up packet",
        ),
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
        (
            "pgjdbc",
            Evidence(startup_parameters=JDBC),
            "user, database, client_encoding=UTF8, DateStyle=ISO, TimeZone in the start-up packet",
        ),
        (
            "pgjdbc",  # 42.5, preferQueryMode=simple
            Evidence(startup_parameters=(*JDBC, ("extra_float_digits", "2")), sent=Counter({"Q": 7}), scram_bytes=33),
            "user, database, client_encoding=UTF8, DateStyle=ISO, TimeZone in the start-up packet",
        ),
        (
            "pgjdbc",  # currentSchema and options in the URL
            Evidence(startup_parameters=(*JDBC, ("search_path", "public"), ("options", "-c a=1")), statement_names=("S_1",)),
            "statement names S_<n>",
        ),
        ("pgjdbc", Evidence(startup_parameters=JDBC, portal_names=("C_2",)), "portal names C_<n>"),  # a fetch size
        ("pgjdbc", Evidence(startup_parameters=JDBC, sent=Counter({"QPBDES": 1})), "BEGIN sent ahead of the first statement"),
        ("pgjdbc", Evidence(queries=("BEGIN; SAVEPOINT PGJDBC_AUTOSAVE",)), "savepoint names PGJDBC_AUTOSAVE"),
        ("pgjdbc", Evidence(queries=("ROLLBACK TO SAVEPOINT JDBC_SAVEPOINT_0",)), "savepoint names JDBC_SAVEPOINT_"),
        (
            "r2dbc-postgresql",
            Evidence(startup_parameters=R2DBC),
            "application_name, client_encoding=utf8, DateStyle, extra_float_digits, TimeZone in the start-up packet",
        ),
        (
            "r2dbc-postgresql",
            Evidence(startup_parameters=R2DBC, statement_names=("S_0",), portal_names=("B_0",)),
            "portal names B_<n>",
        ),
        (
            "r2dbc-postgresql",
            Evidence(queries=("SELECT oid, * FROM pg_catalog.pg_type WHERE typname IN ('hstore','geometry','vector')",)),
            "the look-up of hstore, geometry and vector",
        ),
        ("node-postgres", NODE, "n=* in SCRAM"),
        ("node-postgres", replace(NODE, first_codes=WITH_SSL), "client_encoding=UTF8 ends the start-up packet"),  # ssl: true
        ("node-postgres", replace(NODE, queries=POINTS, sent=Counter({"Q": 5}), parameter_types=()), "n=* in SCRAM"),
        (
            "node-postgres",  # trust or MD5
            replace(NODE, scram_bytes=0),
            "Parse Bind Describe Execute without types, on a packet that libpq would begin with SSLRequest",
        ),
        (
            "node-postgres",
            Evidence(startup_parameters=(*USER, ("application_name", "shop"), ("statement_timeout", "5000"), ("client_encoding", "UTF8"))),
            "timeouts before client_encoding",
        ),
        (
            "node-postgres",
            Evidence(startup_parameters=UTF8, portal_names=("C_1",), sent=Counter({"PBDHEH": 1, "EH": 1, "CS": 1})),
            "pg-cursor's Describe Flush before Execute Flush, portal names C_<n>",
        ),
        ("postgres.js", Evidence(startup_parameters=POSTGRES_JS), "application_name is postgres.js, after client_encoding"),
        ("postgres.js", Evidence(queries=(ARRAY_TYPES,)), "the look-up of array types"),
        (
            "postgres.js",  # application_name and fetch_types set
            Evidence(startup_parameters=SHOP_JS, statement_names=("9er8hxj4kyj1", "9er8hxj4kyj2")),
            "statement names of drawn characters and a counter",
        ),
        (
            "postgres.js",
            Evidence(startup_parameters=SHOP_JS, sent=Counter({"PDH": 1, "BES": 1})),
            "Describe before Bind",
        ),  # prepare: false
        ("ruby-pg", libpq("select 1", startup_parameters=RUBY), "application_name is a Ruby program's"),
        (
            "ruby-pg",
            libpq("BEGIN", *POINTS, startup_parameters=(*USER, ("application_name", "lib/shop.rb"))),
            "application_name is a Ruby program's",
        ),
        (
            "ruby-pg",
            libpq(*TRANSACTION, startup_parameters=RUBY, sent=Counter({"PBDES": 4}), parameter_types=((0,),)),
            "application_name is a Ruby program's",
        ),
        ("ruby-pg", libpq(RUBY_TYPES, application_name="shop"), "the query of its type registry"),
        ("ruby-pg", libpq(ACTIVE_RECORD, application_name="puma: cluster worker 0"), "ActiveRecord's query of types"),
        (
            "pdo_pgsql",
            libpq(statement_names=("pdo_stmt_0000000a",), sent=Counter({"PS": 1, "BDES": 1})),
            "statement names pdo_stmt_<n>",
        ),
        ("pdo_pgsql", libpq("DEALLOCATE pdo_stmt_00000001"), "DEALLOCATE pdo_stmt_<n>"),
        ("pdo_pgsql", libpq("DECLARE pdo_crsr_00000005 SCROLL CURSOR WITH HOLD FOR select 1"), "cursor names pdo_crsr_<n>"),
        (
            "pdo_pgsql",
            libpq("COPY item (id, name) FROM STDIN WITH DELIMITER E'\t' NULL AS E'\\\\N'"),
            "COPY ... STDIN WITH DELIMITER E'...' NULL AS E'...'",
        ),
        ("pdo_pgsql", libpq("SELECT RELNAME FROM PG_CLASS WHERE OID=16699"), "getColumnMeta's look-up of a table's name"),
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
        pytest.param(libpq("BEGIN", *POINTS, "COMMIT", first_codes=WITHOUT_SSL), id="go-pg, or psycopg2 with sslmode=disable"),
        pytest.param(libpq("BEGIN", *POINTS, "COMMIT", is_encrypted=True), id="Bun's pgdriver where TLS was accepted"),
        pytest.param(libpq(*POINTS), id="values in SQL, but nothing of psycopg2"),
        pytest.param(libpq("BEGIN", *POINTS[:2], "COMMIT"), id="two texts may be two queries"),
        pytest.param(libpq(*POINTS, *TRANSACTION), id="values in SQL, and a transaction later"),
        pytest.param(libpq("BEGIN", *QUOTED, "COMMIT"), id="PDO with emulated prepares quotes numbers"),
        pytest.param(libpq(*TRANSACTION, sent=Counter({"PBDES": 4}), parameter_types=((0, 0),)), id="ruby-pg or PDO without prepares"),
        pytest.param(libpq(statement_names=("insert",), sent=Counter({"PS": 1, "BDES": 9})), id="ruby-pg under another name"),
        pytest.param(replace(NODE, scram_bytes=32), id="libpq without SSL and with client_encoding"),
        pytest.param(libpq(*POINTS, startup_parameters=UTF8, first_codes=WITHOUT_SSL), id="a client_encoding and queries of any client"),
        pytest.param(replace(NODE, startup_parameters=(*UTF8, ("DateStyle", "ISO, MDY")), statement_names=("P0",)), id="Bun's SQL"),
        pytest.param(Evidence(statement_names=("S_1",), portal_names=("C_1",)), id="pgjdbc, or not, whose beginning was not seen"),
        pytest.param(Evidence(statement_names=("9er8hxj4kyj1",), sent=Counter({"PDH": 1})), id="postgres.js, or not, whose "
            "beginning was not seen"),
        pytest.param(libpq(*TRANSACTION, "SAVEPOINT a", "SAVEPOINT b", "SAVEPOINT c"), id="names are no values"),
        pytest.param(libpq("BEGIN", *POINTS, startup_parameters=UTF8), id="Django through either"),
        pytest.param(libpq("BEGIN", *POINTS, sent=Counter({"Q": 5, "PBES": 1})), id="an extended query among them"),
        pytest.param(libpq("BEGIN", *POINTS, application_name="pgbench"), id="pgbench"),
        pytest.param(libpq(sent=Counter({"PBDES": 5})), id="any user of PQexecParams"),
        pytest.param(libpq(*TRANSACTION, sent=Counter({"PBDES": 5}), parameter_types=((),)), id="and of BEGIN: psycopg names types"),
        pytest.param(libpq(*TRANSACTION, sent=Counter({"PDS": 5, "PBDES": 5})), id="libpq never puts Describe behind Parse"),
        pytest.param(libpq(*TRANSACTION, startup_parameters=UTF8, first_codes=(START,), sent=Counter({"PBDES": 5})), id="node pg"),
        pytest.param(libpq('DECLARE "a" NO SCROLL CURSOR WITH HOLD FOR SELECT 1', startup_parameters=UTF8, first_codes=(START,),
        sent=Counter({"PBDES": 1}), parameter_types=((),)), id="psycopg without SSL, whose cursor has no parameters"),
        pytest.param(Evidence(startup_parameters=(("database", "shop"), ("user", "app")), queries=TRANSACTION,
        sent=Counter({"PBDES": 1})), id="PgBouncer"),
    ],
)  # fmt: skip
def test_left_unknown(seen: Evidence) -> None:
    assert drivers.identify(seen) == drivers.Identification("unknown", ())


def test_libpq_with_every_setting_is_still_libpq() -> None:
    parameters = (*USER, ("options", "-c a.b=1"), ("application_name", "x"), ("client_encoding", "utf8"), ("timezone", "UTC"))
    assert libpq(startup_parameters=parameters).is_libpq
    assert not libpq(startup_parameters=parameters[::-1]).is_libpq
    assert not libpq(startup_parameters=parameters, first_codes=(START,)).is_libpq


def test_scram_tells_libpq_from_others_with_its_packet() -> None:
    assert libpq(scram_bytes=32).is_libpq
    assert libpq(scram_bytes=53).is_libpq
    assert not libpq(scram_bytes=33).is_libpq


@pytest.mark.parametrize(("scram_bytes", "is_libpq"), [(0, False), (32, True), (33, False), (53, True)])
def test_with_client_encoding_and_without_ssl_its_scram_tells_libpq(scram_bytes: int, is_libpq: bool) -> None:
    assert libpq(startup_parameters=UTF8, first_codes=(START,), scram_bytes=scram_bytes).is_libpq is is_libpq
    pq = (*UTF8, ("datestyle", "ISO, MDY"))
    assert not libpq(startup_parameters=pq, first_codes=(START,), scram_bytes=scram_bytes).is_libpq


def test_each_driver_is_listed_once() -> None:
    modules = {module.name for module in pkgutil.iter_modules(drivers.__path__)} - {"client", "evidence", "names"}
    assert sorted(name.replace("-", "_").replace(".", "_") for name in drivers.BY_NAME) == sorted(modules)
