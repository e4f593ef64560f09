"""What the introspection queries of drivers tell: each is asked of a real server, in both formats, with the columns the driver asks for."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import pq

from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.describe import introspection
from pgtrace.protocol import values
from pgtrace.protocol.backend import Column
from pgtrace.protocol.values import Type, TypeKind

pytestmark = pytest.mark.live


NAMES = ("mood", "_mood", "person", "cents", "prices", "price_lists")
MADE = """
CREATE TYPE mood AS ENUM ('sad', 'it''s fine');
CREATE DOMAIN cents AS int4;
CREATE TYPE person AS (name text, mood mood, "odd,name" cents);
CREATE TYPE prices AS RANGE (subtype = int8, multirange_type_name = price_lists);
"""


@pytest.fixture(scope="module")
def connection(server: EmbeddedServer) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE introspected")
    with psycopg.connect(server.url(), dbname="introspected", autocommit=True) as connection:
        connection.execute(MADE)
        yield connection


@pytest.fixture(scope="module")
def oids(connection: psycopg.Connection) -> dict[str, int]:
    return dict(connection.execute("SELECT typname, oid::int FROM pg_type WHERE typname = ANY(%s)", [list(NAMES)]).fetchall())


def learned(connection: psycopg.Connection, sql: str, parameters: list[str] | None = None) -> dict[int, Type]:
    """The types a result tells, which must be the same in both formats."""
    told: list[dict[int, Type]] = []
    for form in pq.Format:
        result = connection.pgconn.exec_params(sql.encode(), [one.encode() for one in parameters or []], result_format=form)
        assert result.status == pq.ExecStatus.TUPLES_OK, result.error_message
        columns = [
            Column((result.fname(at) or b"").decode(), result.ftable(at), result.ftablecol(at), result.ftype(at), 0, -1, form)
            for at in range(result.nfields)
        ]
        roles = introspection.roles(columns, sql)
        found: dict[int, Type] = {}
        for row in range(result.ntuples):
            texts = {role: values.text(columns[at].type_oid, form, result.get_value(row, at)) for role, at in roles.items() if at >= 0}
            if "key" in roles:
                texts["key"] = (parameters or [""])[0]
            found |= {one.oid: one for one in introspection.types(texts)}
        told.append(found)
    assert told[0] == told[1]
    return told[0]


OF_NAMES = "WHERE t.typname IN ('mood', '_mood', 'person', 'cents', 'prices', 'price_lists')"


def all_kinds(oids: dict[str, int], *, by_range: bool = False) -> dict[int, Type]:
    lists = Type(oids["price_lists"], "price_lists", TypeKind.MULTIRANGE, 0, oids["prices"]) if by_range else None
    found = (
        Type(oids["mood"], "mood", TypeKind.ENUM),
        Type(oids["_mood"], "_mood", TypeKind.ARRAY, oids["mood"]),
        Type(oids["person"], "person", TypeKind.COMPOSITE),
        Type(oids["cents"], "cents", TypeKind.DOMAIN, 23),
        Type(oids["prices"], "prices", TypeKind.RANGE, 20),
        lists or Type(oids["price_lists"], "price_lists", TypeKind.MULTIRANGE, 20),
    )
    return {one.oid: one for one in found}


def test_pgx(connection: psycopg.Connection, oids: dict[str, int]) -> None:
    """A column for each thing a type can be made of; a multirange is told its range type."""
    sql = f"""
        SELECT typname, nspname, typtype, typbasetype, typelem, t.oid, COALESCE(multirange.rngtypid, 0) AS rngtypid,
               COALESCE(pg_range.rngsubtype, 0) AS rngsubtype, NULL::text[] AS attnames, NULL::oid[] AS atttypids
        FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
        LEFT JOIN pg_range ON t.oid = pg_range.rngtypid LEFT JOIN pg_range multirange ON t.oid = multirange.rngmultitypid
        {OF_NAMES} GROUP BY 1, 2, 3, 4, 5, 6, 7, 8"""
    assert learned(connection, sql) == all_kinds(oids, by_range=True)


def test_npgsql(connection: psycopg.Connection, oids: dict[str, int]) -> None:
    """One column for what a type is made of, arrays are a kind of their own; attributes and labels come in rows of their own."""
    sql = f"""
        SELECT nspname, t.oid, t.typname, t.typtype, t.typnotnull, t.elemtypoid
        FROM (SELECT t.oid, typname, typnamespace, typnotnull, CASE WHEN proname = 'array_recv' THEN 'a' ELSE typtype END AS typtype,
                     CASE WHEN proname = 'array_recv' THEN typelem WHEN typtype = 'r' THEN rngsubtype WHEN typtype = 'd' THEN typbasetype
                          WHEN typtype = 'm' THEN (SELECT rngtypid FROM pg_range WHERE rngmultitypid = t.oid) END AS elemtypoid
              FROM pg_type t LEFT JOIN pg_proc p ON p.oid = t.typreceive LEFT JOIN pg_range ON rngtypid = t.oid {OF_NAMES}) AS t
        JOIN pg_namespace n ON n.oid = typnamespace"""
    assert learned(connection, sql) == all_kinds(oids, by_range=True)
    attributes = (
        "SELECT t.oid, a.attname, a.atttypid FROM pg_type t JOIN pg_attribute a ON a.attrelid = t.typrelid WHERE typname "
        "= 'person' ORDER BY 1"
    )
    assert learned(connection, attributes) == {oids["person"]: Type(oids["person"], "", TypeKind.COMPOSITE)}
    labels = "SELECT pg_type.oid, enumlabel FROM pg_enum JOIN pg_type ON pg_type.oid = enumtypid ORDER BY oid, enumsortorder"
    assert learned(connection, labels) == {oids["mood"]: Type(oids["mood"], "", TypeKind.ENUM)}


def test_active_record(connection: psycopg.Connection, oids: dict[str, int]) -> None:
    sql = f"""
        SELECT t.oid, t.typname, t.typelem, t.typdelim, t.typinput, r.rngsubtype, t.typtype, t.typbasetype
        FROM pg_type AS t LEFT JOIN pg_range AS r ON oid = rngtypid {OF_NAMES}"""
    expected = all_kinds(oids)
    expected[oids["price_lists"]] = Type(oids["price_lists"], "price_lists", TypeKind.MULTIRANGE)  # it does not ask
    assert learned(connection, sql) == expected


@pytest.mark.parametrize("name", NAMES)
def test_tokio_postgres_asks_for_one_type_by_its_oid(connection: psycopg.Connection, oids: dict[str, int], name: str) -> None:
    sql = """
        SELECT t.typname, t.typtype, t.typelem, r.rngsubtype, t.typbasetype, n.nspname, t.typrelid
        FROM pg_catalog.pg_type t LEFT OUTER JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid
        INNER JOIN pg_catalog.pg_namespace n ON t.typnamespace = n.oid WHERE t.oid = $1"""
    expected = all_kinds(oids)[oids[name]]
    if name == "price_lists":
        expected = Type(expected.oid, name, TypeKind.MULTIRANGE)
    assert learned(connection, sql, [str(oids[name])]) == {oids[name]: expected}


def test_the_parameter_is_the_oid_only_where_the_query_says_so(connection: psycopg.Connection, oids: dict[str, int]) -> None:
    for condition in ("typelem = $1", "t.typrelid = $1", "t.oid > $1"):
        assert learned(connection, f"SELECT typname, typtype FROM pg_type t WHERE {condition} LIMIT 3", [str(oids["mood"])]) == {}
    found = learned(connection, "SELECT typname FROM pg_type WHERE OID=$1", [str(oids["mood"])])
    assert found == {oids["mood"]: Type(oids["mood"], "mood")}


def test_postgres_js_asks_for_array_types_alone(connection: psycopg.Connection, oids: dict[str, int]) -> None:
    sql = """
        select b.oid, b.typarray from pg_catalog.pg_type a left join pg_catalog.pg_type b on b.oid = a.typelem
        where a.typcategory = 'A' group by b.oid, b.typarray order by b.oid"""
    found = learned(connection, sql)
    assert found[oids["_mood"]] == Type(oids["_mood"], "", TypeKind.ARRAY, oids["mood"])
    assert oids["mood"] not in found
    assert found[1007] == Type(1007, "", TypeKind.ARRAY, 23)


def test_psycopg2(connection: psycopg.Connection, oids: dict[str, int]) -> None:
    ranges = "SELECT rngtypid, rngsubtype, typarray FROM pg_range r JOIN pg_type t ON t.oid = rngtypid WHERE typname = 'prices'"
    found = learned(connection, ranges)
    assert found.pop(oids["prices"]) == Type(oids["prices"], "", TypeKind.RANGE, 20)
    assert [(one.kind, one.element) for one in found.values()] == [(TypeKind.ARRAY, oids["prices"])]
    composites = """
        SELECT t.oid, typarray, attname, atttypid FROM pg_type t JOIN pg_attribute a ON attrelid = typrelid
        WHERE typname = 'person' ORDER BY attnum"""
    assert learned(connection, composites)[oids["person"]] == Type(oids["person"], "", TypeKind.COMPOSITE)


def test_a_base_type_may_be_an_array(connection: psycopg.Connection, oids: dict[str, int]) -> None:
    """pg_type calls both `b`: without the element nothing is said."""
    sql = f"SELECT oid, typname, typtype FROM pg_type t {OF_NAMES}"
    found = learned(connection, sql)
    assert found[oids["_mood"]] == Type(oids["_mood"], "_mood")
    assert found[oids["mood"]] == Type(oids["mood"], "mood", TypeKind.ENUM)
    assert learned(connection, "SELECT oid, typname, typtype, typelem FROM pg_type WHERE typname = 'uuid'") == {
        2950: Type(2950, "uuid", TypeKind.BASE)
    }


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT c.oid, c.relname AS name, c.relkind AS kind, typname FROM pg_class c JOIN pg_type t ON t.oid = c.reltype LIMIT 5",
        "SELECT attrelid AS oid, atttypid, typname FROM pg_attribute JOIN pg_type t ON t.oid = atttypid LIMIT 5",
        "SELECT 16385 AS oid, 'mood' AS name, 'pg_type' AS about",
        "SELECT 16385 AS oid, 'mood' AS name, 'r' AS kind, 'pg_type' AS about",
        "SELECT typname, typtype FROM pg_type LIMIT 5",
        "SELECT n.oid, nspname AS name, 'b' AS kind FROM pg_namespace n, pg_type LIMIT 5",
        "SELECT oid::regtype AS oid, typname FROM pg_type LIMIT 5",
        "SELECT NULL::oid AS oid, typname, typtype AS kind, typelem FROM pg_type LIMIT 5",
    ],
)
def test_what_is_no_row_of_pg_type_tells_nothing(connection: psycopg.Connection, sql: str) -> None:
    assert learned(connection, sql) == {}
