"""Temporary directories: private, gone with their owner, and what a killed owner left is removed by the next start."""

from __future__ import annotations

import os
import select
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pgtrace import temporary
from pgtrace.temporary import OWNER, PrivateDirectory

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="nothing is swept on Windows")
OWNS = """
import subprocess, sys
from pgtrace.temporary import PrivateDirectory
directory = PrivateDirectory("tls")
open(directory.path + "/listener.key", "w").write("secret")
if sys.argv[1] == "with a child":
    child = subprocess.Popen(["sleep", "600"], pass_fds=directory.locks, stdout=subprocess.DEVNULL)
    print(child.pid)
else:
    print(0)
print(directory.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only temporary directory there is."""
    monkeypatch.setattr(temporary, "SHORT", str(tmp_path))
    monkeypatch.setattr(temporary.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def start_again() -> None:
    """What the next process does."""
    temporary._swept.clear()
    temporary.sweep()


@contextmanager
def owner(*how: str) -> Iterator[tuple[subprocess.Popen[str], int, Path]]:
    """A process that has a directory; it, its child's pid or 0, the directory."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNS, *(how or ("alone",))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline()), Path(process.stdout.readline().strip())
        process.kill()


def test_what_a_killed_owner_left_is_removed_by_the_next_start() -> None:
    with owner() as (process, _, path):
        start_again()
        assert (path / "listener.key").exists()
        process.kill()
        process.wait()
        assert path.exists()
        start_again()
        assert not path.exists()


def test_a_child_is_an_owner_too() -> None:
    with owner("with a child") as (process, child, path):
        process.kill()
        process.wait()
        start_again()
        assert path.exists()
        handle = os.pidfd_open(child)
        os.kill(child, signal.SIGKILL)
        select.select([handle], [], [])
        os.close(handle)
        start_again()
        assert not path.exists()


def test_a_directory_is_private_and_goes_with_its_owner(here: Path) -> None:
    with PrivateDirectory("tls") as path:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
        assert os.path.basename(path).startswith("pgtrace-tls-")
        start_again()
        assert os.path.exists(path)
    assert list(here.iterdir()) == []


def test_what_is_to_stay_stays() -> None:
    directory = PrivateDirectory()
    directory.keep()
    start_again()
    assert os.listdir(directory.path) == []
    directory.remove()


def test_one_that_stays_takes_the_place_of_another(here: Path) -> None:
    for content in ("first", "second"):
        directory = PrivateDirectory("run", parent=str(here))
        (Path(directory.path) / "capture").write_text(content)
        directory.keep_as(str(here / "last"))
        start_again()
        assert [entry.name for entry in here.iterdir()] == ["last"]
        assert [entry.name for entry in (here / "last").iterdir()] == ["capture"]
        assert (here / "last" / "capture").read_text() == content


@pytest.mark.parametrize(
    "kind", ["without an owner", "a link", "a file", "an owner that is a link", "an owner that is a socket", "another name"]
)
def test_what_is_not_ours_is_left_alone(here: Path, tmp_path_factory: pytest.TempPathFactory, kind: str) -> None:
    """Whatever others put into a directory that everybody may write to."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / OWNER).write_text("")
    path = here / ("other-x" if kind == "another name" else "pgtrace-x")
    if kind == "a link":
        path.symlink_to(elsewhere)
    elif kind == "a file":
        path.write_text("")
    else:
        path.mkdir()
        if kind == "an owner that is a link":
            (path / OWNER).symlink_to(elsewhere / OWNER)
        elif kind == "an owner that is a socket":
            with socket.socket(socket.AF_UNIX) as sock:
                sock.bind(str(path / OWNER))
        elif kind == "another name":
            (path / OWNER).write_text("")
    start_again()
    assert os.path.lexists(path)
    assert (elsewhere / OWNER).exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a directory away")
def test_another_users_is_left_alone(here: Path) -> None:
    path = here / "pgtrace-x"
    path.mkdir()
    (path / OWNER).write_text("")
    os.chown(path, 65534, -1)
    start_again()
    assert path.exists()
    os.chown(path, 0, -1)
    start_again()
    assert not path.exists()


def test_a_sockets_path_has_room(here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    deep = tmp_path_factory.mktemp("d" * 100)
    monkeypatch.setattr(temporary.tempfile, "tempdir", str(deep))
    monkeypatch.setattr(temporary, "SHORT", "/tmp")
    with PrivateDirectory(holds=".s.PGSQL.6433") as path:
        assert len(os.path.join(path, ".s.PGSQL.6433")) <= temporary.LONGEST_SOCKET_PATH


LISTENS = """
import sys
from pgtrace.recorder import Recorder
from pgtrace.certificates import DriverTls
recorder = Recorder("127.0.0.1:0", "127.0.0.1:1", tls=DriverTls("end"))
recorder.start()
print(recorder.pid, recorder.port, flush=True)
sys.stdin.read()
"""


def test_a_recorder_that_outlives_its_parent_keeps_its_directories(here: Path) -> None:
    """It goes on until its last session has ended; killed, it leaves them to the next start."""
    with subprocess.Popen([sys.executable, "-c", LISTENS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        recorder, port = map(int, process.stdout.readline().split())
        with socket.create_connection(("127.0.0.1", port)):
            process.kill()
            process.wait()
            left = set(here.iterdir())
            assert {path.name.rpartition("-")[0] for path in left} == {"pgtrace", "pgtrace-tls"}
            start_again()
            assert set(here.iterdir()) == left
            handle = os.pidfd_open(recorder)
            os.kill(recorder, signal.SIGKILL)
            select.select([handle], [], [])
            os.close(handle)
            start_again()
            assert list(here.iterdir()) == []
