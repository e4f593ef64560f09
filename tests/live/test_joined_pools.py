"""A pool that was connected long before tcpdump came: from its first idle moment on, packets count what the recorder counts.

The pool works through a recorder, which sees everything. tcpdump begins later, on the driver's leg;
the first ReadyForQuery it sees is that moment. What the packets count is compared with what the
recorder's count grew by from there on.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import asyncpg
import psycopg_pool
import pytest

from pgtrace.capture.importing import Import
from pgtrace.recorder import Recorder
from pgtrace.trace.trace import Trace
from tests.live.packet_recording import tcpdump

OLD, NEW = "select 1 as old where $1 = $1", "select 2 as new where $1 = $1"
UNCOUNTED = {"statements_live", "max_pipeline_depth", "setup_round_trips"}
"""What is no sum over time: live at the end, the deepest."""
Counts = dict[str, int]


def counts(trace: Trace) -> Counts:
    """Every counter that is a sum, messages by their names; times aside."""
    found: Counts = {}
    for name, value in trace.totals().as_dict().items():
        if isinstance(value, dict):
            found |= {message: count for message, count in value.items() if count}
        elif not name.endswith("_ns") and name not in UNCOUNTED:
            found[name] = value
    return found


def of_packets(pcap: Path, out: Path, port: int) -> tuple[Counts, Trace]:
    with Import(str(pcap), str(out), named={port}) as one:
        while one.step():
            continue
        assert one.connections == 1
    trace = Trace.open([out])
    while trace.update():
        continue
    return counts(trace), trace


def compare(pcap: Path, tmp_path: Path, proxy: Recorder, idle: Counts, joined: Counts, ended: Counts) -> None:
    """`joined`, `idle` and `ended` are the recorder's counts when tcpdump began, when it had seen an idle moment, and at the end."""
    seen, trace = of_packets(pcap, tmp_path / "imported", proxy.port)
    grown = {name: count - idle.get(name, 0) for name, count in ended.items()}
    # What passed before the idle moment is counted as bytes.
    grown |= {name: ended[name] - joined[name] for name in ("frontend_bytes", "backend_bytes")}
    # Of OLD, prepared long before, the first Bind that packets show is no reuse to them.
    grown["statements_reused"] -= 1
    assert seen == {name: count for name, count in grown.items() if count or name in seen}
    assert seen["round_trips"] > 10
    assert trace.gaps == 0
    trace.close()


async def test_asyncpg(server, proxy: Recorder, trace_of: Callable[[Recorder], Trace], tmp_path: Path) -> None:
    pcap = tmp_path / "joined.pcap"
    async with asyncpg.create_pool(server.url(proxy.host, proxy.port), min_size=1, max_size=1) as pool:
        for number in range(5):
            await pool.fetchval(OLD.replace("$1", "$1::int"), number)
        joined = counts(trace_of(proxy))
        with tcpdump(pcap, proxy.port):
            async with pool.acquire() as connection:
                await connection.execute("select 0")
                idle = counts(trace_of(proxy))
            for number in range(5):
                await pool.fetchval(OLD.replace("$1", "$1::int"), number)
                await pool.fetchval(NEW.replace("$1", "$1::int"), number)
            async with pool.acquire() as connection, connection.transaction():
                await connection.executemany("select $1::int + 1", [(1,), (2,)])
            with pytest.raises(asyncpg.PostgresError):
                await pool.fetchval("select nothing")
            ended = counts(trace_of(proxy))
    compare(pcap, tmp_path, proxy, idle, joined, ended)


def test_psycopg_pool(server, proxy: Recorder, trace_of: Callable[[Recorder], Trace], tmp_path: Path) -> None:
    pcap = tmp_path / "joined.pcap"
    with psycopg_pool.ConnectionPool(server.url(proxy.host, proxy.port), min_size=1, max_size=1, kwargs={"autocommit": True}) as pool:
        pool.wait()
        with pool.connection() as connection:
            for number in range(7):
                connection.execute(OLD.replace("$1", "%s::int"), (number, number))
        joined = counts(trace_of(proxy))
        with tcpdump(pcap, proxy.port):
            with pool.connection() as connection:
                connection.execute("select 0")
                idle = counts(trace_of(proxy))
            for number in range(7):
                with pool.connection() as connection:
                    connection.execute(OLD.replace("$1", "%s::int"), (number, number))
                    connection.execute(NEW.replace("$1", "%s::int"), (number, number))
            with pool.connection() as connection, connection.transaction(), connection.pipeline():
                for number in range(3):
                    connection.execute("select %s::int", (number,))
            ended = counts(trace_of(proxy))
    compare(pcap, tmp_path, proxy, idle, joined, ended)
