"""How `pgtrace listen` ends without a screen: on the first signal, whatever becomes of what it writes."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgtrace.demo.embedded import EmbeddedServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has small pipes, and says which signals a process catches")

PIPE_BYTES = 4096
"""The smallest pipe there is."""
WITHIN_S = 20.0


@contextlib.contextmanager
def listening(
    server: EmbeddedServer, *more: str, stdout: int, stderr: int, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "pgtrace", "listen", "127.0.0.1:0", "--upstream", f"{server.host}:{server.port}", *more]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")} | (env or {})
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def first_lines(descriptor: int) -> str:
    """What is written up to the line with the address."""
    text = ""
    while not re.search(r":\d+ -> .*\n", text):
        assert select.select([descriptor], [], [], WITHIN_S)[0], text
        text += os.read(descriptor, PIPE_BYTES).decode()
    return text


def port_in(text: str) -> int:
    return int(re.findall(r":(\d+) ->", text)[0])


def fill(server: EmbeddedServer, port: int, descriptor: int) -> None:
    """Work until what is written stays where it is."""
    import psycopg

    before, unread = -1, array.array("i", [0])
    deadline = time.monotonic() + WITHIN_S
    with psycopg.connect(server.url("127.0.0.1", port), autocommit=True) as connection:
        while unread[0] == 0 or unread[0] != before:
            assert time.monotonic() < deadline
            before = unread[0]
            for _ in range(300):
                connection.execute("select 1 as something_that_is_long_enough_to_fill_a_line_of_a_terminal")
            select.select([], [], [], 0.5)  # five turns of the lines
            fcntl.ioctl(descriptor, termios.FIONREAD, unread)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
@pytest.mark.parametrize("unread", ["stdout", "stdout and stderr", "terminal"])
def test_the_first_signal_ends_it_though_nobody_reads(server: EmbeddedServer, unread: str, number: signal.Signals, code: int) -> None:
    with contextlib.ExitStack() as opened:
        reader, writer = pty.openpty() if unread == "terminal" else os.pipe()
        errors, error_writer = os.pipe()
        for descriptor in (reader, errors):
            opened.callback(os.close, descriptor)
        if unread != "terminal":
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        both = unread == "stdout and stderr"
        with listening(server, stdout=writer, stderr=writer if both else error_writer) as process:
            os.close(writer)
            os.close(error_writer)
            port = port_in(first_lines(reader if both else errors))
            fill(server, port, reader)
            process.send_signal(number)
            assert process.wait(WITHIN_S) == code


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_what_was_recorded_is_there_and_printed(server: EmbeddedServer, tmp_path, number: signal.Signals, code: int) -> None:
    """Nothing is lost to a reader that reads."""
    import psycopg

    reader, writer = os.pipe()
    errors, error_writer = os.pipe()
    with listening(server, "-w", str(tmp_path / "capture"), stdout=writer, stderr=error_writer) as process:
        os.close(writer)
        os.close(error_writer)
        with psycopg.connect(server.url("127.0.0.1", port_in(first_lines(errors))), autocommit=True) as connection:
            connection.execute("select 41 + 1")
            process.send_signal(number)
            with open(reader, encoding="utf-8") as printed, open(errors, encoding="utf-8") as said:
                assert "select 41 + 1" in printed.read()
                assert "capture written to" in said.read()
            assert process.wait(WITHIN_S) == code


def test_a_signal_while_it_starts(server: EmbeddedServer) -> None:
    """Before anything listens: it ends in order all the same, with nothing left behind."""
    errors, error_writer = os.pipe()
    with listening(server, stdout=subprocess.DEVNULL, stderr=error_writer) as process:
        os.close(error_writer)
        caught = 0
        while not caught & 1 << (signal.SIGTERM - 1):
            with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
                caught = int(re.findall(r"SigCgt:\t(\w+)", status.read())[0], 16)
        process.send_signal(signal.SIGTERM)
        assert process.wait(WITHIN_S) == 0
        os.close(errors)


CAPTURE = Path(__file__).parents[2] / "captures" / "psql" / "connect.pgtrace"


def test_a_dumb_terminal_gets_lines(server: EmbeddedServer) -> None:
    import psycopg

    reader, writer = pty.openpty()
    command = [sys.executable, "-m", "pgtrace", "listen", "127.0.0.1:0", "--upstream", f"{server.host}:{server.port}"]
    with subprocess.Popen(command, stdin=writer, stdout=writer, stderr=writer, env=os.environ | {"TERM": "dumb"}) as process:
        os.close(writer)
        text = first_lines(reader)
        with psycopg.connect(server.url("127.0.0.1", port_in(text)), autocommit=True) as connection:
            connection.execute("select 41 + 1")
        while "Terminate" not in text:
            assert select.select([reader], [], [], WITHIN_S)[0], text
            text += os.read(reader, PIPE_BYTES).decode()
        process.send_signal(signal.SIGTERM)
        assert process.wait(WITHIN_S) == 0
    os.close(reader)
    assert "select 41 + 1" in text
    assert "\x1b" not in text
    shown = subprocess.run(
        [sys.executable, "-m", "pgtrace", "open", str(CAPTURE)], env=os.environ | {"TERM": "dumb"}, capture_output=True, text=True
    )
    assert (shown.returncode, "TERM is dumb" in shown.stderr) == (2, True)


INTERRUPTED_AT = """
import signal, sys
from pgtrace.cli.stopping import Stop

def step(frame, event, argument):
    global steps
    steps += 1
    if steps == at:
        signal.raise_signal(signal.SIGTERM)
    return step

for at in range(1, 60):
    stop, steps = Stop(), 0
    sys.settrace(step)
    while not stop.wait(0.001):
        pass
    sys.settrace(None)
    stop.over()
    assert stop.is_set() and stop.exit_code == 0 and steps >= at
"""


def test_a_signal_between_any_two_steps_of_the_waiting_is_heard() -> None:
    """The handler runs inside what it interrupts: one that needed a lock of it would wait for ever."""
    subprocess.run([sys.executable, "-c", INTERRUPTED_AT], check=True, timeout=WITHIN_S)
