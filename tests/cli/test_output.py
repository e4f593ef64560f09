"""Where output goes: a stdout that is closed, full, or knows ASCII only."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CAPTURE = Path(__file__).parents[2] / "captures" / "asyncpg" / "ten_queries.pgtrace"
COMMANDS = (["show"], ["stats"], ["stats", "--json"], ["advise"], ["export", "--to", "jsonl"])


def pgtrace(*arguments: str, redirection: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-m", "pgtrace", *arguments]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, check=False)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_nobody_reads_it(command: list[str]) -> None:
    done = pgtrace(*command, str(CAPTURE), redirection=">&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has /dev/full")
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_full_disk_is_one_line(command: list[str]) -> None:
    done = pgtrace(*command, str(CAPTURE), redirection=">/dev/full")
    assert done.returncode != 0
    assert done.stderr.count(b"\n") == 1
    assert b"no space left on device" in done.stderr


def test_all_three_streams_closed(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert pgtrace("export", "--to", "jsonl", str(CAPTURE), "-o", str(out), redirection="<&- >&- 2>&-").returncode == 0
    assert out.read_bytes() == pgtrace("export", "--to", "jsonl", str(CAPTURE)).stdout


def test_ascii_is_spelled(tmp_path: Path) -> None:
    utf8 = pgtrace("show", str(CAPTURE), PYTHONIOENCODING="utf-8").stdout.decode()
    ascii_only = pgtrace("show", str(CAPTURE), PYTHONIOENCODING="ascii")
    assert ascii_only.returncode == 0
    assert "→" in utf8
    assert ascii_only.stdout.decode("ascii").splitlines()[1].split() == utf8.replace("→", "->").splitlines()[1].split()
