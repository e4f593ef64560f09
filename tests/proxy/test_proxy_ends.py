"""Ends of directions: by whom, how and when, as the driver's socket shows them."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pgtrace.address import Host, Listen, Upstream
from pgtrace.capture.record import Close, Data, Ended, Record
from pgtrace.certificates import DriverTls
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.recorder import Recorder
from tests.proxy.drivers import Tls, connect, log_in
from tests.proxy.recorded import of_kind, recording, records, records_in, wait_for_end, wait_until_left
from tests.proxy.upstreams import Scripted
from tests.proxy.wire import READY, SSL_REQUEST, STARTUP, read_all, read_exactly, reset, row

QUERY = b"Q\0\0\0\x0cselect\0\0"
ANSWER = row(b"1")


def passed(found: list[Record]) -> list[str]:
    """What a capture says from the query on: `F`, `B` for bytes, `F FIN` for ends, `pgtrace RST` for ours, and the Close."""
    start = max((index for index, record in enumerate(found) if type(record) is Data and record.data == QUERY), default=0)
    said: list[str] = []
    for record in found[start:]:
        if type(record) is Data:
            said.append("FB"[record.side])
        elif type(record) in (Ended, Close):
            side = ("F", "B", "pgtrace")[record.side]  # type: ignore[union-attr]
            said.append(f"{'closed ' if type(record) is Close else ''}{side} {record.how}")  # type: ignore[union-attr]
    return said


class Turns:
    """A server that takes one query, waits for a word from the test, and does what it is there for."""

    def __init__(self, then: Callable[[socket.socket], None]) -> None:
        self.asked = threading.Event()
        self.go = threading.Event()
        self._then = then

    def serve(self, connection: socket.socket) -> None:
        read_exactly(connection, len(STARTUP))
        connection.sendall(READY)
        read_exactly(connection, len(QUERY))
        self.asked.set()
        assert self.go.wait(20)
        self._then(connection)


def answers(connection: socket.socket) -> None:
    connection.sendall(ANSWER)
    assert read_all(connection) == b""


def leaves(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_WR)
    assert read_all(connection) == b""


@pytest.mark.parametrize("family", ["TCP", "Unix"])
def test_a_driver_that_half_closes_and_reads(family: str, tmp_path: Path) -> None:
    turns = Turns(answers)
    with Scripted(turns.serve) as server, recording(server.upstream, at(family, tmp_path)) as recorder, connect(recorder) as driver:
        log_in(driver)
        driver.sendall(QUERY)
        driver.shutdown(socket.SHUT_WR)
        turns.go.set()
        assert read_all(driver) == ANSWER
        driver.close()
        assert passed(wait_for_end(recorder)) == ["F", "F FIN", "B", "B FIN", "closed F FIN"]


@pytest.mark.parametrize("family", ["TCP", "Unix"])
def test_a_driver_that_has_gone_resets_what_it_is_sent(family: str, tmp_path: Path) -> None:
    turns = Turns(answers)
    with Scripted(turns.serve) as server, recording(server.upstream, at(family, tmp_path)) as recorder, connect(recorder) as driver:
        log_in(driver)
        driver.sendall(QUERY)
        assert turns.asked.wait(20)
        driver.close()
        wait_until(recorder, Ended)
        turns.go.set()
        said = passed(wait_for_end(recorder))
        assert [word for word in said if word != "B FIN"] == ["F", "F FIN", "B", "F RST", "closed F FIN"]


def test_a_driver_that_resets() -> None:
    turns = Turns(lambda connection: None)
    with Scripted(turns.serve) as server, recording(server.upstream) as recorder:
        driver = connect(recorder)
        log_in(driver)
        driver.sendall(QUERY)
        assert turns.asked.wait(20)
        reset(driver)
        wait_until(recorder, Ended)
        turns.go.set()
        assert passed(wait_for_end(recorder)) == ["F", "F RST", "closed F RST"]


@pytest.mark.parametrize("how", ["FIN", "RST"])
def test_a_server_that_ends(how: str) -> None:
    turns = Turns(reset if how == "RST" else leaves)
    with Scripted(turns.serve) as server, recording(server.upstream) as recorder, connect(recorder) as driver:
        log_in(driver)
        driver.sendall(QUERY)
        assert turns.asked.wait(20)
        turns.go.set()
        if how == "FIN":
            assert read_all(driver) == b""
        else:
            with pytest.raises(ConnectionResetError):
                driver.recv(1)
        driver.close()
        said = passed(wait_for_end(recorder))
        assert said == (["F", "B FIN", "F FIN", "closed B FIN"] if how == "FIN" else ["F", "B RST", "closed B RST"])


def test_ends_of_pgtrace_itself(tmp_path: Path) -> None:
    """A recorder that is stopped, and a server that cannot be reached."""
    turns = Turns(lambda connection: None)
    kept = tmp_path / "kept.pgtrace"
    with Scripted(turns.serve) as server, contextlib.ExitStack() as opened:
        with recording(server.upstream, write=kept) as recorder:
            driver = opened.enter_context(connect(recorder))
            log_in(driver)
            driver.sendall(QUERY)
            assert turns.asked.wait(20)
        turns.go.set()
    assert passed(records_in(kept)) == ["F", "pgtrace FIN", "closed pgtrace pgtrace"]
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with recording(Upstream((Host("127.0.0.1", port),), sslmode="disable")) as recorder, connect(recorder) as driver:
        driver.sendall(STARTUP)
        assert read_all(driver)[:1] == b"E"
        driver.close()
        said = passed(wait_for_end(recorder))
        assert said == ["F", "pgtrace FIN", "F FIN", "closed pgtrace pgtrace"]


def logged_in(driver: socket.socket) -> Tls:
    """TLS that ends in the recorder, behind the start-up."""
    driver.sendall(SSL_REQUEST)
    assert driver.recv(1) == b"S"
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    tls = Tls(driver, context)
    tls.handshake(STARTUP)
    assert tls.receive(len(READY)) == READY
    return tls


def test_a_driver_that_says_it_in_tls() -> None:
    turns = Turns(answers)
    with Scripted(turns.serve) as server, recording(server.upstream, tls=DriverTls("end")) as recorder, connect(recorder) as driver:
        tls = logged_in(driver)
        tls.send(QUERY, ends=True)
        turns.go.set()
        assert tls.receive(len(ANSWER)) == ANSWER
        assert tls.is_over()
        driver.close()
        assert passed(wait_for_end(recorder)) == ["F", "F close_notify", "B", "B close_notify", "closed F FIN"]


@pytest.mark.parametrize("says_so", [True, False], ids=["close_notify", "silent"])
def test_a_driver_that_has_gone_in_tls(says_so: bool) -> None:
    """With its goodbye, or killed: what comes later reaches nobody, and nothing waits for a dead driver."""
    turns = Turns(lambda connection: connection.sendall(ANSWER))
    with Scripted(turns.serve) as server, recording(server.upstream, tls=DriverTls("end")) as recorder, connect(recorder) as driver:
        tls = logged_in(driver)
        tls.send(QUERY, ends=says_so)
        assert turns.asked.wait(20)
        driver.close()
        wait_until(recorder, Ended)
        began = time.monotonic()
        turns.go.set()
        said = passed(wait_for_end(recorder))
        assert time.monotonic() - began < 5
        assert said[0] == "F"
        assert said[1] == ("F close_notify" if says_so else "F FIN")
        assert "F RST" in said
        assert said[-1] == "closed F FIN"


@pytest.mark.parametrize("half", [False, True], ids=["", "half-closed before"])
def test_a_driver_that_resets_while_it_has_not_taken_what_came_before_a_servers_reset(half: bool) -> None:
    """Nobody reads its socket any more, and what it has not taken counts as undelivered for good: its session ends all the same."""
    gone = threading.Event()

    def floods(connection: socket.socket) -> None:
        connection.sendall(row(bytes(60_000)))
        if half:
            assert connection.recv(1) == b""
        time.sleep(0.2)  # until all of it is in the kernel of the driver's leg
        reset(connection)
        gone.set()

    turns = Turns(floods)
    with Scripted(turns.serve) as server, recording(server.upstream) as recorder:
        driver = socket.socket()
        driver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        driver.connect((recorder.host, recorder.port))
        log_in(driver)
        driver.sendall(QUERY)
        turns.go.set()
        if half:
            driver.shutdown(socket.SHUT_WR)
        assert gone.wait(20)
        time.sleep(0.2)  # the server's reset has come, and waits for the driver
        reset(driver)
        wait_until_left(recorder, 0, within_s=10)
        assert passed(records(recorder))[-1].startswith("closed ")


@pytest.mark.parametrize("goes", ["close", "reset"])
def test_times_behind_a_delay(goes: str) -> None:
    """The driver's end has the time at which it is read, the server's that at which the driver gets it."""
    turns = Turns(answers if goes == "close" else lambda connection: connection.sendall(ANSWER))
    with Scripted(turns.serve) as server, recording(server.upstream, rtt_ns=400_000_000) as recorder:
        driver = connect(recorder)
        log_in(driver)
        driver.sendall(QUERY)
        turns.go.set()
        assert read_exactly(driver, len(ANSWER)) == ANSWER
        before = time.monotonic_ns()
        if goes == "close":
            driver.shutdown(socket.SHUT_WR)
            assert driver.recv(1) == b""
            got = time.monotonic_ns()
            driver.close()
        else:
            reset(driver)
        found = wait_for_end(recorder)
        ends = {record.side: record for record in found if type(record) is Ended}
        assert 0 <= ends[FRONTEND].time_ns - before < 150_000_000
        if goes == "close":
            assert abs(ends[BACKEND].time_ns - got) < 150_000_000
            assert got - before >= 400_000_000


def at(family: str, tmp_path: Path) -> Listen:
    return Listen((), 6433, str(tmp_path)) if family == "Unix" else Listen(("127.0.0.1",), 0)


def wait_until(recorder: Recorder, kind: type[Record]) -> None:
    """Until something of that kind is recorded."""
    while not of_kind(records(recorder), kind):
        pass
