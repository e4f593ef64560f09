"""Two sockets and what the recorder does between them: bytes, ends, resets and back-pressure, as without it."""

from __future__ import annotations

import os
import select
import socket
import sys
import threading

import pytest

from pgtrace.capture.record import Close, Data
from pgtrace.faults import parse
from pgtrace.protocol.codes import BACKEND, FRONTEND
from tests.proxy.drivers import connect, log_in
from tests.proxy.recorded import of_kind, recording, records, stream, wait_for_end
from tests.proxy.upstreams import Scripted, echo
from tests.proxy.wire import READY, STARTUP, read_all, read_exactly, reset, row

MIB = 1 << 20
LINUX = sys.platform.startswith("linux")


def test_every_byte_comes_back_however_it_is_cut():
    session = STARTUP + b"Q\0\0\0\rselect 1\0" + bytes(range(256)) + b"X\0\0\0\4"
    with Scripted(echo) as server, recording(server.upstream) as recorder, connect(recorder) as driver:
        for byte in session:
            driver.sendall(bytes((byte,)))
        driver.shutdown(socket.SHUT_WR)
        assert read_all(driver) == READY + session[len(STARTUP) :]
        found = wait_for_end(recorder)
        assert stream(found, FRONTEND) == session
        assert stream(found, BACKEND) == READY + session[len(STARTUP) :]


def test_reads_are_passed_on_at_once_and_recorded_one_by_one():
    with Scripted(echo) as server, recording(server.upstream) as recorder, connect(recorder) as driver:
        log_in(driver)
        for piece in (b"a", b"bc", b"d" * 100):
            driver.sendall(piece)
            assert read_exactly(driver, len(piece)) == piece
        sent = [record.data for record in of_kind(records(recorder), Data) if record.side == FRONTEND]
        assert sent == [STARTUP, b"a", b"bc", b"d" * 100]


@pytest.mark.parametrize("frontend", [True, False])
def test_a_large_transfer_is_equal_at_both_ends(frontend):
    data = os.urandom(MIB) * 32
    received: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        read_exactly(connection, len(STARTUP))
        connection.sendall(READY)
        if frontend:
            received.append(read_all(connection))
        else:
            connection.sendall(data)

    with Scripted(serve) as server, recording(server.upstream) as recorder, connect(recorder) as driver:
        driver.sendall(STARTUP)
        read_exactly(driver, len(READY))
        if frontend:
            driver.sendall(data)
            driver.shutdown(socket.SHUT_WR)
            assert read_all(driver) == b""
        else:
            received.append(read_all(driver))
    assert [len(one) for one in received] == [len(data)]
    assert received[0] == data, "as long, and not the same"  # pytest would look for the difference first


def test_a_half_closed_driver_still_gets_its_answer():
    def serve(connection: socket.socket) -> None:
        request = read_all(connection)
        connection.sendall(b"answer to " + request[-3:])

    with Scripted(serve) as server, recording(server.upstream) as recorder, connect(recorder) as driver:
        driver.sendall(STARTUP + b"ask")
        driver.shutdown(socket.SHUT_WR)
        assert read_all(driver) == b"answer to ask"
        assert [(record.side, record.how) for record in of_kind(wait_for_end(recorder), Close)] == [(FRONTEND, "FIN")]


def test_a_half_closed_server_still_gets_bytes():
    got: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        read_exactly(connection, len(STARTUP))
        connection.sendall(b"last words")
        connection.shutdown(socket.SHUT_WR)
        got.append(read_all(connection))

    with Scripted(serve) as server, recording(server.upstream) as recorder, connect(recorder) as driver:
        driver.sendall(STARTUP)
        assert read_all(driver) == b"last words"
        driver.sendall(b"still here")
        driver.shutdown(socket.SHUT_WR)
        assert [(record.side, record.how) for record in of_kind(wait_for_end(recorder), Close)] == [(BACKEND, "FIN")]
    assert got == [b"still here"]


@pytest.mark.skipif(not LINUX, reason="what the kernel still has to send is known on Linux only")
def test_a_reset_by_the_server_comes_after_what_it_sent():
    last = row(os.urandom(3 * MIB))
    received = threading.Event()

    def serve(connection: socket.socket) -> None:
        read_exactly(connection, len(STARTUP))
        connection.sendall(READY + last)
        received.wait(20)
        reset(connection)

    with Scripted(serve) as server, recording(server.upstream) as recorder, connect(recorder) as driver:
        log_in(driver)
        assert read_exactly(driver, len(last)) == last
        received.set()
        with pytest.raises(ConnectionResetError):
            driver.recv(1)
        assert [(record.side, record.how) for record in of_kind(wait_for_end(recorder), Close)] == [(BACKEND, "RST")]


@pytest.mark.skipif(not LINUX, reason="what the kernel still has to send is known on Linux only")
def test_a_reset_does_not_overtake_bytes_the_driver_has_not_read():
    last = row(os.urandom(200_000))
    sent = threading.Event()

    def serve(connection: socket.socket) -> None:
        read_exactly(connection, len(STARTUP))
        connection.sendall(READY + last)
        sent.wait(20)
        reset(connection)

    with Scripted(serve) as server, recording(server.upstream) as recorder, connect(recorder) as driver:
        log_in(driver)
        while len(stream(records(recorder), BACKEND)) < len(READY + last):
            pass
        sent.set()
        assert read_exactly(driver, len(last)) == last
        with pytest.raises(ConnectionResetError):
            driver.recv(1)


def test_a_reset_by_the_driver_reaches_the_server():
    ends: list[str] = []

    def serve(connection: socket.socket) -> None:
        connection.sendall(READY)
        try:
            read_all(connection)
        except ConnectionResetError:
            ends.append("RST")
        else:
            ends.append("FIN")

    with Scripted(serve) as server, recording(server.upstream) as recorder:
        driver = connect(recorder)
        driver.sendall(STARTUP)
        read_exactly(driver, len(READY))
        reset(driver)
        assert [(record.side, record.how) for record in of_kind(wait_for_end(recorder), Close)] == [(FRONTEND, "RST")]
    assert ends == ["RST"]


def test_a_driver_that_writes_to_a_closed_server_is_reset_after_the_last_words():
    def serve(connection: socket.socket) -> None:
        read_exactly(connection, len(STARTUP))
        connection.sendall(b"terminating connection")

    with Scripted(serve) as server, recording(server.upstream) as recorder, connect(recorder) as driver:
        driver.sendall(STARTUP)
        assert read_all(driver) == b"terminating connection"
        ended = None
        while ended is None:
            try:
                driver.sendall(b"Q\0\0\0\5\0")
            except OSError as error:
                ended = error
        assert isinstance(ended, BrokenPipeError | ConnectionResetError)


@pytest.mark.parametrize(
    "options", [{}, {"rtt_ns": 2_000_000}, {"faults": [parse("delay 1ms before Sync")]}], ids=["plain", "rtt", "fault"]
)
def test_a_driver_that_does_not_read_stops_the_server(options):
    sent = [0]
    full = threading.Event()

    def serve(connection: socket.socket) -> None:
        read_exactly(connection, len(STARTUP))
        connection.sendall(READY)
        chunk = bytes(1 << 16)
        connection.setblocking(False)
        while True:
            try:
                sent[0] += connection.send(chunk)
            except BlockingIOError:
                if not select.select([], [connection], [], 1.0)[1]:
                    break
            assert sent[0] < 64 * MIB  # nobody takes that much
        full.set()
        connection.settimeout(20)
        connection.sendall(b"end")

    with Scripted(serve) as server, recording(server.upstream, **options) as recorder, connect(recorder) as driver:
        log_in(driver)
        assert full.wait(30)
        forwarded = len(stream(records(recorder), BACKEND))
        assert sent[0] - forwarded < 16 * MIB  # the rest waits in the kernel, not in the recorder
        assert len(read_all(driver)) == sent[0] + 3


def test_the_two_directions_do_not_wait_for_each_other():
    """A driver that writes a pipeline of 32 MiB and reads nothing, a server that answers all of it before it reads on: both finish."""
    size = 32 * MIB

    def serve(connection: socket.socket) -> None:
        read_exactly(connection, len(STARTUP))
        writer = threading.Thread(target=connection.sendall, args=(bytes(size),))
        writer.start()
        assert len(read_exactly(connection, size)) == size
        writer.join()

    with Scripted(serve) as server, recording(server.upstream) as recorder, connect(recorder) as driver:
        driver.sendall(STARTUP)
        driver.sendall(bytes(size))
        assert len(read_exactly(driver, size)) == size


def test_two_hundred_sessions_at_once():
    with Scripted(echo) as server, recording(server.upstream) as recorder:
        drivers = [connect(recorder) for _ in range(200)]
        for driver in drivers:
            driver.sendall(STARTUP)
        for number, driver in enumerate(drivers):
            assert read_exactly(driver, len(READY)) == READY
            driver.sendall(str(number).encode())
        for number, driver in enumerate(drivers):
            expected = str(number).encode()
            assert read_exactly(driver, len(expected)) == expected
        assert recorder.stats()["connections"] == 200
        for driver in drivers:
            driver.close()
        assert len(of_kind(wait_for_end(recorder), Close)) == 200
