"""What somebody who has not logged in can make the recorder hold, and for how long."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from pgtrace.address import Host, Upstream
from pgtrace.capture.record import Close, Data, Fact
from pgtrace.certificates import DriverTls
from pgtrace.errors import UsageError
from pgtrace.faults import parse
from pgtrace.protocol.codes import BACKEND
from pgtrace.proxy.small_reads import BEFORE_LOGIN_BYTES
from pgtrace.proxy.tape import ROOM_BYTES
from pgtrace.recorder import Recorder
from tests.proxy.drivers import connect, log_in
from tests.proxy.recorded import of_kind, recording, records, stream, wait_for_end
from tests.proxy.upstreams import Scripted, echo
from tests.proxy.wire import GSSENC_REQUEST, READY, SSL_REQUEST, STARTUP, read_all, read_exactly, row

LINUX: Final = sys.platform.startswith("linux")
STRANGERS: Final = 150
FLOOD: Final = b"x" * 65536
OF_A_CONNECTION: Final = 32 * 1024
"""What one takes without a byte of its driver's, both sockets and their protocols included."""
OF_A_HANDSHAKE: Final = 64 * 1024
"""What OpenSSL and the loop take for one besides."""
ASKS: Final = b"R\0\0\0\x08\0\0\0\3"
"""For a password."""


def memory_bytes(recorder: Recorder) -> int:
    """What the recorder holds in memory of its own."""
    lines = Path(f"/proc/{recorder.pid}/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


@contextlib.contextmanager
def asks_and_stops() -> Iterator[Upstream]:
    """A server that asks for a password, and reads no more than the start-up."""
    over = threading.Event()

    def serve(connection: socket.socket) -> None:
        if read_exactly(connection, len(STARTUP)) == STARTUP:
            connection.sendall(ASKS)
            over.wait(60)

    with Scripted(serve) as server:
        yield server.upstream
        over.set()


@contextlib.contextmanager
def nobody_accepts() -> Iterator[Upstream]:
    """An upstream whose queue is full: whoever dials it waits."""
    with socket.socket() as listener, contextlib.ExitStack() as queue:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield Upstream((Host("127.0.0.1", listener.getsockname()[1]),), sslmode="disable")


def flood(drivers: list[socket.socket], data: bytes) -> None:
    """Send as much as is taken. Buffers of their own are small, so that a driver offers more than the
    recorder takes, and not all that the kernel would hold."""
    for driver in drivers:
        driver.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, len(FLOOD))
        driver.setblocking(False)
    taking = set(drivers)
    while ready := select.select([], taking, [], 0.5)[1]:
        for driver in ready:
            try:
                driver.send(data)
            except BlockingIOError:
                pass
            except OSError:  # closed by the other side
                taking.remove(driver)


SCENES: Final[dict[str, tuple[bytes, bytes, dict[str, Any]]]] = {
    "a long start-up that never ends": (struct.pack(">II", 10_004, 3 << 16), b"x" * 9_000, {}),
    "behind a request that waits for --rtt": (SSL_REQUEST, FLOOD, {"rtt_ns": 30_000_000_000}),
    "behind a start-up that waits for --rtt": (STARTUP, FLOOD, {"rtt_ns": 30_000_000_000}),
    "while the upstream is dialled": (STARTUP, FLOOD, {}),
    "while the server wants a password": (STARTUP, b"p\0\xff\xff\xff" + FLOOD, {}),
    "a handshake that never ends": (
        SSL_REQUEST,
        b"\x16\x03\x01\x40\x00\x01\x00\xff\x00\x03\x03".ljust(16_389, b"x"),
        {"tls": DriverTls("end")},
    ),
}


@pytest.mark.skipif(not LINUX, reason="memory is read from /proc")
@pytest.mark.parametrize("scene", SCENES)
def test_strangers_can_have_little_held(scene: str) -> None:
    first, then, options = SCENES[scene]
    each = BEFORE_LOGIN_BYTES + OF_A_CONNECTION + (OF_A_HANDSHAKE if "tls" in options else 0)
    for_the_disk = (
        ROOM_BYTES if "server" in scene else 0
    )  # what passes is recorded, and may fill the tape, which is for all connections together
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(nobody_accepts()) if "dialled" in scene else stack.enter_context(asks_and_stops())
        recorder = stack.enter_context(recording(upstream, **options))
        before = memory_bytes(recorder)
        drivers = [stack.enter_context(connect(recorder)) for _ in range(STRANGERS)]
        for driver in drivers:
            driver.sendall(first)
        flood(drivers, then)
        recorder.flush()
        if "never ends" not in scene:
            assert recorder.stats()["connections"] == STRANGERS
        assert memory_bytes(recorder) - before < STRANGERS * each + for_the_disk + (4 << 20)


# Time.


def ends(sock: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    with contextlib.suppress(ConnectionError):
        return read_all(sock)
    return b""


STRANGE: Final[dict[str, tuple[list[bytes], bytes, dict[str, Any]]]] = {
    "nothing": ([], b"", {}),
    "half a length": ([b"\0\0"], b"", {}),
    "half a start-up": ([STARTUP[:-1]], b"", {}),
    "a request, then nothing": ([SSL_REQUEST], b"N", {}),
    "two requests, then half": ([GSSENC_REQUEST, SSL_REQUEST, STARTUP[:9]], b"NN", {}),
    "no handshake": ([SSL_REQUEST], b"S", {"tls": DriverTls("end")}),
    "half a handshake": ([b"\x16\x03\x01\x01\x00\x01"], b"", {"tls": DriverTls("end")}),
    "a request that is passed on and refused": ([SSL_REQUEST], b"N", {"tls": DriverTls("pass")}),
    "nothing, before an upstream that is dialled": ([], b"", {"dial_first": True}),
}


def refuses_tls(connection: socket.socket) -> None:
    """A server that does no TLS, and waits for the start-up."""
    if connection.recv(8) == SSL_REQUEST:
        connection.sendall(b"N")
        read_all(connection)


@pytest.mark.parametrize("strange", STRANGE)
def test_whoever_sends_no_whole_start_up_is_closed_without_a_word(strange: str) -> None:
    pieces, answer, options = STRANGE[strange]
    with (
        Scripted(refuses_tls) as server,
        recording(server.upstream, startup_timeout_s=1.0, **options) as recorder,
        connect(recorder) as driver,
    ):
        began_s = time.monotonic()
        received = b""
        for number, piece in enumerate(pieces):
            driver.sendall(piece)
            if number < len(answer):
                received += driver.recv(1)
        received += ends(driver)
        assert 0.9 < time.monotonic() - began_s < 10
        assert received == answer
        found = wait_for_end(recorder)
        assert [fact.value for fact in of_kind(found, Fact) if fact.key == "refused"] == ["no complete start-up within 1 s"]
        assert [close.how for close in of_kind(found, Close)] == ["pgtrace"]
        assert stream(found, BACKEND) == answer
        assert recorder.log.count("--startup-timeout") == 1


def test_a_start_up_that_drips_is_closed_too() -> None:
    with Scripted(echo) as server, recording(server.upstream, startup_timeout_s=1.0) as recorder, connect(recorder) as driver:
        with contextlib.suppress(ConnectionError):
            driver.sendall(b"\0\0\x20\0\0\3\0\0")
            while not select.select([driver], [], [], 0.05)[0]:
                driver.sendall(b"x")
            assert driver.recv(1) == b""
        wait_for_end(recorder)
        assert server.accepted == 0


@pytest.mark.parametrize("rtt_ns", [0, 4_000_000])
@pytest.mark.parametrize("how", ["a slow login", "a session", "TLS that is passed on"])
def test_a_login_may_take_as_long_as_the_server_lets_it(how: str, rtt_ns: int) -> None:
    """The time is over when a driver that came later, and says nothing, has been closed."""

    def serve(connection: socket.socket) -> None:
        if how == "TLS that is passed on":
            assert read_exactly(connection, 8) == SSL_REQUEST
            connection.sendall(b"S")
        else:
            read_exactly(connection, len(STARTUP))
            connection.sendall(ASKS if how == "a slow login" else READY)
        connection.sendall(read_exactly(connection, 6))

    mode = DriverTls("pass" if how == "TLS that is passed on" else "refuse")
    with (
        Scripted(serve) as server,
        recording(server.upstream, startup_timeout_s=1.0, tls=mode, rtt_ns=rtt_ns) as recorder,
        connect(recorder) as driver,
    ):
        first = SSL_REQUEST if how == "TLS that is passed on" else STARTUP
        driver.sendall(first)
        assert driver.recv(1) in b"SR"
        with connect(recorder) as silent:
            assert ends(silent) == b""
        driver.sendall(b"p\0\0\0\5x")
        assert ends(driver).endswith(b"p\0\0\0\5x")


@pytest.mark.parametrize("options", [{"rtt_ns": 1_500_000_000}, {"faults": [parse("delay 1500ms at connect")]}], ids=["--rtt", "--fault"])
def test_what_pgtrace_itself_waits_for_is_not_the_drivers_time(options: dict[str, Any]) -> None:
    with Scripted(echo) as server, recording(server.upstream, startup_timeout_s=1.0, **options) as recorder, connect(recorder) as driver:
        driver.sendall(SSL_REQUEST)
        assert driver.recv(1) == b"N"
        log_in(driver)
        assert not recorder.log


def test_after_login_a_session_is_read_as_much_at_a_time_as_ever() -> None:
    """One record holds more than is read at a time before login."""
    with Scripted(echo) as server, recording(server.upstream) as recorder, connect(recorder) as driver:
        log_in(driver)
        data = row(bytes(60_000))
        driver.sendall(data)
        assert read_exactly(driver, len(data)) == data
        assert max(len(one.data) for one in of_kind(records(recorder), Data)) > BEFORE_LOGIN_BYTES


def test_a_timeout_has_to_make_sense() -> None:
    with pytest.raises(UsageError, match="too short"):
        Recorder(upstream="localhost", startup_timeout_s=0.06)
