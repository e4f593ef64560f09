"""Pairs of captures of real drivers that differ in one thing: the sentences name that thing, and nothing else is told before it.

Each play is recorded once, with a network delay: drivers that send on without waiting would otherwise find answers there already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest

from pgtrace.address import parse_listen, parse_upstream
from pgtrace.compare.behaviour import Behaviour
from pgtrace.compare.diff import Comparison, compare
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.recorder import Recorder
from pgtrace.report import diff as report
from pgtrace.trace.trace import Trace

Play = Callable[[str], object]
SELECT = "select id, name from product where id = $1"
INSERT = "insert into product values ($1, $2)"
SCHEMA = """
drop table if exists product;
create table product (id int primary key, name text);
insert into product select n, 'item ' || n from generate_series(1, 20) n;
"""


def with_asyncpg(work: Callable[[Any], Awaitable[object]], **settings: Any) -> Play:
    async def main(url: str) -> None:
        connection = await asyncpg.connect(url, **settings)
        try:
            await work(connection)
        finally:
            await connection.close()

    return lambda url: asyncio.run(main(url))


def with_psycopg(work: Callable[[psycopg.Connection[Any]], object], *, autocommit: bool = True, **settings: Any) -> Play:
    def main(url: str) -> None:
        with psycopg.connect(url, autocommit=autocommit, **settings) as connection:
            work(connection)

    return main


async def ten(connection: Any) -> None:
    for number in range(1, 11):
        await connection.fetch(SELECT, number)


async def one_more(connection: Any) -> None:
    await ten(connection)
    await connection.fetchval("select count(*) from product")


async def in_transaction(connection: Any) -> None:
    async with connection.transaction():
        await ten(connection)


async def executemany(connection: Any) -> None:
    await connection.executemany(INSERT, [(100 + number, "new") for number in range(20)])


async def loop(connection: Any) -> None:
    for number in range(20):
        await connection.execute(INSERT, 100 + number, "new")


def reading(*, binary: bool = False, parameter: str = "%s") -> Callable[[psycopg.Connection[Any]], None]:
    def work(connection: psycopg.Connection[Any]) -> None:
        for number in range(1, 11):
            connection.execute(SELECT.replace("$1", parameter), (number,), binary=binary).fetchone()

    return work


def alone(connection: psycopg.Connection[Any]) -> None:
    for number in (1, 2, 3):
        connection.execute("select %s::int", (number,))
        connection.execute("select name from product where id = %s", (number,))


def piped(connection: psycopg.Connection[Any]) -> None:
    with connection.pipeline():
        alone(connection)


def inserting(number: int) -> Callable[[psycopg.Connection[Any]], None]:
    def work(connection: psycopg.Connection[Any]) -> None:
        try:
            connection.execute("insert into product values (%s, 'twice')", (number,))
        except psycopg.errors.UniqueViolation:
            pass

    return work


def by_client(connection: psycopg.Connection[Any]) -> None:
    cursor = psycopg.ClientCursor(connection)
    for number in range(1, 11):
        cursor.execute(SELECT.replace("$1", "%s"), (number,))


PLAYS: dict[str, Play] = {
    "ten": with_asyncpg(ten),
    "ten again": with_asyncpg(ten),
    "no cache": with_asyncpg(ten, statement_cache_size=0),
    "one more": with_asyncpg(one_more),
    "transaction": with_asyncpg(in_transaction),
    "executemany": with_asyncpg(executemany),
    "loop": with_asyncpg(loop),
    "text": with_psycopg(reading()),
    "binary": with_psycopg(reading(binary=True)),
    "text parameters": with_psycopg(reading(parameter="%t")),
    "never prepared": with_psycopg(reading(), prepare_threshold=None),
    "not in autocommit": with_psycopg(reading(), autocommit=False),
    "by client": with_psycopg(by_client),
    "without SSL": with_psycopg(reading(), sslmode="disable"),
    "alone": with_psycopg(alone),
    "piped": with_psycopg(piped),
    "inserted": with_psycopg(inserting(500)),
    "refused": with_psycopg(inserting(1)),
}


def played(server: EmbeddedServer, play: Play, path: Path) -> Path:
    """The capture of a play."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(SCHEMA)
    upstream = parse_upstream(f"{server.host}:{server.port}", {})
    with Recorder(parse_listen("127.0.0.1:0"), upstream, write=path, rtt_ns=10_000_000) as recorder:
        play(server.url(recorder.host, recorder.port))
        trace = Trace.open([path])
        assert recorder.quiet(trace, timeout_s=10)
        trace.close()
    return path


@pytest.fixture(scope="module")
def recorded(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The capture of a play, recorded when it is first asked for."""
    directory = tmp_path_factory.mktemp("plays")
    paths: dict[str, Path] = {}

    def record(name: str) -> Path:
        if name in paths:
            return paths[name]
        paths[name] = played(server, PLAYS[name], directory / f"{name}.pgtrace")
        return paths[name]

    return record


def compared(before: Path, after: Path) -> Comparison:
    sides = []
    for path in (before, after):
        behaviour = Behaviour.open([path])
        behaviour.read_until(1 << 62)
        sides.append(behaviour)
    found = compare(*sides)
    for behaviour in sides:
        behaviour.close()
    return found


PAIRS = {
    ("ten", "one more"): ["+2 round trips: select count(*) from product is new"],
    ("ten", "no cache"): [f"+9 round trips: the Parse of {SELECT} is no longer reused (parsed 20 times, was once)"],
    ("no cache", "ten"): [f"-9 round trips: the Parse of {SELECT} is reused (parsed once, was 20 times)"],
    ("ten", "transaction"): [f"+2 round trips: BEGIN and COMMIT are now around {SELECT}"],
    ("transaction", "ten"): [f"-2 round trips: BEGIN and COMMIT are no longer around {SELECT}"],
    ("text", "not in autocommit"): [f"+2 round trips: BEGIN and COMMIT are now around {SELECT}"],
    ("executemany", "loop"): [f"+19 round trips: a pipeline of 20 became 20 round trips: {INSERT}"],
    ("loop", "executemany"): [f"-19 round trips: 20 round trips became a pipeline of 20: {INSERT}"],
    ("piped", "alone"): ["+5 round trips: a pipeline of 6 became 6 round trips: select $1::int, select name from product where id = $1"],
    ("text", "binary"): [f"results of {SELECT} are binary, were text"],
    ("binary", "text"): [f"results of {SELECT} are text, were binary"],
    ("text", "text parameters"): [f"parameters of {SELECT} are sent as text, were binary"],
    ("text", "never prepared"): [f"-1 round trip: the Parse of {SELECT} is no longer reused (parsed 10 times, was 6 times)"],
    ("text", "by client"): [f"-1 round trip: {SELECT} is a simple Query, was sent as Parse, Bind and Execute"],
    ("without SSL", "text"): ["+1 set-up round trip: SSLRequest is new in the set-up"],
    ("inserted", "refused"): ["error 23505 is new: insert into product values ($1, $2)"],
    ("refused", "inserted"): ["error 23505 is gone: insert into product values ($1, $2)"],
}


@pytest.mark.parametrize("pair", PAIRS, ids=" to ".join)
def test_the_words_name_the_one_thing_that_is_different(recorded: Callable[[str], Path], pair: tuple[str, str]) -> None:
    found = compared(*map(recorded, pair))
    lines = [text for _, text in report.lines(found, pair)]
    assert [line.strip() for line in lines[1 : lines.index("")]] == PAIRS[pair]


def test_the_same_work_recorded_twice_is_the_same(recorded: Callable[[str], Path]) -> None:
    found = compared(recorded("ten"), recorded("ten again"))
    assert found.same, list(report.lines(found, ("ten", "ten again")))


def test_a_pool_that_hands_connections_out_in_another_order_is_the_same(server: EmbeddedServer, tmp_path: Path) -> None:
    async def pooled(url: str, first: int) -> None:
        connections = [await asyncpg.connect(url) for _ in range(3)]
        for turn in range(3):
            await connections[(first + turn) % 3].fetchval("select 1" if turn == 0 else "select pg_backend_pid()")
            if turn == 2:
                await ten(connections[(first + turn) % 3])
        for connection in connections:
            await connection.close()

    paths = [played(server, lambda url, first=first: asyncio.run(pooled(url, first)), tmp_path / f"{first}.pgtrace") for first in (0, 2)]
    assert compared(*paths).same
