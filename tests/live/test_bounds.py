"""What the recorder may cost: memory within its bounds whatever passes, and every connection of a crowd served and counted.

Memory is the process's own, as the kernel counts it (VmHWM, VmRSS): peaks count, not only what is left at the end.
"""

from __future__ import annotations

import asyncio
import sys

import asyncpg
import psycopg
import pytest

from tests.live.traffic import peak_bytes, resident_bytes, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")

MIB = 1 << 20
BEYOND_START = 64 * MIB
FOR_A_STALLED_PEER = 256 * 1024
FOR_AN_IDLE_CONNECTION = 16 * 1024

ROWS = 256 * 1024
RESULT = f"select repeat('x', 1024) from generate_series(1, {ROWS})"
"""256 MiB of row values."""
ROW_BYTES = 1 + 4 + 2 + 4 + 1024
"""A DataRow of it on the wire."""


def test_memory_with_a_large_result(server, proxy, trace_of):
    """256 MiB of rows pass as fast as they can: what waits for the disk is bounded, and every byte is recorded or counted as lost."""
    before = resident_bytes(proxy.pid)
    with psycopg.connect(server.url(proxy.host, proxy.port), autocommit=True) as connection, connection.cursor() as cursor:
        assert sum(len(value) for (value,) in cursor.stream(RESULT)) == ROWS * 1024
    grown = peak_bytes(proxy.pid) - before
    print(f"recorder with a result of 256 MiB: {grown / MIB:.1f} MiB beyond its {before / MIB:.1f} MiB at start")
    assert grown <= BEYOND_START
    trace = trace_of(proxy)
    lost = proxy.stats()["lost_bytes"]
    assert trace.dropped_bytes == lost
    assert 0 <= trace.totals().backend_bytes + lost - ROWS * ROW_BYTES < 10_000


def test_memory_with_stalled_clients(server, proxy):
    """Forty clients ask for 256 MiB each and read nothing: each costs at most 256 KiB, and the server waits as it would without pgtrace."""
    stalled_clients = 40
    before = resident_bytes(proxy.pid)
    connections = [psycopg.connect(server.url(proxy.host, proxy.port), autocommit=True) for _ in range(stalled_clients)]
    try:
        for connection in connections:
            connection.pgconn.nonblocking = 1
            connection.pgconn.send_query(f"copy ({RESULT}) to stdout".encode())
            until(connection.pgconn.flush, lambda left: left == 0)
        with psycopg.connect(server.url(), autocommit=True) as observer:
            waiting = "select count(*) from pg_stat_activity where wait_event = 'ClientWrite'"
            until(lambda: observer.execute(waiting).fetchone(), lambda row: row == (stalled_clients,))
        grown = peak_bytes(proxy.pid) - before
        print(f"recorder with {stalled_clients} stalled clients: {grown / MIB:.1f} MiB beyond its {before / MIB:.1f} MiB")
        assert grown <= BEYOND_START + stalled_clients * FOR_A_STALLED_PEER
        with psycopg.connect(server.url(proxy.host, proxy.port)) as another:
            assert another.execute("select 1").fetchone() == (1,)
    finally:
        for connection in connections:
            connection.pgconn.finish()


def test_an_idle_connection_is_small(server, proxy):
    """What logging in took is given back, or used again by the next one."""
    crowd = 200
    psycopg.connect(server.url(proxy.host, proxy.port)).close()
    proxy.flush()
    before = resident_bytes(proxy.pid)
    connections = [psycopg.connect(server.url(proxy.host, proxy.port), autocommit=True) for _ in range(crowd)]
    try:
        proxy.flush()
        grown = (resident_bytes(proxy.pid) - before) / crowd
    finally:
        for connection in connections:
            connection.close()
    print(f"recorder with {crowd} idle connections: {grown / 1024:.1f} KiB each")
    assert grown <= FOR_AN_IDLE_CONNECTION


async def test_two_hundred_connections_at_once(server, proxy, trace_of):
    """All are connected before the first query is sent; each query of each is counted, none for another connection."""
    crowd, queries = 200, 5
    all_here = asyncio.Barrier(crowd)
    before = resident_bytes(proxy.pid)

    async def client(number: int) -> None:
        connection = await asyncpg.connect(server.url(proxy.host, proxy.port), timeout=60)
        try:
            await all_here.wait()
            for turn in range(queries):
                assert await connection.fetchval("select $1::int + $2::int", number, turn) == number + turn
        finally:
            await connection.close()

    await asyncio.gather(*(client(number) for number in range(crowd)))
    grown = peak_bytes(proxy.pid) - before
    print(f"recorder with {crowd} connections at once: {grown / MIB:.1f} MiB beyond its {before / MIB:.1f} MiB at start")
    assert grown <= BEYOND_START
    trace = trace_of(proxy)
    counted = trace.totals()
    assert (len(trace.connections), trace.gaps, proxy.stats()["failures"]) == (crowd, 0, 0)
    assert (counted.executions, counted.rows, counted.binds) == (crowd * queries, crowd * queries, crowd * queries)
    assert (counted.parses_named, counted.round_trips) == (crowd, crowd * (queries + 1))
    for connection in trace.connections:
        own = connection.counters(trace.duration_ns)
        assert (own.round_trips, own.binds, own.frontend_messages["Terminate"]) == (queries + 1, queries, 1)
