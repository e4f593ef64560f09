"""A real driver that insists on TLS where there is none: every view says what it wanted, and the way out."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from pgtrace.certificates import DriverTls
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


PROGRAMS = {
    "psycopg": "psycopg.connect(url(''), sslmode='disable' if plain else 'require').execute('select 1')",
    "psycopg, at once": "psycopg.connect(url(''), sslmode='disable') if plain else "
    "psycopg.connect(url(''), sslmode='require', sslnegotiation='direct').execute('select 1')",
    "psycopg2": "psycopg2.connect(url(''), sslmode='disable' if plain else 'require').cursor().execute('select 1')",
    "asyncpg": "asyncio.run(fetch())",
    "pg8000": "pg8000.dbapi.connect(**parts, ssl_context=None if plain else context).cursor().execute('select 1')",
    "sqlalchemy": "sqlalchemy.create_engine(url('+psycopg'), connect_args={'sslmode': 'disable' if plain else 'require'}).connect()",
}
PROGRAM = """
import asyncio, os, ssl, sys
import asyncpg, pg8000.dbapi, psycopg, psycopg2, sqlalchemy
from urllib.parse import urlsplit
plain, at = "plain" in sys.argv, urlsplit(os.environ["DATABASE_URL"])
parts = dict(user=at.username, host=at.hostname, port=at.port, database=at.path[1:], password=at.password)
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

def url(dialect):
    return at._replace(scheme="postgresql" + dialect, query="").geturl()

async def fetch():
    connection = await asyncpg.connect(**parts, ssl=False if plain else context)
    await connection.fetch("select 1")
    await connection.close()

try:
    {}
except Exception as error:
    sys.exit(f"{{type(error).__name__}}: {{error}}")
"""


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_remedies_help(server: EmbeddedServer, tmp_path: Path, name: str) -> None:
    """The program of the finding; then behind `--tls auto`; then without TLS towards pgtrace."""

    def ran(what: str, *options: str, plain: bool = False) -> tuple[int, list[str], int]:
        capture = tmp_path / f"{what}.pgtrace"
        given = [*PGTRACE, "run", "-w", str(capture), *options, "--upstream", f"{server.host}:{server.port}"]
        program = [sys.executable, "-c", PROGRAM.format(PROGRAMS[name]), *(["plain"] if plain else [])]
        environment = {**os.environ, "DATABASE_URL": server.url()}
        done = subprocess.run([*given, "--", *program], capture_output=True, text=True, timeout=60, check=False, env=environment)
        with contextlib.closing(Trace.open([capture])) as trace:
            trace.read_until(1 << 62)
            advice = Advice(trace)
            advice.update()
            told = [one.name for one in advice.findings()]
            for one in advice.findings():
                assert "not tried" not in one.remedies[0]
            return done.returncode, told, trace.totals().round_trips

    assert ran("before")[:2] == (1, ["tls-refused"])
    code, told, round_trips = ran("auto", "--tls", "auto")
    assert (code, told) == (0, [])
    assert round_trips
    assert ran("plain", plain=True)[:2] == (0, [])


@pytest.mark.parametrize("way", ["sslmode=require", "trusts"])
def test_a_driver_that_does_not_trust_the_certificate(server: EmbeddedServer, tmp_path: Path, way: str) -> None:
    """Then with the CA, or without checking it."""
    with Recorder(upstream=f"{server.host}:{server.port}", write=tmp_path / "tls.pgtrace", tls=DriverTls("end")) as recorder:
        checks = server.url("localhost", recorder.port) + "?sslmode=verify-full"
        with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
            psycopg.connect(f"{checks}&sslrootcert=system")
        while recorder.stats()["connections"]:
            pass
        remedied = f"{checks}&sslrootcert={recorder.authority}" if way == "trusts" else server.url("localhost", recorder.port) + f"?{way}"
        with psycopg.connect(remedied) as connection:
            connection.execute("select 1")
    with contextlib.closing(Trace.open([tmp_path / "tls.pgtrace"])) as trace:
        trace.read_until(1 << 62)
        advice = Advice(trace)
        advice.update()
        (finding,) = advice.findings()
        assert (finding.name, finding.number) == ("tls-refused", 1)
        assert "did not complete the handshake" in finding.what
        assert "unknown ca" in finding.evidence[0].words
        assert finding.remedies == (refused_tls.TRUST,)


def test_one_that_prefers_tls_goes_on_without(proxy: Recorder, server: EmbeddedServer, trace_of: Callable[[Recorder], Trace]) -> None:
    with psycopg.connect(server.url(proxy.host, proxy.port) + "?sslmode=prefer") as connection:
        connection.execute("select 1")
    advice = Advice(trace_of(proxy))
    advice.update()
    assert advice.findings() == []
    assert proxy.log == ""
