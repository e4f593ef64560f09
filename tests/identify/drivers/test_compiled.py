"""The drivers of Go and Rust, told by what they sent in recorded sessions: their modes, older
versions, and what they have in common with others."""

from __future__ import annotations

from collections import Counter

import pytest

from pgtrace.describe.notation import SSL, START
from pgtrace.identify import drivers
from pgtrace.identify.drivers import Evidence

CLEAR = (START, 0x70, 0x70)
ENCRYPTED = (SSL, *CLEAR)
USER = (("user", "app"), ("database", "shop"))
PQ = (*USER, ("client_encoding", "UTF8"), ("datestyle", "ISO, MDY"))
TOKIO = (("client_encoding", "UTF8"), *USER)
SQLX = (*USER, ("DateStyle", "ISO, MDY"), ("client_encoding", "UTF8"), ("TimeZone", "UTC"))
HASH = "9a947075a364350fa3222ccdf30eaa15b016e2048607ad4a"
BLANKS = tuple(f"select id from item where id =  '{item}'  and name <>  'x' " for item in range(1, 4))


def go(*queries: str, **more: object) -> Evidence:
    return Evidence(**{"startup_parameters": USER, "first_codes": CLEAR, "queries": queries, "sent": Counter({"Q": len(queries)})} | more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("driver", "seen", "sentence"),
    [
        ("pgx", go(statement_names=(f"stmtcache_{HASH}",)), "statement names stmtcache_<hash of the SQL>"),
        ("pgx", go(statement_names=("mine", f"stmt_{HASH}")), "statement names stmt_<hash of the SQL>"),
        ("pgx", go(statement_names=("stmtcache_1",)), "statement names of its cache, numbered"),
        ("pgx", go(statement_names=("lrupsc_1_0",)), "statement names of its cache, numbered"),
        ("pgx", go("-- ping"), "Ping is the query -- ping"),
        ("pgx", go('copy "item" ( "id", "name" ) from stdin binary;'), 'copy "..." ( "..." ) from stdin binary; of CopyFrom'),
        ("pgx", go("\nWITH RECURSIVE\n"
            "-- find the OIDs in pg_class which match one of the provided type names\n"), "LoadTypes' query for types"),
        (
            "pgx",
            go("begin", "commit", sent=Counter({"PDS": 1, "PBDES": 4})),
            "Parse Describe Sync, then Bind Describe Execute Sync; begin and commit in lower case",
        ),
        (
            "pgx",
            go("begin isolation level serializable", sent=Counter({"PDS": 1, "BES": 2, "BDES": 1})),
            "Parse Describe Sync, then Bind Describe Execute Sync; begin and commit in lower case",
        ),
        ("pgx", go("begin", *BLANKS), "values written into the SQL between blanks, in 3 texts"),
        ("pgx", go("-- ping", "begin", "savepoint sp_1"), "savepoints sp_<n> in lower case"),
        ("pq", go(startup_parameters=PQ), "client_encoding is UTF8 and datestyle is ISO, MDY"),
        (
            "pq",
            go(startup_parameters=(PQ[3], USER[1], PQ[2], ("extra_float_digits", "2"), USER[0])),
            "client_encoding is UTF8 and datestyle is ISO, MDY",
        ),
        ("pq", go(startup_parameters=PQ, first_codes=ENCRYPTED, sent=Counter({"PDS": 1, "BES": 1})),
        "Parse Describe Sync, then Bind Execute Sync"),
        ("pq", go(startup_parameters=PQ, first_codes=ENCRYPTED, statement_names=("1",)), "statement names 1, 2, ..."),
        ("pq", go("BEGIN READ WRITE", startup_parameters=PQ, first_codes=ENCRYPTED), "BEGIN with READ WRITE or READ ONLY"),
        ("pq", go("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY", startup_parameters=PQ, first_codes=ENCRYPTED),
        "BEGIN with READ WRITE or READ ONLY"),
        ("pq", go(";", startup_parameters=PQ, first_codes=ENCRYPTED, sent=Counter({"PBDES": 3})), "Ping is the query ;"),
        ("tokio-postgres", go(startup_parameters=TOKIO), "client_encoding is UTF8, before the user"),
        ("tokio-postgres", go(startup_parameters=TOKIO, first_codes=ENCRYPTED, statement_names=("s0",)), "statement names s<n>"),
        ("tokio-postgres", go("START TRANSACTION", "COMMIT", startup_parameters=TOKIO), "START TRANSACTION, not BEGIN"),
        (
            "tokio-postgres",
            go("SELECT t.typname, t.typtype, t.typelem, r.rngsubtype, t.typbasetype, n.nspname, t.typrelid\n"
                "FROM pg_type t\n", startup_parameters=()),
            "its query for a type",
        ),
        ("psqlpy", go("START TRANSACTION", "COMMIT;", startup_parameters=TOKIO), "START TRANSACTION, then COMMIT or ROLLBACK with "
            "a semicolon"),
        ("psqlpy", go("DEALLOCATE PREPARE s0", startup_parameters=TOKIO), "DEALLOCATE PREPARE s<n> for each statement not to be kept"),
        ("sqlx", go(startup_parameters=SQLX), "DateStyle, client_encoding and TimeZone, in this order"),
        ("sqlx", go(startup_parameters=(*SQLX, ("application_name", "shop"))), "DateStyle, client_encoding and TimeZone, in this order"),
        ("sqlx", go(startup_parameters=(), statement_names=("sqlx_s_1",)), "statement names sqlx_s_<n>"),
        ("sqlx", go("SAVEPOINT _sqlx_savepoint_1", startup_parameters=()), "savepoint names _sqlx_savepoint_<n>"),
        ("sqlx", go(startup_parameters=SQLX, sent=Counter({"PDS": 3, "BECS": 3})), "Bind Execute Close Sync"),
    ],
)  # fmt: skip
def test_identified(driver: str, seen: Evidence, sentence: str) -> None:
    found = drivers.identify(seen)
    assert found.driver == driver
    assert sentence in found.evidence


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(go("begin", "commit", sent=Counter({"PBDES": 4}), parameter_types=((),)), id="pgx in QueryExecModeExec"),
        pytest.param(go("BEGIN", "COMMIT", sent=Counter({"PBDES": 4}), parameter_types=((),)), id="the same, BEGIN typed"),
        pytest.param(go("begin", "listen captures", "commit"), id="pgx, queries without values"),
        pytest.param(go("BEGIN", "COMMIT", sent=Counter({"PDS": 1, "PBDES": 4})), id="pgx in QueryExecModeCacheDescribe, BEGIN typed"),
        pytest.param(go("begin", "savepoint sp_1"), id="savepoints anybody could name so"),
        pytest.param(go("begin", *BLANKS[:2]), id="two texts may be two queries"),
        pytest.param(go("begin", *(text.replace("  ", " ").rstrip() for text in BLANKS)), id="literals as anybody writes them"),
        pytest.param(go("begin", *(f"select  {item}  from item" for item in range(1, 4))), id="numbers between blanks"),
        pytest.param(go(startup_parameters=PQ, first_codes=ENCRYPTED), id="libpq with PGCLIENTENCODING and PGDATESTYLE"),
        pytest.param(go("BEGIN", startup_parameters=PQ, first_codes=ENCRYPTED, sent=Counter({"PBDES": 3}), parameter_types=((),)),
        id="PQexecParams"),
        pytest.param(go(startup_parameters=(*USER, ("client_encoding", "UTF8")), sent=Counter({"PDS": 1, "BES": 1})),
        id="somebody else's packet"),
        pytest.param(go("START TRANSACTION", "COMMIT;", statement_names=("s0",), startup_parameters=()),
        id="the beginning of tokio-postgres not seen"),
    ],
)  # fmt: skip
def test_left_unknown(seen: Evidence) -> None:
    assert drivers.identify(seen) == drivers.Identification("unknown", ())


def test_what_libpq_never_sends_is_not_libpq() -> None:
    points = tuple(f"select name from item where id = {item}" for item in range(1, 6))
    assert go("BEGIN", "COMMIT", *points, scram_bytes=32).is_libpq
    assert drivers.identify(go("BEGIN", "COMMIT", *points, scram_bytes=32)).driver == "psycopg2"
    assert go(scram_bytes=53).is_libpq
    assert not go(scram_bytes=38).is_libpq
    assert drivers.identify(go("BEGIN", "COMMIT", *points, scram_bytes=38)).driver == "unknown"  # bun's pgdriver
    assert not go(sent=Counter({"PDS": 1})).is_libpq
    assert not go(sent=Counter({"BE×3 S": 1})).is_libpq
    assert go(sent=Counter({"PBDES": 1, "PS": 1, "BDES": 2})).is_libpq


def test_psycopg_with_the_settings_of_pq_is_still_psycopg() -> None:
    seen = go("BEGIN", "COMMIT", startup_parameters=PQ, first_codes=ENCRYPTED, sent=Counter({"PBDES": 3}), parameter_types=((21,),))
    assert drivers.identify(seen).driver == "psycopg"
