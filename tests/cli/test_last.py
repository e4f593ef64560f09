"""`run` keeps its capture for `--last` until the next run, privately, and its summary ends with what costs most."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pgtrace import last
from pgtrace.demo.embedded import EmbeddedServer
from tests import commands

LOOP = (
    "import os, psycopg; c = psycopg.connect(os.environ['DATABASE_URL'], autocommit=True); [c.execute('select %s::int8', (i,)) "
    "for i in range({times})]"
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "state"


def pgtrace(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return commands.run(*arguments, env={**os.environ, "XDG_STATE_HOME": str(home), **environment})


def run(home: Path, server: EmbeddedServer, times: int, *options: str) -> subprocess.CompletedProcess[str]:
    found = pgtrace(home, "run", *options, "--", sys.executable, "-c", LOOP.format(times=times), DATABASE_URL=server.url())
    assert found.returncode == 0, found.stderr
    return found


def executions(home: Path) -> int:
    return int(json.loads(pgtrace(home, "stats", "--last", "--json").stdout)["totals"]["executions"])


def test_the_latest_run_can_be_looked_at_again(home: Path, server: EmbeddedServer) -> None:
    found = run(home, server, 12)
    assert "pgtrace open --last" in found.stderr
    assert executions(home) == 12
    advice = pgtrace(home, "advise", "--last")
    assert "n+1" in advice.stdout
    run(home, server, 5)
    assert executions(home) == 5
    kept = home / "pgtrace"
    assert [entry.name for entry in kept.iterdir()] == ["last"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in (kept, kept / "last")} == {0o700}


def test_the_latest_run_may_be_a_file_of_the_user(home: Path, server: EmbeddedServer, tmp_path: Path) -> None:
    written = tmp_path / "x.pgtrace"
    run(home, server, 3)
    run(home, server, 4, "--no-last")
    run(home, server, 4, "--no-last", "-w", str(tmp_path / "other.pgtrace"))
    assert executions(home) == 3
    run(home, server, 5, "-w", str(written))
    assert executions(home) == 5
    assert [entry.name for entry in (home / "pgtrace").iterdir()] == ["last"]
    written.rename(tmp_path / "y.pgtrace")
    found = pgtrace(home, "stats", "--last")
    assert (found.returncode, found.stderr.count("\n")) == (2, 1)
    assert f"the latest run was written to {written}, which does not exist any more" in found.stderr
    run(home, server, 6)
    assert executions(home) == 6
    assert (tmp_path / "y.pgtrace").exists()


def test_a_place_that_others_may_write_to_keeps_nothing(home: Path, server: EmbeddedServer) -> None:
    (home / "pgtrace").mkdir(parents=True)
    (home / "pgtrace").chmod(0o777)
    found = run(home, server, 3)
    assert "--last" not in found.stderr
    assert list((home / "pgtrace").iterdir()) == []


def test_a_disk_without_room_keeps_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program runs all the same, recorded below TMPDIR."""
    monkeypatch.setenv("XDG_STATE_HOME", str(home))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=last.LEAST_ROOM - 1))
    assert last.directory() is None
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=last.LEAST_ROOM))
    made = last.directory()
    assert made is not None
    assert made.path.startswith(str(home))
    made.remove()


def test_without_a_run_and_with_a_file_the_error_says_what_to_do(home: Path) -> None:
    found = pgtrace(home, "open", "--last")
    assert (found.returncode, found.stderr.count("\n")) == (2, 1)
    assert "pgtrace run -- CMD" in found.stderr
    found = pgtrace(home, "stats", "--last", "x.pgtrace")
    assert found.returncode == 2
    assert "--last takes no FILE" in found.stderr


def test_a_login_that_is_refused_is_the_answer(home: Path, server: EmbeddedServer) -> None:
    """Nothing was asked, and something failed."""
    program = "import os, psycopg; psycopg.connect(os.environ['DATABASE_URL'], password='wrong')"
    found = pgtrace(home, "run", "--", sys.executable, "-c", program, DATABASE_URL=server.url())
    assert found.returncode == 1
    assert "refused" in found.stderr.partition("\n1 finding")[2], found.stderr


def test_the_summary_ends_with_the_answer(home: Path, server: EmbeddedServer) -> None:
    found = run(home, server, 12)
    assert re.search(r"^\d findings?; up to 1[1-4] of 1[2-4] round trips can be avoided$", found.stderr, re.MULTILINE), found.stderr
    assert re.search(r"^  11 round trips  n\+1  psycopg  select \$1::int8: 12 times", found.stderr, re.MULTILINE)
    assert re.search(r"^select \$1::int8 +psycopg +12 +1[2-4] +[\d.]+$", found.stderr, re.MULTILINE)
    assert len(found.stderr.splitlines()[0]) < 160, "a program given as one argument shows its beginning"
