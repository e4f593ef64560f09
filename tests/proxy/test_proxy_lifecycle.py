"""The life of connections where it is hard: dead peers, servers that come and go, crowds, no descriptors left, an orderly stop.

What two sockets and the bytes between them owe each other is in test_proxy_relay.py, the beginning in test_proxy_startup.py.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import selectors
import signal
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgtrace.address import Host, Listen, Upstream
from pgtrace.capture.peer import KEY
from pgtrace.capture.record import Close, End, Fact, Made
from pgtrace.certificates import DriverTls
from pgtrace.demo.ports import free_port
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.protocol.fields import error_fields
from pgtrace.proxy.kernel import KEEPALIVE_IDLE_S
from pgtrace.recorder import Recorder
from tests.proxy.drivers import Tls, connect, log_in
from tests.proxy.recorded import of_kind, recording, records, records_in, stream, wait_for_end, wait_until_left
from tests.proxy.upstreams import Scripted, echo
from tests.proxy.wire import READY, SSL_REQUEST, STARTUP, read_all, read_exactly, reset, row

LINUX = sys.platform.startswith("linux")
KEY_DATA = struct.pack(">cIi", b"K", 12, 4711) + b"\x01\x02\x03\x04"
CANCEL = struct.pack(">IIi", 16, 80877102, 4711) + b"\x01\x02\x03\x04"


# Ends.


@pytest.mark.parametrize("how", ["FIN", "RST"])
def test_a_server_lost_in_the_middle_of_a_message(how: str) -> None:
    """What arrived is delivered, then the same end; nothing is injected."""
    half = row(b"x" * 1000)[:500]
    delivered = threading.Event()

    def serve(connection: socket.socket) -> None:
        read_exactly(connection, len(STARTUP))
        connection.sendall(READY)
        connection.recv(100)
        connection.sendall(half)
        assert delivered.wait(20)
        if how == "RST":
            reset(connection)

    with Scripted(serve) as server, recording(server.upstream) as recorder, connect(recorder) as driver:
        log_in(driver)
        driver.sendall(b"Q\0\0\0\x0cselect\0\0")
        assert read_exactly(driver, len(half)) == half
        delivered.set()
        if how == "RST":
            with pytest.raises(ConnectionResetError):
                driver.recv(1)
        else:
            assert driver.recv(1) == b""
        driver.close()
        found = wait_for_end(recorder)
    assert of_kind(found, Made) == []
    assert stream(found, BACKEND) == READY + half
    assert [(record.side, record.how) for record in of_kind(found, Close)] == [(BACKEND, how)]  # type: ignore[union-attr]


def test_a_server_that_comes_back_serves_new_connections_at_once() -> None:
    port = free_port()
    with recording(Upstream((Host("127.0.0.1", port),), sslmode="disable")) as recorder:
        for _ in range(3):
            with connect(recorder) as driver:
                driver.sendall(STARTUP)
                assert error_fields(read_all(driver)[5:])["C"] == "57P03"
            with socket.create_server(("127.0.0.1", port)) as listener, connect(recorder) as driver:
                driver.sendall(STARTUP)
                served, _ = listener.accept()
                with served:
                    assert read_exactly(served, len(STARTUP)) == STARTUP
                    served.sendall(READY)
                    assert read_exactly(driver, len(READY)) == READY
                    driver.close()
                    assert served.recv(1) == b""  # it ends first, so that the port is free again


@pytest.mark.skipif(not LINUX, reason="timers of sockets are read from /proc")
def test_a_dead_peer_is_asked_after_a_minute() -> None:
    with Scripted(echo) as server, recording(server.upstream) as recorder, connect(recorder) as driver:
        log_in(driver)
        timers = []
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, remote, state, _, timer, *_ = line.split()
            is_ours = local.rpartition(":")[2] == f"{recorder.port:04X}" or remote.rpartition(":")[2] == f"{server.port:04X}"
            if state == "01" and is_ours:
                timers.append(timer)
        assert len(timers) == 2  # the recorder's port is local in the driver's leg, the server's remote in the other
        for timer in timers:
            kind, _, ticks = timer.partition(":")
            assert kind == "02"  # keep-alive
            assert int(ticks, 16) <= KEEPALIVE_IDLE_S * os.sysconf("SC_CLK_TCK")


# Cancels.


@pytest.mark.parametrize("ends", [False, True], ids=["waits", "ends its direction"])
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "TLS"])
def test_a_cancel_ends_when_the_server_closes_and_not_before(encrypted: bool, ends: bool) -> None:
    """libpq takes the end for the server's word that the cancel was carried out; some drivers half-close before they wait for it."""
    got, closes = threading.Event(), threading.Event()

    def serve(connection: socket.socket) -> None:
        if read_exactly(connection, 16) == CANCEL:
            got.set()
            assert closes.wait(20)

    tls = DriverTls("end") if encrypted else DriverTls()
    with Scripted(serve) as server, recording(server.upstream, tls=tls) as recorder, connect(recorder) as driver:
        if encrypted:
            driver.sendall(SSL_REQUEST)
            assert read_exactly(driver, 1) == b"S"
            within = Tls(driver, ssl.create_default_context(cafile=str(recorder.authority)))
            within.handshake()
            within.send(CANCEL, ends=ends)
            while not got.is_set() or select.select([driver], [], [], 0)[0]:  # what comes by then is the handshake's
                if select.select([driver], [], [], 0.05)[0]:
                    within.take()
            assert not within.has_ended()
        else:
            driver.sendall(CANCEL)
            if ends:
                driver.shutdown(socket.SHUT_WR)
        assert got.wait(20)
        assert select.select([driver], [], [], 0.1)[0] == []
        closes.set()
        assert within.is_over() if encrypted else driver.recv(1) == b""


# Start-up bytes.


@pytest.mark.parametrize(
    "body",
    [
        b"\0\3\0\2user\0me\0\0",
        b"\0\3\x27\x0fuser\0me\0_pq_.test_protocol_negotiation\0\0\0",
        b"\0\3\0\0user\0J\xfcrgen\0database\0\xe9t\xe9\0options\0-c work_mem=1MB -c search_path=a\\ b\0\0",
        b"\0\3\0\0user\0me\0replication\0database\0\0",
        b"\0\3\0\0\0",
    ],
)
def test_a_startup_message_is_forwarded_verbatim(body: bytes) -> None:
    startup = struct.pack(">I", len(body) + 4) + body
    heard: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        heard.append(read_exactly(connection, len(startup)))
        connection.sendall(READY)

    with Scripted(serve) as server, recording(server.upstream) as recorder, connect(recorder) as driver:
        driver.sendall(startup)
        assert read_exactly(driver, len(READY)) == READY
        assert heard == [startup]


# Crowds.


class Crowd:
    """A server for any number of connections in one thread: lets everybody in, sends back what comes."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self._listener.getsockname()[1]
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def upstream(self) -> Upstream:
        return Upstream((Host("127.0.0.1", self.port),), sslmode="disable")

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._stopped, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    sock = key.fileobj
                    assert isinstance(sock, socket.socket)
                    if sock is self._stopped:
                        return
                    if sock is self._listener:
                        selector.register(sock.accept()[0], selectors.EVENT_READ)
                        continue
                    data = b""
                    with contextlib.suppress(ConnectionError):
                        data = sock.recv(1 << 16)
                    if not data:
                        selector.unregister(sock)
                        sock.close()
                    elif data == STARTUP:
                        sock.sendall(READY)
                    else:
                        sock.sendall(data)

    def __enter__(self) -> Crowd:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.sendall(b"x")
        self._thread.join(20)
        for sock in (self._listener, self._stop, self._stopped):
            sock.close()


@pytest.fixture
def many_files() -> Iterator[None]:
    """A test process that may have a thousand connections at both ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    assert wanted >= 2200, "this test needs 2,200 open files: raise ulimit -Hn"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_connects_at_once(many_files: None) -> None:
    with Crowd() as server, recording(server.upstream) as recorder, contextlib.ExitStack() as stack:
        drivers = []
        for _ in range(1000):
            driver = stack.enter_context(socket.socket())
            driver.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                driver.connect((recorder.host, recorder.port))
            drivers.append(driver)
        for number, driver in enumerate(drivers):
            assert is_writable(driver)
            driver.settimeout(60)
            driver.sendall(STARTUP)
            assert driver.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0, number
        for driver in drivers:
            assert read_exactly(driver, len(READY)) == READY
        for number, driver in enumerate(drivers):
            driver.sendall(row(str(number).encode()))
        for number, driver in enumerate(drivers):
            expected = row(str(number).encode())
            assert read_exactly(driver, len(expected)) == expected
        stats = recorder.stats()
        assert (stats["connections"], stats["accepted"], stats["lost_bytes"]) == (1000, 1000, 0)


def is_writable(sock: socket.socket) -> bool:
    poll = select.poll()  # select() takes no descriptor beyond 1023
    poll.register(sock, select.POLLOUT)
    return bool(poll.poll(60_000))


# No descriptors left.


def allow(recorder: Recorder, sessions: int) -> None:
    """Leave the recorder descriptors for so many sessions, beside those it has and its reserve."""
    own = len(os.listdir(f"/proc/{recorder.pid}/fd"))
    _, hard = resource.prlimit(recorder.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(recorder.pid, resource.RLIMIT_NOFILE, ((own + 2 * sessions) * 4 // 3, hard))  # of few, a quarter is reserved


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not LINUX, reason="another process's limits are set by prlimit")
def test_without_descriptors_drivers_are_told_and_cancels_pass() -> None:
    cancels: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        first = connection.recv(1000)
        if first == STARTUP:
            connection.sendall(READY[:9] + KEY_DATA + READY[9:])
            while data := connection.recv(1000):
                connection.sendall(data)
        else:
            cancels.append(first)

    with Scripted(serve) as server, recording(server.upstream) as recorder, contextlib.ExitStack() as stack:
        allow(recorder, 8)
        inside: list[socket.socket] = []
        for _ in range(20):
            driver = stack.enter_context(connect(recorder))
            driver.sendall(SSL_REQUEST)
            assert driver.recv(1) == b"N"
            driver.sendall(STARTUP)
            answer = driver.recv(1)
            if answer == b"E":
                fields = error_fields((answer + read_all(driver))[5:])
                assert (fields["S"], fields["C"], fields["M"]) == ("FATAL", "53300", "pgtrace: too many connections")
                assert "ulimit -n" in fields["H"]
                driver.close()
            else:
                read_exactly(driver, len(READY) + len(KEY_DATA) - 1)
                inside.append(driver)
        assert 5 <= len(inside) <= 12
        with connect(recorder) as cancelling:
            cancelling.sendall(CANCEL)
            assert read_all(cancelling) == b""
        assert cancels == [CANCEL]
        for driver in inside:
            driver.sendall(b"H\0\0\0\4")
            assert read_exactly(driver, 5) == b"H\0\0\0\4"
        inside.pop().close()
        wait_until_left(recorder, len(inside))
        with connect(recorder) as again:
            again.sendall(STARTUP)
            assert read_exactly(again, len(READY) + len(KEY_DATA))[:1] == b"R"
        assert server.accepted == len(cancels) + len(inside) + 2


@pytest.mark.skipif(not LINUX, reason="another process's limits are set by prlimit")
def test_beyond_the_reserve_nobody_waits_and_nothing_spins() -> None:
    """Drivers that say nothing take every descriptor there is: the rest is closed, sessions go on, and all is well once they leave."""
    with Scripted(echo) as server, recording(server.upstream) as recorder, connect(recorder) as session:
        log_in(session)
        looked_by = time.monotonic() + 20
        while not any(fact.key == KEY for fact in of_kind(records(recorder), Fact)) and time.monotonic() < looked_by:
            time.sleep(0.01)  # who looks for a driver's process needs descriptors, too
        allow(recorder, 2)
        before = cpu_s(recorder.pid)
        silent = [connect(recorder) for _ in range(200)]
        closed = 0
        for driver in silent[-50:]:
            with contextlib.suppress(ConnectionError):
                assert driver.recv(1) == b""
            closed += 1
        assert closed == 50
        for _ in range(50):
            session.sendall(b"H\0\0\0\4")
            assert read_exactly(session, 5) == b"H\0\0\0\4"
            assert recorder.stats()["connections"] < 150
        began, busy = time.monotonic(), cpu_s(recorder.pid)
        select.select([session], [], [], 0.5)  # nothing happens
        assert cpu_s(recorder.pid) - busy <= 0.1 * (time.monotonic() - began)
        assert busy - before < 2
        for driver in silent:
            driver.close()
        wait_until_left(recorder, 1)
        with connect(recorder) as again:
            log_in(again)


# The upstream first.


@pytest.mark.parametrize("first", [b"", STARTUP, SSL_REQUEST, b"GET / HTTP/1.1\r\n\r\n"])
def test_with_dial_first_a_driver_without_upstream_is_reset(first: bytes) -> None:
    port = free_port()
    with recording(Upstream((Host("127.0.0.1", port),), sslmode="disable"), dial_first=True) as recorder, connect(recorder) as driver:
        with pytest.raises(ConnectionResetError):
            driver.recv(1 if first == b"" or driver.send(first) else 0)
        found = wait_for_end(recorder)
        assert of_kind(found, Made) == []
        assert [(record.side, record.how) for record in of_kind(found, Close)] == [(2, "pgtrace")]  # type: ignore[union-attr]
        assert [record.key for record in of_kind(found, Fact) if record.key != "peer.process"] == ["upstream.error"]  # type: ignore[union-attr]


def test_with_dial_first_a_health_check_reaches_the_server_and_leaves() -> None:
    def serve(connection: socket.socket) -> None:
        assert read_all(connection) == b""

    with Scripted(serve) as server, recording(server.upstream, dial_first=True) as recorder:
        with connect(recorder):
            while not server.accepted:
                pass
        wait_for_end(recorder)
        assert server.accepted == 1


@pytest.mark.parametrize("tls", [DriverTls(), DriverTls("end")], ids=["plain", "TLS"])
@pytest.mark.parametrize("rtt_ns", [0, 2_000_000])
def test_with_dial_first_a_session_uses_that_connection(tls: DriverTls, rtt_ns: int) -> None:
    with Scripted(echo) as server, recording(server.upstream, dial_first=True, tls=tls, rtt_ns=rtt_ns) as recorder:
        for _ in range(3):
            with connect(recorder) as driver:
                driver.sendall(SSL_REQUEST)
                assert driver.recv(1) == (b"S" if tls.mode == "end" else b"N")
                if tls.mode == "end":
                    context = ssl.create_default_context(cafile=str(recorder.authority))
                    with context.wrap_socket(driver, server_hostname="localhost") as encrypted:
                        log_in(encrypted)
                else:
                    log_in(driver)
        found = wait_for_end(recorder)
        assert server.accepted == 3
        assert len(of_kind(found, Close)) == 3


def test_with_dial_first_a_cancel_still_goes_to_its_session() -> None:
    heard: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        heard.append(connection.recv(100))

    with Scripted(serve) as server, recording(server.upstream, dial_first=True) as recorder, connect(recorder) as driver:
        driver.sendall(CANCEL)
        assert read_all(driver) == b""
        assert heard == [CANCEL]
        assert server.accepted == 1


# An orderly stop.


def gone(pid: int) -> bool:
    try:
        return " Z " in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def stop_accepting(recorder: Recorder) -> None:
    """Ask for the orderly stop, and wait until nobody new gets in."""
    os.kill(recorder.pid, signal.SIGTERM)
    with contextlib.suppress(ConnectionError):
        while True:
            connect(recorder).close()


@pytest.mark.skipif(not LINUX, reason="processes are looked at in /proc")
def test_sigterm_lets_sessions_finish(tmp_path: Path) -> None:
    path = tmp_path / "stopped.pgtrace"
    with Scripted(echo) as server, Recorder(Listen(("127.0.0.1",), 0), server.upstream, write=path) as recorder:
        with connect(recorder) as driver:
            log_in(driver)
            stop_accepting(recorder)
            driver.sendall(b"H\0\0\0\4")
            assert read_exactly(driver, 5) == b"H\0\0\0\4"
            assert not gone(recorder.pid)
        while not gone(recorder.pid):
            pass
    found = records_in(path)
    assert type(found[-1]) is End
    assert stream(found, FRONTEND) == STARTUP + b"H\0\0\0\4"


@pytest.mark.skipif(not LINUX, reason="processes are looked at in /proc")
def test_a_second_sigterm_ends_them(tmp_path: Path) -> None:
    path = tmp_path / "stopped.pgtrace"
    with Scripted(echo) as server, Recorder(Listen(("127.0.0.1",), 0), server.upstream, write=path) as recorder:
        with connect(recorder) as driver:
            log_in(driver)
            stop_accepting(recorder)
            os.kill(recorder.pid, signal.SIGTERM)
            assert driver.recv(1) == b""
        while not gone(recorder.pid):
            pass
    assert type(records_in(path)[-1]) is End
