"""`pgtrace mark` in a running `pgtrace listen`: in order, by the same user, and refused in words."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from pgtrace import marking
from pgtrace.demo.embedded import EmbeddedServer
from tests import commands
from tests.traces import fully_read


@contextmanager
def listening(upstream: str, capture: Path, home: Path) -> Iterator[str]:
    """A `listen` that only records; its address."""
    process = commands.Command(
        *("listen", "127.0.0.1:0", "--upstream", upstream, "-q", "-w", capture),
        env={**os.environ, "TMPDIR": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        yield process.stderr.readline().split()[1].rstrip(",")
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def mark(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return commands.run("mark", *arguments, env={**os.environ, "TMPDIR": str(home)})


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where this test's recorders are; those of other tests are elsewhere. Its path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="marks", dir="/tmp") as found:
        monkeypatch.setattr(marking, "SHORT", found)
        monkeypatch.setattr("tempfile.tempdir", found)
        yield Path(found)


def test_a_mark_is_where_it_was_set(server: EmbeddedServer, tmp_path: Path, home: Path) -> None:
    import psycopg

    capture = tmp_path / "a.pgtrace"
    with listening(f"{server.host}:{server.port}", capture, home) as address:
        port = address.rpartition(":")[2]
        (reachable,) = marking.recorders()
        assert stat.S_IMODE(os.stat(os.path.dirname(reachable.path)).st_mode) == 0o700
        with psycopg.connect(
            host="127.0.0.1", port=port, user=server.user, password=server.password, dbname=server.database, autocommit=True
        ) as connection:
            connection.execute("select 'before'")
            begun = mark(home, "begin", "-v", "a unit", "--to", f":{port}")
            assert (begun.returncode, begun.stderr.splitlines()[1:]) == (0, ["pgtrace: mark 1 of that recording"])
            other = mark(home, "end", "a units", "--to", f":{port}")
            assert (other.returncode, "open: 'a unit'" in other.stderr) == (2, True)
            connection.execute("select 'inside'")
            ended = mark(home, "end", "a unit", "--to", address)
            connection.execute("select 'after'")
        assert (ended.returncode, "'a unit' ends" in ended.stderr) == (0, True)
        again = mark(home, "end", "a unit", "--to", port)
        assert (again.returncode, "no mark 'a unit' is open" in again.stderr, "none is open" in again.stderr) == (2, True, True)
        nowhere = mark(home, "begin", "x", "--to", ":1")
        assert (nowhere.returncode, address in nowhere.stderr) == (3, True)
    with closing(fully_read(capture)) as trace:
        inside = [trace.rows[place].label.sql for place in range(len(trace.rows)) if trace.marks.names_at(place) == ("a unit",)]
        assert inside[:1] == ["select 'inside'"]
        assert [one.name for one in trace.marks.intervals("a unit")] == ["a unit"]
    assert not [entry for entry in home.iterdir() if entry.name.startswith("pgtrace-marks")]


def test_requests_that_are_none(server: EmbeddedServer, tmp_path: Path, home: Path) -> None:
    with listening(f"{server.host}:{server.port}", tmp_path / "a.pgtrace", home):
        (reachable,) = marking.recorders()
        for request in (b"{}\n", b"[1]\n", b"x\n", b'{"do": "stop"}\n', b"\xff\n"):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(10)
                sock.connect(reachable.path)
                sock.sendall(request)
                assert "error" in json.loads(sock.recv(4096))
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(reachable.path)
            with contextlib.suppress(ConnectionError):
                sock.sendall(b"x" * (1 << 20))
                assert sock.recv(1) == b""
        assert marking.recorders() == [reachable]


def test_nothing_runs(home: Path) -> None:
    found = mark(home, "begin", "x", "--to", ":1")
    assert (found.returncode, found.stdout) == (3, "")
    with pytest.raises(marking.MarkError, match="is running"):
        marking.choose(None)


@pytest.mark.parametrize(
    ("address", "wanted", "is_at"),
    [
        ("127.0.0.1:6433", ":6433", True),
        ("127.0.0.1:6433", "127.0.0.1:6433", True),
        ("127.0.0.1:16433", ":6433", False),
        ("[::1]:6433", ":6433", True),
        ("unix:/dir/.s.PGSQL.6433", "unix:/dir", True),
        ("unix:/dir/.s.PGSQL.6433", "/dir/.s.PGSQL.6433", True),
        ("unix:/dir/.s.PGSQL.6433", "unix:/other", False),
    ],
)
def test_an_address(address: str, wanted: str, is_at: bool) -> None:
    assert marking._is_at(address, wanted) == is_at


def test_a_directory_that_others_can_enter_is_left_alone(home: Path) -> None:
    directory = home / f"pgtrace-{marking.KIND}-x"
    directory.mkdir(0o755)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(directory / marking.SOCKET))
        sock.listen()
        assert marking.recorders() == []
