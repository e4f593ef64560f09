"""Faults between real drivers and a real PostgreSQL: what arrived before one is delivered, nothing
is invented; and failures that one rule reproduces.

    driver -> recorder with a fault -> recorder without -> PostgreSQL

The recorder behind the fault tells what got through to the server, the one with it what the driver
was given, a run past both what there was to give.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from functools import cache, partial
from typing import NamedTuple

import asyncpg
import psycopg
import pytest
from psycopg_pool import ConnectionPool

from pgtrace.address import parse_listen, parse_upstream
from pgtrace.capture.record import Fact
from pgtrace.certificates import DriverTls
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.faults import parse
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.recorder import Recorder
from tests.proxy.drivers import Tls
from tests.proxy.recorded import of_kind, stream, wait_for_end
from tests.proxy.wire import SSL_REQUEST, read_exactly


def message(code: bytes, body: bytes) -> bytes:
    return code + struct.pack(">I", len(body) + 4) + body


def query(sql: str) -> bytes:
    return message(b"Q", sql.encode() + b"\0")


def extended(sql: str, parameter: bytes) -> bytes:
    """Parse, Bind, Describe, Execute and Sync with one text parameter."""
    bind = b"\0\0\0\0\0\1" + struct.pack(">I", len(parameter)) + parameter + b"\0\0"
    return (
        message(b"P", b"\0" + sql.encode() + b"\0\0\0")
        + message(b"B", bind)
        + message(b"D", b"P\0")
        + message(b"E", b"\0\0\0\0\0")
        + message(b"S", b"")
    )


STARTUP_BODY = b"\0\3\0\0user\0trust_role\0database\0postgres\0\0"
STARTUP = struct.pack(">I", len(STARTUP_BODY) + 4) + STARTUP_BODY
TERMINATE = message(b"X", b"")
LINE = b"x" * 99 + b"\n"
WORK = {
    "simple query": query("select repeat('a', 100), n from generate_series(1, 300) n") + query("select 1; select repeat('b', 30000)"),
    "extended query": extended("select $1::text, n from generate_series(1, 3) n", b"p" * 12_000) * 2 + extended("select length($1)", b"1"),
    "copy in": query("create temp table t (line text)")
    + query("copy t from stdin")
    + message(b"d", LINE * 50) * 10
    + message(b"c", b"")
    + query("select count(*), sum(length(line)) from t"),
    "copy out": query("copy (select repeat('c', 100), n from generate_series(1, 400) n) to stdout") + query("select 2"),
}


class Fault(NamedTuple):
    rule: str
    passes_all: bool


FAULTS = {
    "latency": Fault("delay 6ms", True),
    "jitter": Fault("delay 6ms~3ms", True),
    "bandwidth": Fault("limit 1MB/s", True),
    "slow_close": Fault("delay 50ms at end", True),
    "timeout": Fault("hang 60ms after 20kB", False),
    "reset_peer": Fault("reset after 60ms", False),
    "slicer": Fault("split 61B", True),
    "limit_data": Fault("close after 20kB", False),
    "down": Fault("reset at connect", False),
    "at a message": Fault("close before ReadyForQuery#3", False),
    "inside a message": Fault("reset inside CommandComplete", False),
    "all of it": Fault("delay 1ms before ReadyForQuery", True),
}


class Said(NamedTuple):
    """What the server sent up to its first ReadyForQuery, and behind it."""

    greeting: bytes
    rest: bytes


def converse(address: tuple[str, int], work: bytes, context: ssl.SSLContext | None = None) -> Said:
    """Log in, send the work, and read up to the end, whichever it is. TLS has no socket of its own:
    one that cannot send any more would not read what had arrived before."""
    data = bytearray()
    with contextlib.suppress(ConnectionError), socket.create_connection(address, 20) as sock:
        send, receive = sock.sendall, partial(sock.recv, 1 << 16)
        if context is not None:
            sock.sendall(SSL_REQUEST)
            assert read_exactly(sock, 1) == b"S"
            tls = Tls(sock, context)
            tls.handshake()
            send, receive = tls.send, tls.some
        send(STARTUP)
        while b"Z\0\0\0\5I" not in data and (piece := receive()):
            data += piece
        with contextlib.suppress(ConnectionError):
            send(work)
        while piece := receive():
            data += piece
    end = data.find(b"Z\0\0\0\5I") + 6
    return Said(bytes(data), b"") if end < 6 else Said(bytes(data[:end]), bytes(data[end:]))


@pytest.fixture(scope="module")
def behind(tls_server: EmbeddedServer) -> Iterator[Recorder]:
    """The recorder behind the faults."""
    with Recorder(
        parse_listen("127.0.0.1:0"), parse_upstream(f"postgresql://127.0.0.1:{tls_server.port}/?sslmode=disable", {})
    ) as recorder:
        yield recorder


@pytest.fixture(scope="module")
def direct(tls_server: EmbeddedServer) -> dict[str, Said]:
    """What there is to give."""
    return {name: converse(("127.0.0.1", tls_server.port), work + TERMINATE) for name, work in WORK.items()}


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("name", FAULTS)
def test_what_arrived_before_a_fault_is_delivered_and_nothing_is_invented(
    behind: Recorder, direct: dict[str, Said], name: str, tls: bool
) -> None:
    fault = FAULTS[name]
    upstream = parse_upstream(f"postgresql://127.0.0.1:{behind.port}/?sslmode=disable", {})
    with Recorder(
        parse_listen("127.0.0.1:0"), upstream, faults=[parse(fault.rule)], tls=DriverTls("end") if tls else DriverTls()
    ) as before:
        context = ssl.create_default_context(cafile=str(before.authority)) if tls else None
        for number, (kind, work) in enumerate(WORK.items(), 1):
            work += TERMINATE if fault.passes_all else b""  # who is to end is the fault
            through = behind.stats()["accepted"]
            said = converse((before.host, before.port), work, context)
            outer = wait_for_end(before)
            inner = wait_for_end(behind)
            given = stream(outer, BACKEND, number)[1 if tls else 0 :]
            assert len(given) == len(said.greeting + said.rest), kind
            assert (
                given[len(said.greeting) :] == said.rest
            )  # what is recorded is what was given (the greeting has a key that is not stored)
            assert direct[kind].rest.startswith(said.rest)  # and of that nothing is invented
            sent = stream(inner, FRONTEND, through + 1)
            assert (STARTUP + work).startswith(sent)
            from_server = stream(inner, BACKEND, through + 1)
            assert from_server[len(said.greeting) :].startswith(said.rest)
            struck = [fact.value for fact in of_kind(outer, Fact) if (fact.connection, fact.key) == (number, "fault")]  # type: ignore[union-attr]
            assert struck
            assert set(struck) == {fault.rule}
            if fault.passes_all:
                assert said.rest == direct[kind].rest
                assert sent == STARTUP + work
            if name in ("timeout", "limit_data"):
                assert len(sent) + len(said.greeting + said.rest) == 20_000
            if name == "at a message":
                assert said.rest == before_ready(direct[kind].rest, 2)
            if name == "down":
                assert (said, sent) == (Said(b"", b""), b"")


@cache
def before_ready(data: bytes, number: int) -> bytes:
    """What stands before a ReadyForQuery."""
    position = 0
    while number:
        if data[position : position + 1] == b"Z":
            number -= 1
            if not number:
                break
        position += 1 + int.from_bytes(data[position + 1 : position + 5], "big")
    return data[:position]


# docs/faults.md: failures that one rule reproduces.


@contextlib.contextmanager
def faulty(server: EmbeddedServer, *rules: str) -> Iterator[Recorder]:
    upstream = parse_upstream(f"{server.host}:{server.port}", {})
    with Recorder(parse_listen("127.0.0.1:0"), upstream, faults=[parse(rule) for rule in rules]) as recorder:
        yield recorder


@pytest.fixture
def orders(server: EmbeddedServer) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.url(), autocommit=True) as past:
        past.execute("create table orders (number text)")
        yield past
        past.execute("drop table orders")


def test_the_pool_of_psycopg_when_the_server_goes_away_before_it_answers(server: EmbeddedServer, orders: psycopg.Connection) -> None:
    """The row is there although the program has an error: whoever tries again has it twice."""
    with (
        faulty(server, "close before reply to Bind ~ /A-42/ once") as recorder,
        ConnectionPool(server.url(recorder.host, recorder.port), min_size=1, max_size=1, kwargs={"autocommit": True}) as pool,
    ):
        insert = "insert into orders values (%s)"
        with pytest.raises(psycopg.OperationalError, match="server closed the connection unexpectedly"), pool.connection() as connection:
            connection.execute(insert, ("A-42",))
        with pool.connection() as connection:
            connection.execute(insert, ("A-42",))
        assert pool.get_stats()["returns_bad"] == 1
        assert orders.execute("select count(*) from orders").fetchone() == (2,)


def test_asyncpg_when_the_server_goes_away_before_it_answers(server: EmbeddedServer, orders: psycopg.Connection) -> None:
    async def work(recorder: Recorder) -> None:
        async with asyncpg.create_pool(server.url(recorder.host, recorder.port), min_size=1, max_size=1) as pool:
            with pytest.raises(asyncpg.ConnectionDoesNotExistError, match="connection was closed in the middle of operation"):
                await pool.execute("insert into orders values ($1)", "A-42")
            assert await pool.fetchval("select count(*) from orders") == 1

    with faulty(server, "close before reply to Bind ~ /A-42/ once") as recorder:
        asyncio.run(work(recorder))


def test_the_time_out_of_asyncpg_when_a_parse_is_slow(server: EmbeddedServer, orders: psycopg.Connection, trace_of) -> None:
    """It cancels, and the connection is good again, but not before the late reply has come."""

    async def work(recorder: Recorder) -> float:
        connection = await asyncpg.connect(server.url(recorder.host, recorder.port))
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            await connection.fetch("select * from orders", timeout=0.1)
        assert await connection.fetchval("select 1") == 1
        took = time.monotonic() - began
        await connection.close()
        return took

    with faulty(server, "delay 400ms before reply to Parse ~ /from orders/") as recorder:
        assert asyncio.run(work(recorder)) >= 0.35
        assert sorted(connection.kind for connection in trace_of(recorder).connections) == ["cancel", "session"]


@pytest.mark.parametrize("rule", ["reset inside DataRow#3 once", "close inside DataRow#3 once"])
def test_half_a_row_is_no_row(server: EmbeddedServer, rule: str) -> None:
    select = "select n from generate_series(1, 10) n"

    async def by_asyncpg(recorder: Recorder) -> None:
        connection = await asyncpg.connect(server.url(recorder.host, recorder.port))
        with pytest.raises((asyncpg.ConnectionDoesNotExistError, ConnectionError)):
            await connection.fetch(select)

    with (
        faulty(server, rule) as recorder,
        psycopg.connect(server.url(recorder.host, recorder.port), autocommit=True) as connection,
        pytest.raises(psycopg.OperationalError),
    ):
        connection.execute(select)
    with faulty(server, rule) as recorder:
        asyncio.run(by_asyncpg(recorder))
