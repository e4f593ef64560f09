"""A helper process ends when the process that started it ends, `kill -9` included, and its directory with it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pgtrace.kept import CANNOT_START, Kept
from pgtrace.temporary import PrivateDirectory

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waiting for a process of somebody else's needs Linux")

HELPER = "import os, signal, sys, time; {before}; print(os.getpid(), flush=True); time.sleep(600)"
PARENT = """
import signal, sys
from pathlib import Path
from pgtrace.kept import Kept
helper = Kept([sys.executable, "-c", sys.argv[1]], orders=(signal.SIGTERM, signal.SIGUSR1), removes=Path(sys.argv[2]))
sys.stdin.read()
"""


def until_ended(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    assert select.select([descriptor], [], [], 30)[0], "the helper runs on"
    os.close(descriptor)


def read_pid(process: subprocess.Popen[bytes]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, None])
def test_it_ends_with_its_parent_however_that_ends(how: signal.Signals | None, tmp_path: Path) -> None:
    removed = tmp_path / "removed"
    removed.mkdir()
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, HELPER.format(before="pass"), str(removed)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    pid = read_pid(parent)
    if how is not None:
        parent.send_signal(how)
    parent.stdin.close()
    parent.wait()
    until_ended(pid)
    assert not parent.stdout.read(), "the keeper has closed its output too: it is gone"
    parent.stdout.close()
    assert not removed.exists()


def test_who_does_not_obey_gets_the_next_order() -> None:
    command = [sys.executable, "-c", HELPER.format(before="signal.signal(signal.SIGTERM, signal.SIG_IGN)")]
    with Kept(command, orders=(signal.SIGTERM, signal.SIGUSR1), stdout=subprocess.PIPE) as one:
        read_pid(one.process)
        one.release()
        assert one.process.wait(30) == 128 + signal.SIGUSR1
        assert one.process.stdout is not None
        one.process.stdout.close()


def test_it_ends_as_its_command_ended_and_removes_nothing_then(tmp_path: Path) -> None:
    with Kept([sys.executable, "-c", "raise SystemExit(7)"], removes=tmp_path) as one:
        assert one.process.wait(30) == 7
    assert tmp_path.exists()
    killed = "import os, signal; os.kill(os.getpid(), signal.SIGUSR2)"
    assert Kept([sys.executable, "-c", killed]).process.wait(30) == 128 + signal.SIGUSR2


def test_a_process_that_was_forked_meanwhile_does_not_hold_it() -> None:
    """multiprocessing forks: its child has all that was open, the pipe included."""
    with Kept([sys.executable, "-c", HELPER.format(before="pass")], stdout=subprocess.PIPE) as one:
        read_pid(one.process)
        with subprocess.Popen(["sleep", "60"], pass_fds=[one._held]) as forked:
            one.release()
            assert one.process.wait(30) == 128 + signal.SIGTERM
            forked.kill()
        assert one.process.stdout is not None
        one.process.stdout.close()


def test_what_cannot_be_started_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    assert Kept(["/nowhere/helper"]).process.wait(30) == CANNOT_START
    assert capfd.readouterr().err == "/nowhere/helper: No such file or directory\n"


def test_signals_are_passed_on() -> None:
    with Kept([sys.executable, "-c", HELPER.format(before="pass")], stdout=subprocess.PIPE) as one:
        read_pid(one.process)
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(30) == 128 + signal.SIGTERM
        assert one.process.stdout is not None
        one.process.stdout.close()


def test_a_directory_is_owned_until_its_helper_has_ended() -> None:
    """The keeper holds the lock, so that a sweep does not take the directory of a helper that still ends."""
    directory = PrivateDirectory()
    with Kept([sys.executable, "-c", HELPER.format(before="pass")], locks=directory.locks, stdout=subprocess.PIPE) as one:
        read_pid(one.process)
        inherited = {os.readlink(f"/proc/{one.process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{one.process.pid}/fd")}
        assert f"{directory.path}/.owner" in inherited
        one.stop()
        assert one.process.stdout is not None
        one.process.stdout.close()
    directory.remove()
