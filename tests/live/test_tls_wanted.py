"""A real driver that insists on TLS where there is none: every view says what it wanted, and the way out."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable

import psycopg
import pytest

from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.judge.advice import Advice
from pgtrace.recorder import Recorder
from pgtrace.trace import refused_tls
from pgtrace.trace.trace import Trace

PGTRACE = [sys.executable, "-m", "pgtrace"]
WAYS = {"by SSLRequest": "sslmode=require", "at once": "sslmode=require sslnegotiation=direct"}
CONNECT = "import psycopg, sys\ntry: psycopg.connect(sys.argv[1])\nexcept psycopg.OperationalError: sys.exit(7)"


@pytest.mark.parametrize("way", WAYS)
def test_the_row_the_finding_and_the_log_say_so(proxy: Recorder, trace_of: Callable[[Recorder], Trace], way: str) -> None:
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(f"host={proxy.host} port={proxy.port} user=postgres dbname=postgres {WAYS[way]}")
    while proxy.stats()["connections"]:
        pass
    trace = trace_of(proxy)
    advice = Advice(trace)
    advice.update()
    (finding,) = advice.findings()
    assert finding.name == "tls-refused"
    assert trace.rows[finding.evidence[0].place].label.sql.endswith(refused_tls.REMEDY)
    assert proxy.log.count("--tls auto, or sslmode=disable towards pgtrace") == 1


@pytest.mark.parametrize("way", WAYS)
def test_the_summary_of_run_says_so(server: EmbeddedServer, way: str) -> None:
    settings = f"user=postgres dbname=postgres {WAYS[way]}"
    ran = subprocess.run(
        [*PGTRACE, "run", "--upstream", f"{server.host}:{server.port}", "--", sys.executable, "-c", CONNECT, settings],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 7, ran.stderr
    assert len([line for line in ran.stderr.splitlines() if line.startswith("pgtrace: 1 connection ") and "--tls auto" in line]) == 1


def test_the_lines_of_listen_say_so_at_once(server: EmbeddedServer) -> None:
    process = subprocess.Popen(
        [*PGTRACE, "listen", "127.0.0.1:0", "--upstream", f"{server.host}:{server.port}", "--no-tui"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    port = process.stderr.readline().split()[1].rpartition(":")[2]
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(f"host=127.0.0.1 port={port} user=postgres sslmode=require")
    said = next(line for line in process.stderr if "wanted TLS" in line)
    assert "--tls auto, or sslmode=disable towards pgtrace" in said
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)


def test_one_that_prefers_tls_goes_on_without(proxy: Recorder, server: EmbeddedServer, trace_of: Callable[[Recorder], Trace]) -> None:
    with psycopg.connect(server.url(proxy.host, proxy.port) + "?sslmode=prefer") as connection:
        connection.execute("select 1")
    advice = Advice(trace_of(proxy))
    advice.update()
    assert advice.findings() == []
    assert proxy.log == ""
