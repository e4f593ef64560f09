"""Loops over statements that ask for many things at once are no loops over values."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtrace.judge import batches
from pgtrace.judge.batches import LIMIT, LIST, ONE, RANGE
from tests.corpus import NIGHTLY
from tests.judging import Judge

VALUE = st.one_of(st.integers(0, 10**6).map(str), st.text("ab(),; ", max_size=4).map(lambda text: f"'{text}'"), st.just("$1"))
NOISE = st.sampled_from([" ", "\n", " /* in (1, 2) */ ", " -- limit 3\n"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("select a from t where id = V", [ONE]),
        ("select a from t where id = any(V)", [LIST]),
        ("select a from t where b = V and id = any(V :: int[])", [ONE, LIST]),
        ("select a from t where id <> all (array[V, V])", [LIST, LIST]),
        ("select a from t where id = any(select b from u where c = V)", [ONE]),
        ("select a from t union all (select b from u where c = V)", [ONE]),
        ("select a from t where id in (V)", [ONE]),
        ("select a from t where id in (V, V, V) and c = V", [LIST, LIST, LIST, ONE]),
        ("select a from t where (b, c) in ((V, V), (V, V))", [LIST] * 4),
        ("select a from t where id in (select b from u where c = V limit V)", [ONE, LIMIT]),
        ("insert into t (a, b) values (V, V)", [ONE, ONE]),
        ("insert into t (a, b) values (V, lower(V)), (V, V) returning a", [LIST] * 4),
        ("insert into t (a) values (V), (V) on conflict (a) do update set b = V", [LIST, LIST, ONE]),
        ("insert into t select unnest(V), V", [LIST, ONE]),
        ("select a from t join (values (V), (V)) as v (b) on a = b where c = V", [LIST, LIST, ONE]),
        ("select a from t where id > V order by id limit V", [RANGE, LIMIT]),
        ("select a from t order by id limit (V) offset V", [LIMIT, LIMIT]),
        ("select a from t order by id fetch first V rows only", [LIMIT]),
        ("select a from t where (b, id) > (V, V)", [RANGE, RANGE]),
        ("select a from t where id between V and V and c = V", [RANGE, RANGE, ONE]),
        ("select a from t where V < id", [RANGE]),
        ("delete from t where id in (select id from t where s = V limit V for update skip locked)", [ONE, LIMIT]),
    ],
)
@settings(max_examples=300 if NIGHTLY else 20)
@given(data=st.data())
def test_what_each_value_stands_for(text: str, expected: list[str], data: st.DataObject) -> None:
    pieces = text.split("V")
    values = [data.draw(VALUE) for _ in pieces[1:]]
    sql = pieces[0] + "".join(value + piece for value, piece in zip(values, pieces[1:], strict=True))
    sql = data.draw(NOISE).join(sql.split(" ")) if not any(" " in value for value in values) else sql
    assert batches.roles(sql) == tuple(zip(expected, values, strict=True))


@given(st.text("select anyinvluebtwd()[],;'<>=$1 ", max_size=200))
def test_whatever_the_text_each_value_has_one_role(sql: str) -> None:
    assert {role for role, _ in batches.roles(sql)} <= {ONE, LIST, RANGE, LIMIT}


def query(sql: str, rows: int, tag: str) -> str:
    return f"F Query {sql}\nB {'DataRow x | ' * rows}CommandComplete {tag} | ReadyForQuery I"


def pages(sql: str, rows: int = 3) -> list[str]:
    return [query(sql.format(n=number, m=number + 1, k=number + 2), rows, f"SELECT {rows}") for number in range(0, 60, 10)]


def writes(sql: str) -> list[str]:
    return [query(sql.format(n=number, m=number + 1), 0, "DELETE 2") for number in range(6)]


def in_turn(*loops: list[str]) -> list[str]:
    return [line for lines in zip(*loops, strict=True) for line in lines]


@pytest.mark.parametrize(
    "lines",
    [
        pages("select id from t where id > {n} order by id limit 3"),
        pages("select id from t where tenant = 7 and id > {n} order by id limit 3"),
        pages("select id from t where a > {n} or (a = {n} and id > {m}) order by a, id limit 3"),
        pages("select id from t order by id limit 3 offset {n}"),
        pages("select id from t where id between {n} and {m}"),
        pages("select id from t where id in ({n}, {m}, {k})"),
        pages("select id from t where id in ({n}, {m}, {k}) and tenant = 7", 1),
        writes("insert into t values ({n}), ({m})"),
        writes("delete from t where id in (select id from t limit 1000)"),
        writes("update t set s = 'done' where id = (select id from t where s = 'new' limit 1 for update skip locked)"),
        writes("update t set a = 0 where id >= {n} and id < {m}"),
        in_turn(writes("delete from t where id in (select id from t limit 1)"), writes("insert into d values ({n})")),
    ],
)  # fmt: skip
def test_portions_are_no_loop_over_values(judged: Judge, lines: list[str]) -> None:
    assert judged(*lines, "end").names == []


@pytest.mark.parametrize(
    "lines",
    [
        pages("select id from t where tenant = {n} and id > 5 order by id limit 3"),
        pages("select name from t where id = {n} limit 21", 1),
        pages("select rate from t where at <= {n} order by at desc limit 1", 1),
        pages("select id from t where id in ({n})"),
        pages("select id from t where owner = {n} and state in ('a', 'b')"),
        writes("insert into t values ({n}, {m})"),
        writes("delete from t where owner = {n} and at < 5"),
    ],
)
def test_a_loop_over_another_value_is_one(judged: Judge, lines: list[str]) -> None:
    assert judged(*lines, "end").told == [("n+1", 5)]


@pytest.mark.parametrize("in_block", [False, True])
@pytest.mark.parametrize("found", [0, 1, 2, 20])
@pytest.mark.parametrize("relations", [1, 2, 3])
def test_eager_loading_is_a_unit_of_work(judged: Judge, relations: int, found: int, *, in_block: bool) -> None:
    """Outside a block they may be requests, and the ORM does what it should; inside one, somebody goes through parents."""
    parents = pages("select id from t where tenant = {n}", found)
    lines = in_turn(parents, *(pages(f"select id from r{number} where t_id in ({{n}}, {{m}}, {{k}})") for number in range(relations)))
    if in_block:
        begin = "F Query BEGIN\nB CommandComplete BEGIN | ReadyForQuery T"
        lines = [begin, *(line.replace("ReadyForQuery I", "ReadyForQuery T") for line in lines)]
    assert ("n+1" in judged(*lines, "end").names) is (in_block or found < 2)


@pytest.mark.parametrize(
    ("sql", "remedied"),
    [
        ("select count(*) from t where at >= {n} and at < {m}", "use one query for all bounds"),
        ("select rate from t where at <= {n} order by at desc limit 1", "use one query for all bounds"),
        ("select count(*) from t where at between {n} and {m}", "use one query for all bounds"),
        ("select count(*) from t where owner = {n} and at < {m}", ""),
        ("select name from t where id = {n} limit 1", ""),
        ("select name from t where id in ({n})", ""),
        ("select name from t order by id limit 1 offset {n}", "read pages of a hundred rows or more"),
        ("select name from t order by id offset {n} fetch next 1 rows only", "read pages of a hundred rows or more"),
        ("select name from t where owner = {m} order by id limit 1 offset {n}", ""),
    ],
)
def test_the_remedy_of_a_loop_over_bounds_or_pages_compares_no_column_with_a_list(judged: Judge, sql: str, remedied: str) -> None:
    told = judged(*pages(sql, 1), "end")["n+1"]
    (remedy,) = told.remedies
    assert remedy.startswith(remedied)
    assert ("ANY" in remedy) is not bool(remedied)


def binary(*items: int) -> bytes:
    """An array of int4 as a driver binds it."""
    head = struct.pack("!iii", bool(items), 0, 23) + (struct.pack("!ii", len(items), 1) if items else b"")
    return head + b"".join(struct.pack("!ii", 4, item) for item in items)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.booleans())
def test_a_bound_list_of_one(items: list[int], is_binary: bool) -> None:
    value = binary(*items) if is_binary else f"{{{','.join(map(str, items))}}}".encode()
    found = batches.roles("select a from t where b = $1 and id = any($2)")
    assert batches.of_one(found, (b"7", value), (0, int(is_binary))) is (len(items) == 1)
    assert not batches.of_one(found, None, ())


@pytest.mark.parametrize(("items", "names"), [("{{{0}}}", ["n+1"]), ("{{{0},{0}7}}", [])])
def test_a_loop_over_lists_of_one_is_one(judged: Judge, items: str, names: list[str]) -> None:
    written = [query(f"select a from t where id = any('{items.format(number)}')", 1, "SELECT 1") for number in range(6)]
    assert judged(*written, "end").names == names


@pytest.mark.parametrize(("tenants", "names"), [([7] * 6, []), (range(6), ["n+1"])])
def test_bound_values_are_compared(judged: Judge, tenants: list[int], names: list[str]) -> None:
    sql = "select id from t where tenant = $1 and id > $2 limit 2"
    lines = [f"F Parse s {sql} | Describe S s | Flush\nB ParseComplete | ParameterDescription 23 23 | RowDescription id:23"]
    ran = "B BindComplete | DataRow 1 | DataRow 2 | CommandComplete SELECT 2 | ReadyForQuery I"
    lines += [f"F Bind - s params={tenant},{place} | Execute - | Sync\n{ran}" for place, tenant in enumerate(tenants, 100)]
    assert judged(*lines, "end").names == names


@pytest.mark.parametrize("number", ["²", "65536", "9" * 5000])
def test_a_parameter_that_no_statement_can_have_is_a_value_like_any_other(number: str) -> None:
    assert batches.apart([(ONE, f"${number}")], [b"1"]) == [(f"${number}", False)]
    assert batches.of_one([(LIST, f"${number}")], [b"1"], [])
