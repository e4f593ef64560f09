"""The process at the driver's end becomes a fact of its connection: real processes, over TCP and Unix sockets."""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pgtrace.address import Listen
from pgtrace.capture.peer import KEY, Process, read
from pgtrace.capture.record import Fact
from pgtrace.proxy import driver_processes
from pgtrace.proxy.driver_processes import DriverProcesses, DriverSocket, driver_socket, look
from pgtrace.recorder import Recorder
from tests.proxy.drivers import connect
from tests.proxy.recorded import of_kind, recording, records
from tests.proxy.upstreams import Scripted, echo
from tests.proxy.wire import READY, STARTUP, read_exactly

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found on Linux alone")
CLIENT = """
import socket, sys
family, address, name, sockets = sys.argv[1], eval(sys.argv[2]), eval(sys.argv[3]), []
if name:
    open("/proc/self/comm", "wb").write(name)
for _ in range(int(sys.argv[4])):
    sock = socket.socket(getattr(socket, family))
    sock.connect(address)
    sock.sendall(bytes.fromhex(sys.argv[5]))
    sock.recv(100)
    sockets.append(sock)
print("connected", flush=True)
sys.stdin.read()
"""
WITHIN_S = 20.0


@contextmanager
def client(family: str, address: object, *, name: bytes = b"", sockets: int = 1) -> Iterator[int]:
    """A process with that many connections, until it has what it waits for; its id."""
    command = [sys.executable, "-c", CLIENT, family, repr(address), repr(name), str(sockets), STARTUP.hex()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "connected\n"
        yield process.pid
        process.communicate()


def processes(recorder: Recorder, *wanted: int) -> dict[int, Process | None]:
    """By connection, once those wanted are there."""
    until = time.monotonic() + WITHIN_S
    while time.monotonic() < until:
        found = {fact.connection: read(fact.value) for fact in of_kind(records(recorder), Fact) if fact.key == KEY}
        if found.keys() >= set(wanted):
            return found
    pytest.fail("no process was found")


@pytest.mark.parametrize(
    ("family", "host", "listen"),
    [
        ("AF_INET", "127.0.0.1", "127.0.0.1"),
        ("AF_INET6", "::ffff:127.0.0.1", "127.0.0.1"),
        ("AF_INET6", "::1", "::1"),
    ],
)
def test_over_tcp(family, host, listen):
    with (
        Scripted(echo) as server,
        recording(server.upstream, Listen((listen,), 0)) as recorder,
        client(family, (host, recorder.port), name=b"checkout web") as pid,
    ):
        assert processes(recorder, 1) == {1: Process(pid, "checkout web")}


def test_over_a_unix_socket(tmp_path):
    directory = tmp_path / "sockets"
    with (
        Scripted(echo) as server,
        recording(server.upstream, Listen((), 6433, str(directory))) as recorder,
        client("AF_UNIX", f"{directory}/.s.PGSQL.6433", name=b"worker") as pid,
    ):
        assert processes(recorder, 1) == {1: Process(pid, "worker")}


def test_many_connections_of_two_processes():
    with Scripted(echo) as server, recording(server.upstream) as recorder:
        address = ("127.0.0.1", recorder.port)
        with client("AF_INET", address, name=b"one", sockets=40) as one, client("AF_INET", address, name=b"two", sockets=40) as two:
            found = processes(recorder, *range(1, 81))
    assert found == {number: Process(one, "one") if number <= 40 else Process(two, "two") for number in range(1, 81)}


def test_a_name_is_kept_as_the_process_wrote_it():
    with (
        Scripted(echo) as server,
        recording(server.upstream) as recorder,
        client("AF_INET", ("127.0.0.1", recorder.port), name=b"\x1b]0;a\x07\n\xff b") as pid,
    ):
        assert processes(recorder, 1) == {1: Process(pid, "\x1b]0;a\x07\n\udcff b")}


def test_a_process_that_is_gone_keeps_nobody_else_from_being_found():
    with Scripted(echo) as server, recording(server.upstream) as recorder, connect(recorder) as held:
        held.sendall(STARTUP)
        assert read_exactly(held, len(READY)) == READY
        assert processes(recorder, 1)[1].pid == os.getpid()
        with client("AF_INET", ("127.0.0.1", recorder.port)):
            pass
        with client("AF_INET", ("127.0.0.1", recorder.port)) as pid:
            assert processes(recorder, 3)[3].pid == pid


def test_a_socket_nobody_has_any_more_is_not_found():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as sock:
            accepted, peer = listener.accept()
            ends = (peer, accepted.getsockname())
            assert [(connection, process.pid) for connection, process in look([DriverSocket(1, 0, ends)], [os.getpid()])] == [
                (1, os.getpid())
            ]
            accepted.close()
        assert sock.fileno() == -1
        assert look([DriverSocket(1, 0, ends)], [os.getpid()]) == []


def test_another_hosts_process_is_not_looked_for():
    with socket.socket() as sock:
        assert driver_socket(1, sock, ("192.0.2.7", 4000), ("192.0.2.1", 6433)) is None
        assert driver_socket(1, sock, ("192.0.2.1", 4000), ("192.0.2.1", 6433)) == DriverSocket(
            1, 0, (("192.0.2.1", 4000), ("192.0.2.1", 6433))
        )


def test_what_waits_is_bounded(monkeypatch):
    monkeypatch.setattr(driver_processes, "WAITING", 3)
    monkeypatch.setattr(DriverProcesses, "_run", lambda self: None)
    asked = DriverProcesses(lambda found: None)
    with socket.socket() as sock:
        for number in range(10):
            asked.ask(number, sock, ("127.0.0.1", 4000 + number), ("127.0.0.1", 6433))
    assert asked._waiting.qsize() == 3


def test_nobody_looks_where_descriptors_are_short(monkeypatch):
    looked, found, short = [], queue.SimpleQueue(), threading.Event()
    monkeypatch.setattr(driver_processes, "look", lambda peers, known: looked.append([peer.connection for peer in peers]) or [])
    asked = DriverProcesses(found.put, may_look=lambda: not short.is_set())
    with socket.socket() as sock:
        for number in range(3):
            asked.ask(number, sock, ("127.0.0.1", 4000), ("127.0.0.1", 6433))
            assert found.get(timeout=20) == []
            short.set() if number == 0 else short.clear()
    asked.stop()
    assert looked == [[0], [2]]


@pytest.mark.parametrize("text", [None, "", "4711", "x python", "-1 python", "٤٢ python", f"{'9' * 30} python"])
def test_a_fact_that_says_something_else_is_none(text):
    assert read(text) is None
    assert read("4711 tmux: server") == Process(4711, "tmux: server")
