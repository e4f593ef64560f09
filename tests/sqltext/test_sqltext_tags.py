"""Tags in comments: what counts as one, and how values are decoded."""

from __future__ import annotations

import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace.sqltext import fingerprint, normalise, tags
from pgtrace.sqltext.tags import LONGEST, MOST

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-03"


@pytest.mark.parametrize(
    ("sql", "pairs"),
    [
        ("SELECT 1", {}),
        ("SELECT 1 /* why */", {}),
        (
            f"SELECT $1 /*db_driver='psycopg%3A3.3.9',dbapi_threadsafety=2,traceparent='{PARENT}'*/",
            {"db_driver": "psycopg:3.3.9", "dbapi_threadsafety": "2", "traceparent": PARENT},
        ),
        ("SELECT 1 /*db_driver='psycopg%%3A3.3.9'*/;", {"db_driver": "psycopg:3.3.9"}),
        (
            "SELECT 1 /*controller='shop%3Aorders%2C%20all',framework='django%3A5.2.19',route='%5Eorders%2F'*/",
            {"controller": "shop:orders, all", "framework": "django:5.2.19", "route": "^orders/"},
        ),
        (
            "/*application:Shop,controller:orders,action:index*/ SELECT 1",
            {"application": "Shop", "controller": "orders", "action": "index"},
        ),
        ("SELECT 1 /* a='1' , b='2' */", {"a": "1", "b": "2"}),
        ("/*a='1'*/ SELECT 1 /*b='2'*/", {"a": "1", "b": "2"}),
        ("/*a='1'*/ SELECT /*c='3'*/ 1 /*b='2'*/", {"a": "1", "b": "2"}),
        ("SELECT 1 /*a='1'*/; SELECT 2 /*b='2'*/", {"a": "1", "b": "2"}),
        ("SELECT 1; /*a='1'*/", {"a": "1"}),
        ("SELECT 1 /*a='it\\'s'*/", {"a": "it's"}),
        ("SELECT 1 /*a='it%27s%zz%2'*/", {"a": "it's%zz%2"}),
        ("SELECT 1 /*a='%2525'*/", {"a": "%25"}),
        ("SELECT 1 /*a=''*/", {"a": ""}),
        ("SELECT 1 /*a%20b='1'*/", {"a b": "1"}),
        (
            "SELECT 1 /*source_location:app/models/order.rb:3:in block in total*/",
            {"source_location": "app/models/order.rb:3:in block in total"},
        ),
        ("SELECT 1 /*controller:orders,line:app/a.rb:3:in `total'*/", {"controller": "orders", "line": "app/a.rb:3:in `total'"}),
        ("SELECT 1 /*+ IndexScan(a) */", {}),
        ("SELECT 1 /*+a='1'*/", {}),
        ("SELECT 1 /* todo: this */", {}),
        ("SELECT 1 /*a='1', and more*/", {}),
        ("SELECT 1 /*a='1'", {}),
        ("SELECT 1 -- a='1'", {}),
        ("SELECT '/*a=1*/'", {}),
        ("SELECT $$/*a='1'*/$$", {}),
        ("SELECT 1 /*a='1',*/", {}),
        ("SELECT 1 /**/", {}),
        (f"SELECT 1 /*a='{'x' * LONGEST}'*/", {}),
    ],
)
def test_the_tags_of_a_text(sql: str, pairs: dict[str, str]) -> None:
    assert dict(tags.tags(sql)) == pairs


def test_more_than_one_value_of_a_key() -> None:
    sql = "SELECT 1 /*route='a'*/; SELECT 2 /*route='b'*/"
    assert tags.values(sql, "route") == ("a", "b")
    assert tags.values(sql, "rout") == ()


def test_the_trace_id_is_in_the_traceparent() -> None:
    assert tags.trace_ids(f"SELECT 1 /*traceparent='{PARENT}'*/") == (TRACE,)
    assert tags.trace_ids("SELECT 1 /*traceparent='00-x-y-01'*/") == ()
    assert tags.trace_ids(f"SELECT 1 /*parent='{PARENT}'*/") == ()


def test_only_so_many_are_read() -> None:
    pairs = ",".join(f"k{number}='{number}'" for number in range(MOST + 9))
    assert len(tags.tags(f"SELECT 1 /*{pairs}*/")) == MOST


@given(
    st.dictionaries(
        st.from_regex(r"[a-z_]{1,8}", fullmatch=True),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        min_size=1,
        max_size=6,
    )
)
def test_what_sqlcommenter_writes_is_read_again(pairs: dict[str, str]) -> None:
    comment = ",".join(f"{quote(key, safe='')}='{quote(value, safe='')}'" for key, value in sorted(pairs.items()))
    sql = f"SELECT a FROM t /*{comment}*/"
    assert dict(tags.tags(sql)) == pairs
    assert (normalise(sql), fingerprint(sql)) == (normalise("SELECT a FROM t"), fingerprint("SELECT a FROM t"))


@given(st.text("/*=:,'%+;\\ $-ab2", max_size=60) | st.text(max_size=40))
def test_no_text_raises(sql: str) -> None:
    assert len(tags.tags(sql)) <= MOST


@pytest.mark.parametrize("unit", ["a=1,", "a='", "a ", "a:b c ", "a=%", "'", "a='\\'", "a=b:"])
def test_time_is_linear_in_the_comment(unit: str) -> None:
    sql = f"/*{unit * (LONGEST // len(unit) - 4)}*/ SELECT 1"
    started = time.process_time()
    tags.tags(sql)
    assert time.process_time() - started < 0.5
