"""`kill -9` of pgtrace takes its helpers along: nothing that it started itself runs on, and their directories are gone."""

from __future__ import annotations

import os
import select
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgtrace.demo.pooler import find_pgbouncer
from tests.live.traffic import children

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
needs_pgbouncer = pytest.mark.skipif(find_pgbouncer() is None, reason="PgBouncer is not installed")

READY = "the helper is at work"
CONNECTED = f"""
import psycopg, sys
connection = psycopg.connect()
connection.execute("select 1")
print({READY!r}, file=sys.stderr, flush=True)
connection.execute("select pg_sleep(600)")
"""
INI = "[databases]\npostgres = host=replaced\n[pgbouncer]\nauth_type = any\n"
DEMO = f"""
import sys
from pgtrace.address import parse_listen
from pgtrace.demo.scene import open_pooler_scene
with open_pooler_scene(parse_listen("127.0.0.1:0")):
    print({READY!r}, file=sys.stderr, flush=True)
    sys.stdin.read()
"""
STREAM = f"""
import contextlib, os, sys
from pgtrace.cli import streamed
streamed.open_terminal = lambda: contextlib.nullcontext(os.open(os.devnull, os.O_RDWR))
with streamed.imported_stdin():
    print({READY!r}, file=sys.stderr, flush=True)
    import time; time.sleep(600)
"""
SERVED = f"""
import sys
from pathlib import Path
from pgtrace.testing.serving import Serving
with Serving(Path(sys.argv[1]), {{}}):
    print({READY!r}, file=sys.stderr, flush=True)
    sys.stdin.read()
"""
ROOT = Path(__file__).parents[2]


def descendants(pid: int) -> set[int]:
    found = set(children(pid))
    return found.union(*(descendants(one) for one in found))


def commands(pids: set[int]) -> str:
    return "\n".join(sorted(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode() for pid in pids))


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A directory for temporary files; a helper may run as nobody, who cannot enter pytest's own."""
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as path:
        Path(path).chmod(0o711)
        yield Path(path)


def killed(command: list[str], temporary: Path, stream: bytes = b"") -> str:
    """Run the command until its helpers are ready, kill it, and wait until all of them have ended. Returns their commands."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)},
    )
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(stream)
    process.stdin.flush()
    said = []
    for line in process.stderr:
        said.append(line.decode())
        if READY in said[-1]:
            break
    else:
        pytest.fail("".join(said))
    started = descendants(process.pid)
    told = commands(started)
    watched = [os.pidfd_open(pid) for pid in started]
    process.kill()
    process.wait()
    for descriptor in watched:
        assert select.select([descriptor], [], [], 30)[0], f"runs on:\n{told}"
        os.close(descriptor)
    process.stdin.close()
    process.stderr.close()
    for path in temporary.iterdir():
        assert "pooler" not in path.name, "a directory is left"
        assert not (path / "data").exists(), "a cluster is left"
    return told


@needs_pgbouncer
def test_compare_behind_a_pooler(temporary: Path, tmp_path: Path) -> None:
    ini = tmp_path / "pgbouncer.ini"
    ini.write_text(INI)
    program = f"only={shlex.join([sys.executable, '-c', CONNECTED])}"
    command = [sys.executable, "-m", "pgtrace", "compare", "-v", "--behind", str(ini), "--upstream", "embedded", "--repeat", "1", program]
    told = killed(command, temporary)
    for helper in ("pgbouncer -q", "postgres -D", "pgtrace.proxy", "pg_sleep"):
        assert helper in told


@needs_pgbouncer
def test_demo_pooler(temporary: Path) -> None:
    told = killed([sys.executable, "-c", DEMO], temporary)
    for helper in ("pgbouncer -q", "postgres -D", "pgtrace.proxy"):
        assert helper in told


def test_a_stream_that_is_imported(temporary: Path) -> None:
    """Whoever writes the stream is still there: only the end of the viewer ends the import."""
    capture = ROOT / "captures" / "psql" / "types.pgtrace"
    told = killed([sys.executable, "-c", STREAM], temporary, capture.read_bytes())
    assert "pgtrace import -" in told


def test_a_recording_that_a_test_run_serves(temporary: Path) -> None:
    capture = ROOT / "captures" / "psql" / "types.pgtrace"
    told = killed([sys.executable, "-c", SERVED, str(capture)], temporary)
    assert "pgtrace serve" in told
