"""What is said about the beginning of connections before one comes: how many fit, and how long a driver may take."""

from __future__ import annotations

import signal
import socket
import subprocess
import time

import pytest

from pgtrace.cli import _run, root
from tests import commands


@pytest.mark.parametrize("command", [["listen", ":0"], ["demo"], ["run", "true"]])
def test_a_time_without_its_unit_is_taken_for_milliseconds_and_refused(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    name, *rest = command
    assert _run(root, [name, "--startup-timeout", "60", *rest]) == 2
    assert "--startup-timeout" in (error := capsys.readouterr().err)
    assert "at least 1s" in error


@pytest.mark.parametrize(("files", "says"), [(64, True), (4096, False)])
def test_how_many_connections_fit_is_said_at_the_start(files: int, says: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        limited = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({files}, {files}))"
        ran = commands.run("run", "--upstream", f"127.0.0.1:{server.getsockname()[1]}", "--", "true", before=limited)
    assert ran.returncode == 0, ran.stderr
    told = [line for line in ran.stderr.splitlines() if "connections fit" in line]
    assert len(told) == says
    if told:
        assert 5 <= int(told[0].removeprefix("pgtrace: ").split()[0]) <= 25
        assert "ulimit" in told[0]


def test_listen_closes_whoever_says_nothing() -> None:
    process = commands.Command(
        *("listen", "127.0.0.1:0", "--upstream", "127.0.0.1:1", "--no-tui", "--startup-timeout", "1s"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    address = process.stderr.readline().split()[1]
    began_s = time.monotonic()
    with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=20) as silent:
        assert silent.recv(1) == b""
    assert 0.9 < time.monotonic() - began_s < 10
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
