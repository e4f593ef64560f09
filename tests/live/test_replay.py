"""A recorded workload runs again against a real server: the same executions and errors, told before and after."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
import pytest

from captures.recording.__main__ import HERE
from captures.recording.scenarios import SCHEMA
from pgtrace.address import parse_listen, parse_upstream
from pgtrace.behind import WAIT
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.recorder import Recorder
from pgtrace.trace.trace import Trace
from tests.corpus import CAPTURES, NIGHTLY, name
from tests.live import install_postgres
from tests.playbook import write
from tests.schemas import valid
from tests.traces import fully_read

SAMPLE = ("asyncpg/cancel", "pgjdbc/cancel", "pg8000/copy_in", "psycopg/pipeline", "psycopg2/copy_in", "pgjdbc/pool", "pgx/failure")
CASES = [path for path in CAPTURES if NIGHTLY or name(path) in SAMPLE]
TRANSACTIONS = 1250
CLIENTS = 8
TURNS = 5


def replay(capture: Path, url: str, *options: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, the result, and what stderr said."""
    line = [sys.executable, "-m", "pgtrace", "replay", str(capture), "--to", url, "--json", *options]
    found = subprocess.run(line, capture_output=True, text=True, check=False, timeout=900)
    return found.returncode, valid("replay", found.stdout) if found.stdout else {}, found.stderr


def prepare(server: EmbeddedServer) -> None:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(SCHEMA)


@pytest.mark.parametrize("path", CASES, ids=name)
def test_a_recorded_scenario_runs_again(path: Path, server: EmbeddedServer) -> None:
    prepare(server)
    code, found, err = replay(path, server.url(), "--speed", "max")
    assert (code, err, found["new_errors"]) == (0, "", [])
    assert found["executions"]["before"] == found["executions"]["after"]
    assert found["errors"]["before"] == found["errors"]["after"]


def test_read_only_counts_what_was_refused(server: EmbeddedServer, tmp_path: Path) -> None:
    prepare(server)
    again = tmp_path / "again.pgtrace"
    code, found, err = replay(HERE / "psycopg" / "failure.pgtrace", server.url(), "--read-only", "--speed", "max", "-w", str(again))
    assert code == 1
    assert found["refused_read_only"] == 1
    assert [error["sqlstate"] for error in found["new_errors"]] == ["25006", "25P02"]
    assert f"capture written to {again}" in err
    with psycopg.connect(server.url()) as connection:
        assert connection.execute("select price = 1.25 from item where id = 1").fetchone() == (True,)


def test_real_time_takes_its_time(server: EmbeddedServer, tmp_path: Path) -> None:
    script = """
    0   F StartupMessage user=app database=shop application_name=slow
    1   B AuthenticationOk | ReadyForQuery I
    2   F Query select current_setting('application_name')
    3   B RowDescription a:25 | DataRow slow | CommandComplete SELECT 1 | ReadyForQuery I
    800 F Query select 2
    801 B RowDescription a:23 | DataRow 2 | CommandComplete SELECT 1 | ReadyForQuery I
    802 F Terminate
    802 close F
    """
    path, again = write(tmp_path / "slow.pgtrace", script), tmp_path / "again.pgtrace"
    code, found, _ = replay(path, server.url(), "--speed", "2x", "-w", str(again))
    assert (code, found["executions"]["after"]) == (0, 2)
    trace = Trace([str(again)])
    while trace.update():
        pass
    assert trace.duration_ns >= 390_000_000
    assert trace.connections[0].application_name == "slow"
    trace.close()


def test_ctrl_c_keeps_what_there_is(server: EmbeddedServer, tmp_path: Path) -> None:
    script = """
    0      F Query select 1
    1      B RowDescription a:23 | DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I
    600000 F Query select 2
    600001 B RowDescription a:23 | DataRow 2 | CommandComplete SELECT 1 | ReadyForQuery I
    600002 F Terminate
    600002 close F
    """
    path, again = write(tmp_path / "long.pgtrace", script), tmp_path / "again.pgtrace"
    line = [sys.executable, "-m", "pgtrace", "replay", str(path), "--to", server.url(), "-w", str(again)]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (again.exists() and b"select 1" in again.read_bytes()):
        assert time.monotonic() < deadline
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "executions 1, was 2" in out
    assert "interrupted after 50%" in err


def test_ctrl_c_does_not_wait_for_a_server_that_is_silent() -> None:
    """It takes connections, and answers no login."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        to = f"postgresql://me@127.0.0.1:{silent.getsockname()[1]}/shop"
        line = [sys.executable, "-m", "pgtrace", "replay", str(HERE / "psycopg" / "connect.pgtrace"), "--to", to, "--speed", "max"]
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        silent.settimeout(60)
        silent.accept()[0].close()  # whether anybody is there
        login, _ = silent.accept()
        with login:
            assert login.recv(4096)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted after 0%" in err


def test_a_server_that_is_not_there_is_3_and_another_login_is_said(server: EmbeddedServer) -> None:
    capture = HERE / "psycopg" / "connect.pgtrace"
    code, _, err = replay(capture, "postgresql://127.0.0.1:1/shop", "--speed", "max")
    assert code == 3
    assert "127.0.0.1:1" in err
    code, _, err = replay(capture, re.sub(r":[^:@]*@", ":wrong@", server.url()), "--speed", "max")
    assert code == 3
    assert re.match("pgtrace: no connection could be opened: .*password authentication failed", err)


SHOP = """
create table if not exists replayed (id int primary key generated always as identity, name text not null, price numeric(10, 2));
truncate replayed;
"""


def work(url: str) -> None:
    """Statements of every kind, as one program runs them: repeated, in a transaction, in a pipeline, and one that fails."""
    with psycopg.connect(url, autocommit=True) as connection:
        for number in range(12):
            connection.execute("insert into replayed (name, price) values (%s, %s)", (f"item {number}", number))
            connection.execute("select name, price from replayed where price >= %s order by price", (number,)).fetchall()
        with connection.transaction():
            connection.execute("update replayed set price = price + 1 where price < %s", (5,))
        with connection.pipeline():
            for number in range(6):
                connection.execute("select count(*) from replayed where price > %s", (number,))
        with pytest.raises(psycopg.errors.UndefinedColumn):
            connection.execute("select nothing from replayed")


def test_a_long_copy_is_sent_as_the_server_takes_it(server: EmbeddedServer, tmp_path: Path) -> None:
    """More at once than a socket takes, and the connections beside it go on."""
    capture, line = tmp_path / "copy.pgtrace", "x" * 1023 + "\n"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("create table if not exists copied (line text)")
    with Recorder(parse_listen("127.0.0.1:0"), parse_upstream(f"{server.host}:{server.port}", {}), write=capture) as recorder:
        url = server.url(recorder.host, recorder.port)
        with (
            psycopg.connect(url, autocommit=True) as first,
            psycopg.connect(url, autocommit=True) as second,
            first.cursor().copy("copy copied from stdin") as copy,
        ):
            for _ in range(16):
                copy.write(line * 1024)
                second.execute("select 1")
    code, found, err = replay(capture, server.url(), "--speed", "max")
    assert (code, err, found["new_errors"]) == (0, "", [])
    assert found["executions"]["before"] == found["executions"]["after"] == 17
    with psycopg.connect(server.url(), autocommit=True) as connection:
        assert connection.execute("select count(*), sum(length(line)) from copied").fetchone() == (2 * 16384, 2 * 16384 * 1023)
        connection.execute("drop table copied")


@pytest.mark.parametrize("major", [14, 18])
def test_the_same_work_on_another_version(major: int, tls_server: EmbeddedServer, tmp_path: Path) -> None:
    """A recording of PostgreSQL 18 on the oldest and on the newest supported version: the same executions and errors, and the table."""
    capture = tmp_path / "on18.pgtrace"
    with psycopg.connect(tls_server.url(), autocommit=True) as connection:
        connection.execute(SHOP)
    with Recorder(parse_listen("127.0.0.1:0"), parse_upstream(f"{tls_server.host}:{tls_server.port}", {}), write=capture) as recorder:
        work(tls_server.url(recorder.host, recorder.port))
    with EmbeddedServer(install_postgres.binaries(major)) as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(SHOP)
        code, found, err = replay(capture, server.url(), "--speed", "max")
        assert (code, err, found["new_errors"]) == (0, "", [])
        assert found["executions"]["before"] == found["executions"]["after"] >= 33
        assert found["errors"] == {"before": 1, "after": 1}
        measured = {one["sql"]: one for one in found["statements"] if one["after"]["executions"]}
        assert len(measured) >= 5
        for one in measured.values():
            assert one["before"]["executions"] == one["after"]["executions"]
            assert one["before"]["rows"] == one["after"]["rows"]
            assert one["after"]["wait_ns"]["p50"] <= one["after"]["wait_ns"]["p95"] <= one["after"]["wait_ns"]["max"]
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(SHOP)
        line = [sys.executable, "-m", "pgtrace", "replay", str(capture), "--to", server.url(), "--speed", "max", "-q"]
        text = subprocess.run(line, capture_output=True, text=True, check=True, timeout=120).stdout
    assert re.search(r"^statement +exec +p50 ms +now +ratio +p95 ms +now +max ms +now", text, re.MULTILINE)
    assert re.search(r"^insert into replayed \(name, price\) values .* 12 +[\d.]+ +[\d.]+ +[\d.]+ ", text, re.MULTILINE)


@pytest.mark.skipif(not NIGHTLY, reason="10,000 transactions")
def test_pgbench_runs_again(tmp_path: Path) -> None:
    """On the same version with equal executions and errors, at 0.9 of its own rate; and on another one, with the table.

    Rates are medians of turns that alternate, each with tables made anew, through recorders that both wait for the disk.
    """
    binaries = install_postgres.binaries(18)
    capture = tmp_path / "bench.pgtrace"
    rates: tuple[list[float], list[float]] = ([], [])
    with EmbeddedServer(binaries) as server:
        common = ["-h", server.host, "-U", server.user, server.database]
        environment = os.environ | {"PGPASSWORD": server.password}

        def pgbench(port: int, *options: str) -> None:
            subprocess.run([binaries / "pgbench", *options, "-p", str(port), *common], env=environment, check=True, capture_output=True)

        upstream = parse_upstream(f"{server.host}:{server.port}", {})
        for turn in range(TURNS):
            again = tmp_path / f"again{turn}.pgtrace"
            capture.unlink(missing_ok=True)
            pgbench(server.port, "-i", "-s", "8", "-q")
            with Recorder(parse_listen("127.0.0.1:0"), upstream, write=capture, when_behind=WAIT) as recorder:
                pgbench(recorder.port, "-n", "-M", "prepared", "-c", str(CLIENTS), "-t", str(TRANSACTIONS))
            pgbench(server.port, "-i", "-s", "8", "-q")
            code, found, _ = replay(capture, server.url(), "--speed", "max", "-w", str(again))
            assert (code, found["new_errors"]) == (0, [])
            assert found["executions"]["before"] == found["executions"]["after"] >= 7 * CLIENTS * TRANSACTIONS
            for path, found_rates in zip((capture, again), rates, strict=True):
                with closing(fully_read(path)) as trace:
                    found_rates.append(CLIENTS * TRANSACTIONS / trace.duration_ns * 1e9)
    before, after = map(median, rates)
    print(f"\n{before:.0f} transactions/s by pgbench, {after:.0f} in the replay: {after / before:.2f}")
    assert after > 0.9 * before
    with EmbeddedServer(install_postgres.binaries(14)) as older:
        older_bench = [install_postgres.binaries(14) / "pgbench", "-i", "-s", "8", "-q", "-h", older.host, "-p", str(older.port)]
        subprocess.run(
            [*older_bench, "-U", older.user, older.database],
            env=os.environ | {"PGPASSWORD": older.password},
            check=True,
            capture_output=True,
        )
        code, found, _ = replay(capture, older.url(), "--speed", "max")
    assert found["executions"]["before"] == found["executions"]["after"]
    slow = [one["sql"] for one in found["statements"] if one["after"]["executions"] >= CLIENTS * TRANSACTIONS]
    assert len(slow) == 7
    assert all(one["after"]["wait_ns"]["p50"] for one in found["statements"] if one["sql"] in slow)
