"""Both sides of a real PgBouncer: each statement carries a tag, so that the test knows which round
trip behind the pooler is which in front of it.

The system's PgBouncer (1.18 on Debian 12); another build too, where PGTRACE_PGBOUNCER names it (`make poolers`).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from pgtrace import Recorder
from pgtrace.address import Leg, parse_listen, parse_upstream
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.demo.pooler import Pooler, find_pgbouncer
from pgtrace.demo.ports import free_port
from pgtrace.inspect.walk import passed
from pgtrace.legs.joins import Joins, State, find
from pgtrace.trace.trace import Trace

TURNS, CLIENTS, SERVERS = 12, 4, 2
TAG = re.compile(rb"tag\d-\d+")
PROGRAMS = [program for program in (find_pgbouncer(), os.environ.get("PGTRACE_PGBOUNCER")) if program]


class Tags:
    """The tags of one client."""

    def __init__(self, client: int) -> None:
        self._numbers = (f"tag{client}-{number}" for number in itertools.count())

    def __call__(self) -> str:
        return next(self._numbers)


async def with_asyncpg(url: str, client: int) -> None:
    tag = Tags(client)
    connection = await asyncpg.connect(url, statement_cache_size=0)
    for turn in range(TURNS):
        await connection.fetchval("select $1::text", tag())
        async with connection.transaction():
            await connection.execute("insert into tagged values ($1)", tag())
            await connection.fetch("select 7, $1::text from generate_series(1, 3)", tag())
        with contextlib.suppress(asyncpg.DivisionByZeroError):
            async with connection.transaction():
                await connection.fetch("select $1::text", tag())
                await connection.execute(f"select 1/0 /* {tag()} */")
        await connection.executemany("insert into tagged values ($1)", [(tag(),) for _ in range(3)])
        if turn % 6 == 0:
            with contextlib.suppress(TimeoutError, asyncpg.QueryCanceledError):
                await connection.fetch("select pg_sleep(5), $1::text", tag(), timeout=0.05)
        if turn % 5 == 0:
            await connection.copy_records_to_table("tagged", records=[(tag(),) for _ in range(5)])
    if client:
        await connection.close()
        return
    running = asyncio.ensure_future(connection.fetch("select pg_sleep(0.2), $1::text", tag()))
    await asyncio.sleep(0.05)
    connection.terminate()
    await asyncio.wait([running])
    running.exception()


def in_asyncpg(url: str) -> None:
    async def main() -> None:
        await asyncio.gather(*(with_asyncpg(url, client) for client in range(CLIENTS)))

    asyncio.run(main())


def with_psycopg(url: str, client: int, threshold: int | None) -> None:
    tag = Tags(client)
    with psycopg.connect(url, autocommit=True, prepare_threshold=threshold) as connection:
        for turn in range(TURNS):
            connection.execute("select %s::text", [tag()]).fetchall()
            with connection.transaction():
                connection.execute("insert into tagged values (%s)", [tag()])
                connection.execute("select 7, %s::text", [tag()]).fetchall()
            with contextlib.suppress(psycopg.errors.DivisionByZero):
                connection.execute("select 1 / (length(%(it)s::text) - length(%(it)s::text))", {"it": tag()})
            with connection.pipeline() as pipeline:
                for _ in range(3):
                    connection.execute("insert into tagged values (%s)", [tag()])
                pipeline.sync()
                connection.execute("select %s::text", [tag()])
            if turn % 5 == 0:
                with connection.cursor().copy("copy tagged from stdin") as copy:
                    copy.write_row([tag()])
            if turn % 6 == 0:
                timer = threading.Timer(0.05, connection.cancel)
                timer.start()
                with contextlib.suppress(psycopg.errors.QueryCanceled):
                    connection.execute("select pg_sleep(5), %s::text", [tag()])
                timer.join()


def in_psycopg(url: str, threshold: int | None = None) -> None:
    threads = [threading.Thread(target=with_psycopg, args=(url, client, threshold)) for client in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def with_sqlalchemy(url: str, client: int) -> None:
    tag = Tags(client)
    settings = {"statement_cache_size": 0, "prepared_statement_name_func": lambda: ""}
    engine = create_async_engine(
        url.replace("postgresql://", "postgresql+asyncpg://").partition("?")[0], connect_args=settings, pool_size=1
    )
    for _ in range(TURNS):
        async with engine.begin() as connection:
            await connection.execute(sa.text("insert into tagged values (:it)"), {"it": tag()})
            (await connection.execute(sa.text("select 7, cast(:it as text)"), {"it": tag()})).all()
        async with engine.connect() as connection:
            (await connection.execute(sa.text("select cast(:it as text)"), {"it": tag()})).all()
    await engine.dispose()


def in_sqlalchemy(url: str) -> None:
    async def main() -> None:
        await asyncio.gather(*(with_sqlalchemy(url, client) for client in range(CLIENTS)))

    asyncio.run(main())


@pytest.mark.skipif(not PROGRAMS, reason="PgBouncer is not installed")
def test_two_recorders(tagged: EmbeddedServer, tmp_path: Path) -> None:
    """Replies have the stamps of two processes; the captures are two files."""
    port = free_port()
    front, back = tmp_path / "front.pgtrace", tmp_path / "back.pgtrace"
    with (
        Recorder("127.0.0.1:0", f"127.0.0.1:{port}", write=front, when_behind="wait") as before,
        Recorder("127.0.0.1:0", f"{tagged.host}:{tagged.port}", write=back, when_behind="wait") as behind,
        Pooler(tagged, port, behind.port, pool_size=SERVERS, program=PROGRAMS[0]),
    ):
        in_psycopg(before.url(user=tagged.user, password=tagged.password, database=tagged.database))
    trace = Trace.open([back, front])
    trace.update()
    with contextlib.closing(trace):
        joins = find(trace)
        assert joins is not None
        check(trace, joins)


@contextlib.contextmanager
def recorded(server: EmbeddedServer, program: str, path: Path, work: Callable[[str], None], **how: object) -> Iterator[tuple[Trace, Joins]]:
    """What that work did on both sides of a pooler, and how it was joined."""
    port = free_port()
    behind = Leg(parse_listen("127.0.0.1:0"), parse_upstream(f"{server.host}:{server.port}", {}))
    with Recorder("127.0.0.1:0", f"127.0.0.1:{port}", write=path, more_legs=[behind], when_behind="wait") as recorder:
        back = int(recorder.addresses_of_legs[1][0].rpartition(":")[2])
        with Pooler(server, port, back, pool_size=SERVERS, program=program, **how):  # type: ignore[arg-type]
            work(recorder.url(user=server.user, password=server.password, database=server.database))
    trace = Trace.open([path])
    trace.read_until(1 << 62)
    with contextlib.closing(trace):
        joins = find(trace)
        assert joins is not None
        yield trace, joins


def tags(trace: Trace, place: int) -> set[bytes]:
    return {tag for side, _, body, *_ in passed(trace, place) if not side for tag in TAG.findall(body)}


class SameTags:
    """What is joined has the same tags on both sides. COPY data may be sent ahead of the answer that asks for it on one side only:
    it is compared with the rest of its COPY."""

    def __init__(self, trace: Trace, joins: Joins) -> None:
        self._trace = trace
        self._joins = joins
        self._ahead: dict[int, tuple[set[bytes], set[bytes]]] = {}

    def seen(self, place: int) -> int:
        """How many tags there are up to that joined row of the drivers' side, since they were last compared."""
        row = self._trace.rows[place]
        ours, theirs = self._ahead.pop(row.connection, (set(), set()))
        ours |= tags(self._trace, place)
        theirs |= {tag for one in self._joins.across(place) for tag in tags(self._trace, one)}
        if row.shape.flight.endswith("→ G"):
            self._ahead[row.connection] = ours, theirs
            return 0
        assert ours == theirs
        return len(ours)


def check(trace: Trace, joins: Joins) -> None:
    """At least 98 % of what reached a server is joined, and nothing wrongly."""
    seen = 0
    same = SameTags(trace, joins)
    server: dict[int, int] = {}
    for place, row in enumerate(trace.rows):
        if joins.state(place) is not State.JOINED or row.connection in joins.connections:
            continue
        seen += same.seen(place)
        # without a tag of its own (BEGIN, COMMIT): the server connection is that of its transaction
        (connection,) = {trace.rows[one].connection for one in joins.across(place)}
        if row.shape.status_before in ("T", "E"):
            assert server[row.connection] == connection
        server[row.connection] = connection
    told = joins.as_dict()
    reached = told["joined"] + told["ambiguous"] + told["unjoined"]
    assert told["joined"] >= 0.98 * reached
    assert seen >= CLIENTS * TURNS * 3
    (pooler,) = joins.poolers
    assert (pooler.fronts, pooler.backs_count) == (reached + told["swallowed"], pooler.joined_backs + pooler.possible + told["added"])
    servers = [connection for connection in trace.connections if (connection.file, connection.leg) in pooler.backs]
    assert pooler.backs_count == sum(connection.counters(trace.duration_ns).round_trips for connection in servers) > 0


@pytest.mark.parametrize("work", [in_asyncpg, in_psycopg, in_sqlalchemy])
@pytest.mark.parametrize("program", PROGRAMS, ids=["system", "other"][: len(PROGRAMS)])
def test_what_a_pooler_passes_on_is_joined(tagged: EmbeddedServer, tmp_path: Path, program: str, work: Callable[[str], None]) -> None:
    with recorded(tagged, program, tmp_path / "both.pgtrace", work) as (trace, joins):
        check(trace, joins)
        assert joins.as_dict()["switches"] > 0
        assert len(joins.poolers[0].connections) >= SERVERS


@pytest.mark.skipif("PGTRACE_PGBOUNCER" not in os.environ, reason="a PgBouncer with prepared statements: make poolers")
def test_statements_that_the_pooler_renames(tagged: EmbeddedServer, tmp_path: Path) -> None:
    with recorded(
        tagged, PROGRAMS[-1], tmp_path / "both.pgtrace", lambda url: in_psycopg(url, 2), settings=("max_prepared_statements = 200",)
    ) as (trace, joins):
        check(trace, joins)
        assert joins.as_dict()["renamed"] > 0


@pytest.mark.skipif(not PROGRAMS, reason="PgBouncer is not installed")
def test_a_session_keeps_its_server_connection(tagged: EmbeddedServer, tmp_path: Path) -> None:
    how = {"pool_mode": "session", "settings": (f"default_pool_size = {CLIENTS}",)}
    with recorded(tagged, PROGRAMS[0], tmp_path / "both.pgtrace", in_psycopg, **how) as (trace, joins):
        check(trace, joins)
        assert joins.as_dict()["switches"] == 0
        assert dict(joins.own_statements(joins.poolers[0])).get("DISCARD ALL", 0) >= 1
