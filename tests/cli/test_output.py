"""Where output goes: a stdout that is closed, full, or knows ASCII only."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests import commands

CAPTURE = Path(__file__).parents[2] / "captures" / "asyncpg" / "ten_queries.pgtrace"
COMMANDS = (["show"], ["stats"], ["stats", "--json"], ["advise"], ["export", "--to", "jsonl"])


CLOSED = "import os, sys; os.close(1); sys.stdout = None"
"""As Python finds it."""


def fresh(*arguments: str, redirection: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = ["sh", "-c", f'exec "$@" {redirection}', "sh", *commands.FRESH, *arguments]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, check=False, timeout=60)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_nobody_reads_it(command: list[str]) -> None:
    done = commands.run(*command, CAPTURE, before=CLOSED)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has /dev/full")
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_full_disk_is_one_line(command: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = commands.run(*command, CAPTURE, stdout=full)
    assert done.returncode not in (0, 120)  # 120: Python itself complained
    assert done.stderr.count("\n") == 1
    assert "no space left on device" in done.stderr


def test_one_or_all_streams_are_closed_from_the_beginning(tmp_path: Path) -> None:
    assert fresh("show", str(CAPTURE), redirection=">&-").returncode == 0
    out = tmp_path / "out.jsonl"
    assert fresh("export", "--to", "jsonl", str(CAPTURE), "-o", str(out), redirection="<&- >&- 2>&-").returncode == 0
    assert out.read_text("utf-8") == commands.call("export", "--to", "jsonl", CAPTURE).stdout


@pytest.fixture(scope="module")
def shown() -> subprocess.CompletedProcess[bytes]:
    """A `show` for which Python's own variables say that it writes ASCII, and that warnings are errors."""
    return fresh("show", str(CAPTURE), PYTHONIOENCODING="ascii", PYTHONWARNINGS="error")


def test_ascii_is_spelled(shown: subprocess.CompletedProcess[bytes]) -> None:
    utf8 = commands.call("show", CAPTURE).stdout
    assert shown.returncode == 0
    assert "→" in utf8
    assert shown.stdout.decode("ascii").splitlines()[1].split() == utf8.replace("→", "->").splitlines()[1].split()


def test_warnings_of_python_are_the_programs_own(shown: subprocess.CompletedProcess[bytes]) -> None:
    """A test run with PYTHONWARNINGS=error: nothing else is said, and the recorder ends."""
    assert (shown.returncode, shown.stderr) == (0, b"")
    with socket.create_server(("127.0.0.1", 0)) as server:
        program = "import os; print(os.environ['PYTHONWARNINGS'])"
        upstream = f"127.0.0.1:{server.getsockname()[1]}"
        ran = fresh("run", "--no-last", "--upstream", upstream, "--", commands.FRESH[0], "-c", program, PYTHONWARNINGS="error")
    assert (ran.returncode, ran.stdout) == (0, b"error\n")
    assert b"Warning" not in ran.stderr
