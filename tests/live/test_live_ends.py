"""Real drivers that leave, and real servers that end: by whom, how and when, as the recorder has it and as tcpdump's packets have it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest

from captures.recording.packets import tcpdump
from captures.recording.scenarios import Unavailable
from pgtrace.address import parse_listen, parse_upstream
from pgtrace.capture.importing import Import
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.recorder import Recorder
from pgtrace.report import stats
from pgtrace.trace.row import Row
from pgtrace.trace.trace import Trace
from tests.live.traffic import until, until_ended

SECOND = 1_000_000_000
CLOSE_TO = 10_000_000
"""How far a recorder and packets may be apart, ns."""


@contextmanager
def recording(server: EmbeddedServer, path: Path, **options: Any) -> Iterator[Recorder]:
    """A recorder before the server; at the end of the block every connection has to have closed."""
    upstream = parse_upstream(f"{server.host}:{server.port}", {})
    with Recorder(parse_listen("127.0.0.1:0"), upstream, write=path, **options) as recorder:
        yield recorder
        until(lambda: recorder.stats()["connections"], lambda live: live == 0)


def url(server: EmbeddedServer, recorder: Recorder) -> str:
    return (
        f"host=127.0.0.1 port={recorder.port} user={server.user} password={server.password} dbname={server.database} "
        f"sslmode=disable gssencmode=disable"
    )


_OPENED: list[Trace] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Close what read() opened."""
    yield
    while _OPENED:
        _OPENED.pop().close()


def read(path: Path) -> tuple[Trace, dict[str, Any]]:
    """The trace of a capture, and its first session as `stats --json` has it."""
    trace = Trace.open([path])
    _OPENED.append(trace)
    while trace.update():
        pass
    about = json.loads(json.dumps(stats.as_dict(trace)))
    return trace, next(one for one in about["connections"] if one["kind"] == "session")


def row_of(trace: Trace, sql: str) -> Row:
    (found,) = [row for row in trace.rows if sql in row.label.sql and row.is_round_trip]
    return found


def ended_by(about: dict[str, Any]) -> list[str]:
    return [f"{end['by']} {end['how']}" for end in about["ends"]]


KILLED = """
import sys, psycopg
connection = psycopg.connect(sys.argv[1], autocommit=True)
connection.execute("select 1")
connection.pgconn.send_query(b"select pg_sleep(4)")
print("asked", flush=True)
sys.stdin.read()
"""


def seen_by_both(server: EmbeddedServer, tmp_path: Path, work: Any) -> list[tuple[Trace, dict[str, Any]]]:
    """What a recorder and tcpdump before it saw of the work."""
    capture, pcap, imported = tmp_path / "recorded", tmp_path / "pcap", tmp_path / "imported"
    try:
        with recording(server, capture) as recorder, tcpdump(pcap, recorder.port):
            work(url(server, recorder))
            until(lambda: recorder.stats()["connections"], lambda live: live == 0)
    except Unavailable as reason:
        pytest.skip(str(reason))
    with Import(str(pcap), str(imported)) as importing:
        while importing.step():
            pass
    return [read(capture), read(imported)]


def test_a_driver_that_is_killed_while_it_waits(server: EmbeddedServer, tmp_path: Path) -> None:
    """1.0 s into pg_sleep(4): its waiting ends then, the connection at 4 s; the recorder and tcpdump say so within 10 ms of each other."""

    at_most_ns = 0

    def work(address: str) -> None:
        nonlocal at_most_ns
        began_ns = time.monotonic_ns()
        with subprocess.Popen([sys.executable, "-c", KILLED, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as driver:
            assert driver.stdout is not None
            assert driver.stdout.readline() == b"asked\n"
            with pytest.raises(subprocess.TimeoutExpired):
                driver.wait(1.0)
            driver.kill()
            at_most_ns = time.monotonic_ns() - began_ns + SECOND // 2

    seen = seen_by_both(server, tmp_path, work)
    for trace, about in seen:
        row = row_of(trace, "pg_sleep")
        assert row.duration_ns is not None
        # a busy recorder may read the query a moment after it was sent
        assert 0.8 * SECOND <= row.duration_ns <= at_most_ns
        worked_on = re.fullmatch(r"driver left while waiting for Query; the server worked on for (\d\.\d) s", row.label.end)
        assert worked_on
        assert abs(float(worked_on[1]) * SECOND - (about["closed_ns"] - row.opened_ns - row.duration_ns)) <= SECOND // 10
        first = about["ends"][0]
        assert (first["by"], first["how"]) == ("driver", "FIN")
        assert abs(first["time_ns"] - (row.opened_ns + row.duration_ns)) <= 1000
        assert "driver RST" in ended_by(about)
        assert 3.9 * SECOND <= about["closed_ns"] - row.opened_ns <= 5.5 * SECOND
        assert about["end"] == "closed by the driver (FIN) without Terminate"
        assert 0.8 * SECOND <= about["wait_ns"] <= row.duration_ns + SECOND // 10
        (statement,) = [one for one in stats.as_dict(trace)["statements"] if "pg_sleep" in one["sql"]]
        assert 0.8 * SECOND <= statement["wait_ns"]["max"] <= row.duration_ns + SECOND // 1000
        assert (statement["executions"], statement["rows"]) == (1, 1)
    (recorded, one), (packets, other) = seen
    for moment in ("ends", "closed"):
        mine, its = (about["ends"][0]["time_ns"] if moment == "ends" else about["closed_ns"] for about in (one, other))
        shift = packets.start_ns - recorded.start_ns
        assert abs(mine - (its + shift)) < CLOSE_TO, moment
    assert one["round_trips"] == other["round_trips"] == 2


def test_a_driver_that_half_closes_and_reads_on(server: EmbeddedServer, tmp_path: Path) -> None:
    """libpq asks, its direction is shut down below it, and it still reads: the answer ends the waiting."""

    def work(address: str) -> None:
        connection = psycopg.connect(address, autocommit=True)
        connection.pgconn.send_query(b"select pg_sleep(4)")
        with socket.socket(fileno=os.dup(connection.fileno())) as below:
            below.shutdown(socket.SHUT_WR)
        found = connection.pgconn.get_result()
        assert found is not None
        assert found.ntuples == 1
        connection.close()

    for trace, about in seen_by_both(server, tmp_path, work):
        row = row_of(trace, "pg_sleep")
        assert row.duration_ns is not None
        assert 4.0 * SECOND <= row.duration_ns <= 5.5 * SECOND
        assert row.label.end == "driver has ended its direction and read the answer"
        assert ended_by(about)[0] == "driver FIN"
        assert "driver RST" not in ended_by(about)
        assert 4.0 * SECOND <= about["wait_ns"] <= 5.5 * SECOND


def test_asyncpg_gives_up_after_its_timeout(server: EmbeddedServer, tmp_path: Path) -> None:
    """It cancels, and closes: the row of the query says what was waited for, and who ended what."""

    async def work(address: dict[str, Any]) -> None:
        connection = await asyncpg.connect(ssl=False, **address)
        with pytest.raises(asyncio.TimeoutError):
            await connection.execute("select pg_sleep(4)", timeout=0.5)
        connection.terminate()

    with recording(server, tmp_path / "capture") as recorder:
        asyncio.run(
            work(
                {"host": "127.0.0.1", "port": recorder.port, "user": server.user, "password": server.password, "database": server.database}
            )
        )
    trace, about = read(tmp_path / "capture")
    row = row_of(trace, "pg_sleep")
    assert row.duration_ns is not None
    assert 0.4 * SECOND <= row.duration_ns <= 2.5 * SECOND  # its clock began before the query was here
    assert ended_by(about)[0].startswith("driver ")


def test_a_driver_that_leaves_by_terminate(server: EmbeddedServer, tmp_path: Path) -> None:
    """PQfinish while a query runs: Terminate and FIN at once."""
    with recording(server, tmp_path / "capture") as recorder:
        connection = psycopg.connect(url(server, recorder), autocommit=True)
        connection.pgconn.send_query(b"select pg_sleep(3)")
        until(lambda: recorder.flush() and any("pg_sleep" in row.label.sql for row in follow(tmp_path / "capture")))
        connection.close()
    trace, about = read(tmp_path / "capture")
    row = row_of(trace, "pg_sleep")
    assert row.duration_ns is not None
    assert row.duration_ns < 2.5 * SECOND
    assert row.label.end.startswith("driver left while waiting for Query; the server worked on for ")
    assert about["end"] == "closed by the driver (FIN)"


def test_the_server_ends_an_idle_transaction(server: EmbeddedServer, tmp_path: Path) -> None:
    """The FATAL and the FIN behind it have the time at which they reached the driver, not that at which the driver looked."""
    with recording(server, tmp_path / "capture") as recorder:
        connection = psycopg.connect(url(server, recorder))
        connection.execute("set idle_in_transaction_session_timeout = '300ms'")
        connection.commit()
        connection.execute("select 1")
        assert select.select([connection.fileno()], [], [], 20)[0]
        below_ns = until(lambda: [row for row in follow(tmp_path / "capture") if "closed by" in row.label.sql])[0].opened_ns
        with pytest.raises(psycopg.Error):
            connection.execute("select 2")
        connection.close()
    trace, about = read(tmp_path / "capture")
    assert about["end"] == "closed by the server (FIN) after 25P03"
    (row,) = [row for row in trace.rows if row.label.sql == about["end"]]
    (fatal,) = [row for row in trace.rows if row.label.error.startswith("25P03")]
    assert row.opened_ns == below_ns
    assert 0 <= row.opened_ns - fatal.opened_ns < SECOND


def follow(path: Path) -> list[Row]:
    """The rows of a capture that is being written."""
    trace = Trace.open([path])
    trace.update()
    found = list(trace.rows)
    trace.close()
    return found


def test_pg_terminate_backend(server: EmbeddedServer, tmp_path: Path) -> None:
    with recording(server, tmp_path / "capture") as recorder, psycopg.connect(server.url(), autocommit=True) as other:
        connection = psycopg.connect(url(server, recorder), autocommit=True)
        pid = connection.info.backend_pid
        connection.pgconn.send_query(b"select pg_sleep(30)")
        until(
            lambda: other.execute("select count(*) from pg_stat_activity where pid = %s and state = 'active'", [pid]).fetchone(),
            lambda one: one == (1,),
        )
        other.execute("select pg_terminate_backend(%s)", [pid])
        found = connection.pgconn.get_result()
        assert found is not None
        connection.close()
    trace, about = read(tmp_path / "capture")
    assert about["end"] in (
        "closed by the server (FIN) after 57P01",
        "closed by the driver (FIN) after 57P01",
        "reset by the server after 57P01",  # where its Terminate came to a socket that was closed
    )  # it reads, and closes at once
    row = row_of(trace, "pg_sleep")
    assert row.label.error.startswith("57P01")
    assert row.duration_ns is not None


def test_a_backend_that_is_killed(tmp_path: Path) -> None:
    """kill -9 of the server's process: no FATAL, and the waiting ends when the driver's socket ends."""
    with EmbeddedServer() as server, recording(server, tmp_path / "capture") as recorder:
        connection = psycopg.connect(url(server, recorder), autocommit=True)
        pid = connection.info.backend_pid
        connection.pgconn.send_query(b"select pg_sleep(30)")
        with psycopg.connect(server.url(), autocommit=True) as other:
            until(
                lambda: other.execute("select count(*) from pg_stat_activity where pid = %s and state = 'active'", [pid]).fetchone(),
                lambda one: one == (1,),
            )
        os.kill(pid, signal.SIGKILL)
        until_ended(pid)
        found = connection.pgconn.get_result()
        assert found is not None
        assert found.ntuples == 0
        connection.close()
    trace, about = read(tmp_path / "capture")
    assert ended_by(about)[0] in ("server FIN", "server RST")
    row = row_of(trace, "pg_sleep")
    assert row.duration_ns is not None
    assert abs(row.opened_ns + row.duration_ns - about["ends"][0]["time_ns"]) <= 1000
    assert row.label.end in ("closed by the server (FIN) while waiting for Query", "reset by the server while waiting for Query")
