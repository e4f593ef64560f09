"""`pgtrace listen LISTEN=POOLER LISTEN=embedded`: what it says is what a PgBouncer needs to log in."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from pgtrace.demo.pooler import RunningPooler, find_pgbouncer
from pgtrace.demo.ports import free_port

PGTRACE = [sys.executable, "-m", "pgtrace"]
WITHIN_S = 60.0
INI = """
[databases]
shop = {login}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
auth_type = any
unix_socket_dir =
pool_mode = transaction
"""
pytestmark = pytest.mark.skipif(find_pgbouncer() is None, reason="PgBouncer is not installed")


def until(process: subprocess.Popen[str], wanted: str) -> str:
    """The first line of stderr with that."""
    assert process.stderr is not None
    return next(line for line in process.stderr if wanted in line)


def test_a_pooler_logs_in_with_the_line_that_is_printed(tmp_path: Path) -> None:
    capture, port = tmp_path / "both.pgtrace", free_port()
    legs = [f"127.0.0.1:0=127.0.0.1:{port}", "127.0.0.1:0=embedded"]
    command = [*PGTRACE, "listen", *legs, "--no-tui", "-w", str(capture)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, bufsize=1) as process:
        try:
            (front,) = re.findall(r":(\d+) -> ", until(process, "(leg A)"))
            (behind,) = re.findall(r":(\d+) -> ", until(process, "(leg B)"))
            login = until(process, "through leg B with: ").partition("with: ")[2].strip()
            assert f"host=127.0.0.1 port={behind} " in login
            with psycopg.connect(login) as direct:
                assert direct.execute("select 1").fetchone() == (1,)
            with (
                RunningPooler(INI.format(login=login, port=port), port),
                psycopg.connect(f"host=127.0.0.1 port={front} dbname=shop user=anyone", autocommit=True) as pooled,
            ):
                for number in range(5):
                    assert pooled.execute("select %s::int", [number]).fetchone() == (number,)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=WITHIN_S)
    told = json.loads(subprocess.run([*PGTRACE, "stats", "--json", str(capture)], capture_output=True, check=True, timeout=60).stdout)
    assert told["joins"]["joined"] == 5
    assert [leg["leg"] for leg in told["legs"]] == ["A", "B"]
