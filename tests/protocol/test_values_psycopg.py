"""psycopg's own dumpers and loaders as the oracle.

What its binary dumpers send is decoded, and its text loaders read that text back to the object it
came from. And what its binary loaders make of a value of the server is what its text loaders make
of our text.
"""

from __future__ import annotations

import datetime
import ipaddress
import random
import struct
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import adapt, pq
from psycopg.types.json import Jsonb
from psycopg.types.multirange import Multirange
from psycopg.types.numeric import Float4, Float8, Int2, Int4, Int8, Oid
from psycopg.types.range import Range

from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.protocol import values
from tests.protocol.values_literals import RANGES, SCALARS
from tests.protocol.values_oracle import SETTINGS, accepted, array_literal, both_formats

pytestmark = pytest.mark.live


TEXT, BINARY = 0, 1
OID = {one.name: one.oid for one in values.BUILTIN.values()}


def dump(value: object, format: adapt.PyFormat) -> tuple[int, bytes]:
    dumper: Any = adapt.Transformer().get_dumper(value, format)
    data = dumper.dump(value)
    assert data is not None
    return dumper.oid or OID["text"], bytes(data)


def load(oid: int, format: pq.Format, data: bytes) -> object:
    transformer = adapt.Transformer()
    return transformer.get_loader(oid, format).load(data)


def integers(bits: int) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
DAYS = st.dates()
MOMENTS = st.datetimes()
UTC_MOMENTS = st.datetimes(timezones=st.just(datetime.UTC), min_value=datetime.datetime(2, 1, 1), max_value=datetime.datetime(9998, 1, 1))
ZONES = st.timedeltas(datetime.timedelta(hours=-15), datetime.timedelta(hours=15)).map(
    lambda offset: datetime.timezone(datetime.timedelta(seconds=round(offset.total_seconds())))
)
INTERVALS = st.timedeltas(datetime.timedelta(days=-1_000_000), datetime.timedelta(days=1_000_000))
NUMERICS = st.decimals(allow_nan=False, places=None, min_value=Decimal("-1e60"), max_value=Decimal("1e60"))
NETWORKS = st.one_of(
    st.ip_addresses(v=4).map(lambda one: ipaddress.ip_network((one, 0), strict=False)), st.ip_addresses(v=6).map(ipaddress.ip_network)
)


def ranges(of: st.SearchStrategy[Any]) -> st.SearchStrategy[Range[Any]]:
    """With a bound at least, since psycopg tells the type of a range by its bounds."""
    bounds = st.tuples(of, of).filter(lambda pair: pair[0] != pair[1]).map(sorted)
    return st.one_of(bounds.map(lambda pair: Range(*pair)), of.map(Range), of.map(lambda upper: Range(None, upper, "(]")))


OBJECTS: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "int2": integers(16).map(Int2),
    "int4": integers(32).map(Int4),
    "int8": integers(64).map(Int8),
    "oid": st.integers(0, 2**32 - 1).map(Oid),
    "float4": st.floats(width=32, allow_nan=False).map(Float4),
    "float8": st.floats(allow_nan=False).map(Float8),
    "numeric": NUMERICS,
    "text": TEXTS,
    "bytea": st.binary(max_size=30),
    "uuid": st.uuids(),
    "date": DAYS,
    "time": st.times(),
    "timetz": st.times(timezones=ZONES),
    "timestamp": MOMENTS,
    "timestamptz": UTC_MOMENTS,
    "interval": INTERVALS,
    "jsonb": st.recursive(
        st.none() | st.booleans() | st.integers() | TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=8
    ).map(Jsonb),
    "inet": st.ip_addresses().map(lambda one: ipaddress.ip_interface(one)),
    "cidr": NETWORKS,
    "int4[]": st.lists(st.none() | integers(32).map(Int4), max_size=6).map(lambda one: [*one, Int4(0)]),
    "text[]": st.lists(st.none() | TEXTS, max_size=6).map(lambda one: [*one, ""]),
    "text[][]": st.lists(st.lists(TEXTS, min_size=2, max_size=2), min_size=1, max_size=4),
    "date[]": st.lists(DAYS, min_size=1, max_size=4),
    "float8[]": st.lists(st.floats(allow_nan=False).map(Float8), min_size=1, max_size=6),
    "int8range": ranges(integers(64).map(Int8)),
    "numrange": ranges(NUMERICS),
    "tsrange": ranges(MOMENTS),
    "daterange": ranges(DAYS),
    "int4multirange": st.lists(ranges(integers(32).map(Int4)), min_size=1, max_size=4).map(Multirange),
}


def same(loaded: Any, sent: Any) -> bool:
    if isinstance(sent, Jsonb):
        return bool(loaded == sent.obj)
    if isinstance(sent, Float4):  # seven digits tell float4s apart, and Python reads them as a float8
        return struct.pack("f", loaded) == struct.pack("f", sent)
    if isinstance(sent, (ipaddress.IPv4Interface, ipaddress.IPv6Interface)):
        return ipaddress.ip_interface(loaded) == sent
    return bool(loaded == sent)


@pytest.mark.parametrize("name", OBJECTS)
def test_what_psycopg_sends(name: str) -> None:
    @settings(max_examples=150)
    @given(value=OBJECTS[name])
    def sent(value: object) -> None:
        oid, data = dump(value, adapt.PyFormat.BINARY)
        shown = values.text(oid, BINARY, data)
        assert shown is not None
        again = load(oid, pq.Format.TEXT, shown.encode())
        assert same(again, value)
        assert same(load(oid, pq.Format.BINARY, data), value)

    sent()


def python_forms(oid: int, text: bytes, binary: bytes) -> tuple[Any, Any] | None:
    """What psycopg's loaders make of both; None where Python has no such value, a year 10000 for example."""
    try:
        return load(oid, pq.Format.TEXT, text), load(oid, pq.Format.BINARY, binary)
    except psycopg.DataError:
        return None


LOADED = (
    *(
        "bool",
        "bytea",
        "name",
        "int8",
        "int2",
        "int4",
        "text",
        "oid",
        "json",
        "cidr",
        "float4",
        "float8",
        "inet",
        "bpchar",
        "varchar",
        "date",
        "time",
    ),
    *("timestamp", "timestamptz", "interval", "timetz", "numeric", "uuid", "jsonb", *RANGES),
)


@pytest.fixture(scope="module")
def connection(server: EmbeddedServer) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(SETTINGS)
        yield connection


@pytest.mark.parametrize("name", LOADED)
def test_what_psycopg_reads(connection: psycopg.Connection, name: str) -> None:
    """psycopg's binary loader on the server's bytes, and its text loader on what we made of them."""
    rnd = random.Random(name)
    make: Callable[[random.Random], str] = (SCALARS | RANGES)[name]
    made = accepted(connection, name, [make(rnd) for _ in range(200)])
    compared = 0
    for oid, _, binary in both_formats(connection, f"SELECT x::{name} FROM unnest($1::text[]) x", [array_literal(made)]):
        shown = values.text(oid, BINARY, binary)
        assert shown is not None
        assert binary is not None
        forms = python_forms(oid, shown.encode(), binary)
        if forms is not None:
            ours, theirs = forms
            assert repr(ours) == repr(theirs) or (name == "float4" and same(ours, Float4(theirs))), (shown, binary)
            compared += 1
    assert compared > 20
