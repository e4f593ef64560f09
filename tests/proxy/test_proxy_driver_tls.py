"""TLS on the driver's leg: ended here by SSLRequest or at once, passed on, and everything that can go wrong with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import stat
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from pgtrace.address import Host, Listen, Upstream
from pgtrace.capture.record import Close, Data, Fact, Made, Opaque, Record
from pgtrace.certificates import DriverTls
from pgtrace.errors import AddressError
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.protocol.fields import error_fields
from pgtrace.proxy.pauses import Pauses
from pgtrace.proxy.relay import Session
from pgtrace.proxy.tape import Tape
from pgtrace.recorder import Recorder
from pgtrace.temporary import OWNER
from pgtrace.trace.trace import Trace
from tests.proxy.drivers import Tls, connect
from tests.proxy.recorded import of_kind, recording, records, stream, wait_for_end
from tests.proxy.upstreams import Scripted, echo
from tests.proxy.wire import GSSENC_REQUEST, READY, SSL_REQUEST, STARTUP, read_all, read_exactly, reset, row

AUTO = DriverTls("end")
PASS = DriverTls("pass")
CANCEL = struct.pack(">IIII", 16, 80877102, 4711, 815)


def trusting(recorder: Recorder, *, alpn: bool = True) -> ssl.SSLContext:
    """What a driver has that trusts the recorder's authority and insists on the name."""
    context = ssl.create_default_context(cafile=str(recorder.authority))
    if alpn:
        context.set_alpn_protocols(["postgresql"])
    return context


@contextlib.contextmanager
def encrypted(recorder: Recorder, *, direct: bool = False) -> Iterator[ssl.SSLSocket]:
    """A driver's socket behind a handshake."""
    sock = connect(recorder)
    if not direct:
        sock.sendall(SSL_REQUEST)
        assert read_exactly(sock, 1) == b"S"
    with trusting(recorder).wrap_socket(sock, server_hostname="localhost") as tls:
        yield tls


def facts(found: list[Record], number: int = 1) -> dict[str, str]:
    return {fact.key: fact.value for fact in of_kind(found, Fact) if fact.connection == number}


@pytest.mark.parametrize("direct", [False, True], ids=["by SSLRequest", "at once"])
@pytest.mark.parametrize("rtt_ns", [0, 4_000_000])
def test_what_is_recorded_is_the_plain_stream(direct: bool, rtt_ns: int) -> None:
    with Scripted(echo) as server, recording(server.upstream, tls=AUTO, rtt_ns=rtt_ns) as recorder:
        with encrypted(recorder, direct=direct) as driver:
            driver.sendall(STARTUP)
            assert read_exactly(driver, len(READY)) == READY
            driver.sendall(row(b"one") + row(b"two"))
            assert read_exactly(driver, 16) == row(b"one") + row(b"two")
        found = wait_for_end(recorder)
    assert stream(found, FRONTEND) == (b"" if direct else SSL_REQUEST) + STARTUP + row(b"one") + row(b"two")
    assert stream(found, BACKEND) == (b"" if direct else b"S") + READY + row(b"one") + row(b"two")
    told = facts(found)
    assert told["tls.frontend"] == "TLSv1.3"
    assert told["tls.frontend.alpn"] == "postgresql"
    assert told["tls.frontend.sni"] == "localhost"
    assert "AES" in told["tls.frontend.cipher"] or "CHACHA" in told["tls.frontend.cipher"]
    assert not of_kind(found, Opaque)
    kinds = [type(one) for one in found if isinstance(one, Data | Fact | Made)]
    assert kinds.index(Fact) < [number for number, kind in enumerate(kinds) if kind is Data][0 if direct else 1]


def test_such_a_session_is_read_like_any_other(tmp_path: Path) -> None:
    """Its counters are those of the plain one, but for the SSLRequest; so they are from the second segment on."""
    counted = []
    for tls in (DriverTls(), AUTO):
        with Scripted(echo_queries) as server, recording(server.upstream, tls=tls, write=tmp_path / tls.mode) as recorder:
            with encrypted(recorder) if tls is AUTO else connect(recorder) as driver:
                driver.sendall(STARTUP)
                read_exactly(driver, len(READY))
                for _ in range(3):
                    driver.sendall(QUERY)
                    read_exactly(driver, len(ANSWER))
                driver.sendall(b"X\0\0\0\4")
            wait_for_end(recorder)
            trace = Trace.open([recorder.capture])
            trace.update()
            (connection,) = trace.connections
            assert connection.kind == "session"
            assert connection.user == "me"
            counters = connection.counters(trace.duration_ns).as_dict()
            counted.append({key: value for key, value in counters.items() if not key.endswith("_ns")})
            trace.close()
    plain, ended = counted
    assert ended["setup_round_trips"] == plain["setup_round_trips"] + 1
    for key in ("round_trips", "queries", "executions", "rows"):
        assert ended[key] == plain[key]
    assert ended["frontend_bytes"] == plain["frontend_bytes"] + len(SSL_REQUEST)


QUERY = b"Q\0\0\0\x0dSELECT 1\0"
ANSWER = b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\5I"


def echo_queries(connection: socket.socket) -> None:
    read_exactly(connection, len(STARTUP))
    connection.sendall(READY)
    while read_exactly(connection, len(QUERY)) == QUERY:
        connection.sendall(ANSWER)


@pytest.mark.parametrize("piece", [1, 2, 7, 100])
def test_a_hello_in_pieces(piece: int) -> None:
    """The handshake begins with whatever of the ClientHello came first."""
    with Scripted(echo) as server, recording(server.upstream, tls=AUTO) as recorder, connect(recorder) as sock:
        driver = Tls(sock, trusting(recorder))
        hello = driver.hello()
        assert hello[0] == 0x16
        sock.sendall(hello[:piece])
        while recorder.stats()["accepted"] < 1:
            pass
        sock.sendall(hello[piece:])
        driver.handshake()
        driver.send(STARTUP)
        assert driver.receive(len(READY)) == READY


def test_a_start_up_together_with_the_end_of_the_handshake() -> None:
    with Scripted(echo) as server, recording(server.upstream, tls=AUTO) as recorder, connect(recorder) as sock:
        sock.sendall(SSL_REQUEST)
        assert read_exactly(sock, 1) == b"S"
        driver = Tls(sock, trusting(recorder))
        driver.handshake(then=STARTUP + row(b"eager"))
        assert driver.receive(len(READY) + 8 + 2) == READY + row(b"eager")
        found = records(recorder)
        order = [
            type(one).__name__
            for one in found
            if isinstance(one, Fact | Data | Made) and getattr(one, "key", "tls.frontend") == "tls.frontend"
        ]
        assert order[:4] == ["Data", "Made", "Fact", "Data"]


def test_secrets_within_tls_are_blanked() -> None:
    password = b"p\0\0\0\x0bsecret\0"

    def serve(connection: socket.socket) -> None:
        read_exactly(connection, len(STARTUP))
        connection.sendall(b"R\0\0\0\x08\0\0\0\3")
        assert read_exactly(connection, len(password)) == password
        connection.sendall(READY)

    with Scripted(serve) as server, recording(server.upstream, tls=AUTO) as recorder:
        with encrypted(recorder) as driver:
            driver.sendall(STARTUP)
            read_exactly(driver, 9)
            driver.sendall(password)
            assert read_exactly(driver, len(READY)) == READY
        found = wait_for_end(recorder)
    assert b"p\0\0\0\x0b******\0" in stream(found, FRONTEND)
    assert b"secret" not in b"".join(one.data for one in of_kind(found, Data))


def test_large_transfers() -> None:
    """Piece by piece: an SSL socket of Python's is not for two threads at once."""
    data = row(bytes(range(256)) * 16384)
    with Scripted(echo) as server, recording(server.upstream, tls=AUTO) as recorder, encrypted(recorder) as driver:
        driver.sendall(STARTUP)
        read_exactly(driver, len(READY))
        for start in range(0, len(data), 200_000):
            driver.sendall(data[start : start + 200_000])
            assert read_exactly(driver, len(data[start : start + 200_000])) == data[start : start + 200_000]
        assert stream(records(recorder), BACKEND).endswith(data)


def test_a_cancel_within_tls_finds_its_session() -> None:
    heard: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        first = read_exactly(connection, 16)
        heard.append(first)
        if first != CANCEL:
            read_exactly(connection, len(STARTUP) - 16)
            connection.sendall(READY[:9] + b"K\0\0\0\x0c" + CANCEL[8:] + READY[9:])
            connection.recv(1)

    with Scripted(serve) as server, recording(server.upstream, tls=AUTO) as recorder:
        with encrypted(recorder) as driver:
            driver.sendall(STARTUP)
            read_exactly(driver, len(READY) + 13)
            with encrypted(recorder) as cancelling:
                cancelling.sendall(CANCEL)
                assert read_all(cancelling) == b""
        wait_for_end(recorder)
        trace = Trace.open([recorder.capture])
        trace.update()
        assert [one.kind for one in trace.connections] == ["session", "cancel"]
        assert trace.connections[1].cancels == 0
        trace.close()
    assert heard[1] == CANCEL


@pytest.mark.parametrize("rtt_ns", [0, 4_000_000])
@pytest.mark.parametrize("when", ["later", "with the request", "with the end of the handshake"])
@pytest.mark.parametrize("fin", [False, True], ids=["alone", "and a FIN"])
def test_a_close_notify_ends_the_drivers_direction_alone(fin: bool, when: str, rtt_ns: int) -> None:
    """The server sees the end behind the last byte, and what it has to say then still arrives, and its own end behind it."""
    heard: list[bytes] = []
    answer = row(bytes(range(256)) * 8192)
    ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        read_exactly(connection, len(STARTUP))
        connection.sendall(READY)
        heard.append(read_all(connection))
        assert ended.wait(20)
        connection.sendall(answer)

    with Scripted(serve) as server, recording(server.upstream, tls=AUTO, rtt_ns=rtt_ns) as recorder:
        with connect(recorder) as sock:
            sock.sendall(SSL_REQUEST)
            assert read_exactly(sock, 1) == b"S"
            driver = Tls(sock, trusting(recorder))
            request = row(b"the last one")
            if when == "with the end of the handshake":
                driver.handshake(then=STARTUP + request, ends=True)
                if fin:
                    sock.shutdown(socket.SHUT_WR)
                assert driver.receive(len(READY)) == READY
            else:
                driver.handshake()
                driver.send(STARTUP)
                assert driver.receive(len(READY)) == READY
                if when == "later":
                    driver.send(request)
                    driver.end()
                else:
                    driver.send(request, ends=True)
                if fin:
                    sock.shutdown(socket.SHUT_WR)
            recorder.flush()  # what was sent has been read
            ended.set()
            assert driver.receive(len(answer)) == answer
            assert driver.is_over()
        found = wait_for_end(recorder)
    assert heard == [request]
    assert stream(found, BACKEND).endswith(answer)
    assert [(one.side, one.how) for one in of_kind(found, Close)] == [(FRONTEND, "FIN")]


# What goes wrong.


def refused(sock: socket.socket) -> bool:
    """Whether the connection is at its end without a byte."""
    try:
        return sock.recv(1) == b""
    except ConnectionError:
        return True


def test_plain_bytes_behind_the_request_are_refused() -> None:
    """CVE-2021-23214: they are taken for a handshake, as by PostgreSQL 17 and later, which fails;
    they never reach a server, and are not kept."""
    with Scripted(echo) as server, recording(server.upstream, tls=AUTO) as recorder, connect(recorder) as sock:
        sock.sendall(SSL_REQUEST + STARTUP)
        assert read_all(sock) == b"S"
        sock.close()
        found = wait_for_end(recorder)
        assert server.accepted == 0
        assert stream(found, FRONTEND) == SSL_REQUEST
        assert "tls.frontend.error" in facts(found)


@pytest.mark.parametrize("rtt_ns", [0, 4_000_000])
def test_a_hello_behind_the_request_is_not_lost(rtt_ns: int) -> None:
    """A driver that does not wait for `S`."""
    with Scripted(echo) as server, recording(server.upstream, tls=AUTO, rtt_ns=rtt_ns) as recorder, connect(recorder) as sock:
        driver = Tls(sock, trusting(recorder))
        sock.sendall(SSL_REQUEST + driver.hello())
        assert read_exactly(sock, 1) == b"S"
        driver.handshake()
        driver.send(STARTUP)
        assert driver.receive(len(READY)) == READY
        assert stream(records(recorder), FRONTEND) == SSL_REQUEST + STARTUP


@pytest.mark.parametrize("second", [SSL_REQUEST, GSSENC_REQUEST])
def test_a_request_for_encryption_within_tls_is_refused(second: bytes) -> None:
    with Scripted(echo) as server, recording(server.upstream, tls=AUTO) as recorder, connect(recorder) as sock:
        sock.sendall(GSSENC_REQUEST)
        assert read_exactly(sock, 1) == b"N"
        sock.sendall(SSL_REQUEST)
        assert read_exactly(sock, 1) == b"S"
        with trusting(recorder).wrap_socket(sock, server_hostname="localhost") as driver:
            driver.sendall(second)
            assert error_fields(read_all(driver)[5:])["C"] == "0A000"


def test_a_driver_that_begins_at_once_must_ask_for_the_protocol() -> None:
    with Scripted(echo) as server, recording(server.upstream, tls=AUTO) as recorder:
        with (
            connect(recorder) as sock,
            contextlib.suppress(OSError),
            trusting(recorder, alpn=False).wrap_socket(sock, server_hostname="localhost") as driver,
        ):
            driver.sendall(STARTUP)
            assert refused(driver)
        found = wait_for_end(recorder)
        assert server.accepted == 0
    assert "ALPN" in facts(found)["tls.frontend.error"]
    assert stream(found, FRONTEND) == b""


def test_a_driver_that_does_not_trust_the_certificate() -> None:
    with Scripted(echo) as server, recording(server.upstream, tls=AUTO) as recorder:
        with connect(recorder) as sock:
            sock.sendall(SSL_REQUEST)
            read_exactly(sock, 1)
            with pytest.raises(ssl.SSLCertVerificationError):
                ssl.create_default_context().wrap_socket(sock, server_hostname="localhost")
        found = wait_for_end(recorder)
        assert "unknown ca" in facts(found)["tls.frontend.error"]
        assert "a driver's TLS handshake failed" in recorder.log
        assert server.accepted == 0
    assert [type(one) for one in found].count(Close) == 1


@pytest.mark.parametrize("how", ["nothing", "garbage", "reset", "half a hello"])
def test_a_driver_that_breaks_the_handshake_off(how: str) -> None:
    with Scripted(echo) as server, recording(server.upstream, tls=AUTO) as recorder:
        sock = connect(recorder)
        sock.sendall(SSL_REQUEST)
        assert read_exactly(sock, 1) == b"S"
        if how == "garbage":
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
        elif how == "half a hello":
            sock.sendall(Tls(sock, trusting(recorder)).hello()[:50])
        if how == "reset":
            reset(sock)
        elif how == "garbage":
            with contextlib.suppress(ConnectionError):
                read_all(sock)
        sock.close()
        found = wait_for_end(recorder)
        assert server.accepted == 0
    assert "tls.frontend.error" in facts(found)


def test_an_upstream_that_is_down_is_told_within_tls() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with recording(Upstream((Host("127.0.0.1", port),), sslmode="disable"), tls=AUTO) as recorder, encrypted(recorder) as driver:
        driver.sendall(STARTUP)
        answer = read_all(driver)
    assert error_fields(answer[5:])["C"] == "57P03"


@pytest.mark.parametrize("tls", [DriverTls("end", "/no/such.pem", "/no/such.key"), DriverTls("end", __file__, __file__)])
def test_a_certificate_that_cannot_be_used(tls: DriverTls) -> None:
    recorder = Recorder(Listen(("127.0.0.1",), 0), Upstream((Host("db"),), sslmode="disable"), tls=tls)
    with pytest.raises(AddressError, match="cannot use this certificate and key"):
        recorder.start()


def test_what_was_made_is_private_and_gone() -> None:
    with recording(Upstream((Host("db"),), sslmode="disable"), tls=AUTO) as recorder:
        assert recorder.authority is not None
        directory = recorder.authority.parent
        assert directory.stat().st_mode & 0o777 == 0o700
        assert {path.suffix for path in directory.iterdir() if path.name != OWNER} == {".pem"}
    assert not directory.exists()


def test_session_keys_are_logged_where_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    with Scripted(echo) as server, recording(server.upstream, tls=AUTO) as recorder:
        monkeypatch.delenv("SSLKEYLOGFILE")
        with encrypted(recorder) as driver:
            driver.sendall(STARTUP)
            read_exactly(driver, len(READY))
    assert "CLIENT_TRAFFIC_SECRET_0" in (tmp_path / "keys").read_text()
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o600


@pytest.mark.parametrize("leg", ["driver", "server"])
@pytest.mark.parametrize(
    ("mode", "owner", "said"),
    [
        (0o644, None, r"SSLKEYLOGFILE can be opened by others \(mode 0644\), .*chmod 600"),
        (0o620, None, "can be opened by others"),
        (0o600, 65534, "SSLKEYLOGFILE belongs to another user"),
        (0o600, None, None),
    ],
)
def test_keys_are_logged_where_others_cannot_read_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, owner: int | None, said: str | None, leg: str
) -> None:
    if owner is not None and os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    path = tmp_path / "keys"
    path.write_text("before\n")
    path.chmod(mode)
    if owner is not None:
        os.chown(path, owner, -1)
    monkeypatch.setenv("SSLKEYLOGFILE", str(path))
    upstream = Upstream((Host("127.0.0.1", 1),), sslmode="require" if leg == "server" else "disable")
    recorder = Recorder("127.0.0.1:0", upstream, tls=AUTO if leg == "driver" else DriverTls())
    if said is None:
        with recorder:
            pass
        assert path.read_text().startswith("before\n")
    else:
        with pytest.raises(AddressError, match=said):
            recorder.start()
        assert path.read_text() == "before\n"


def test_a_pipe_for_keys_that_nobody_reads_is_refused_and_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "keys", 0o600)
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    with pytest.raises(AddressError, match="SSLKEYLOGFILE is a pipe that nobody reads"):
        Recorder("127.0.0.1:0", Upstream((Host("127.0.0.1", 1),), sslmode="disable"), tls=AUTO).start()


def test_keys_may_go_to_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", "/dev/null")
    with recording(Upstream((Host("db"),), sslmode="disable"), tls=AUTO):
        pass


# Passed on.


class TlsServer:
    """Takes TLS by SSLRequest, or refuses it."""

    def __init__(self, reply: bytes = b"S") -> None:
        self.authority = trustme.CA()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert("localhost").configure_cert(self.context)
        self.reply = reply

    def __call__(self, connection: socket.socket) -> None:
        assert read_exactly(connection, 8) == SSL_REQUEST
        connection.sendall(self.reply)
        if self.reply == b"N":
            echo(connection)
            return
        with self.context.wrap_socket(connection, server_side=True) as tls:
            echo(tls)


def test_tls_is_passed_on_and_counted() -> None:
    tls_server = TlsServer()
    with Scripted(tls_server) as server, recording(server.upstream, tls=PASS) as recorder:
        context = ssl.create_default_context()
        tls_server.authority.configure_trust(context)
        sock = connect(recorder)
        sock.sendall(SSL_REQUEST)
        assert read_exactly(sock, 1) == b"S"
        with context.wrap_socket(sock, server_hostname="localhost") as driver:
            driver.sendall(STARTUP)
            assert read_exactly(driver, len(READY)) == READY
            driver.sendall(row(b"unseen"))
            assert read_exactly(driver, 11) == row(b"unseen")
        found = wait_for_end(recorder)
        trace = Trace.open([recorder.capture])
        trace.update()
        assert [one.kind for one in trace.connections] == ["opaque"]
        assert trace.totals().frontend_bytes > len(SSL_REQUEST + STARTUP)
        trace.close()
    assert stream(found[: [type(one) for one in found].index(Opaque)], FRONTEND) == SSL_REQUEST
    assert b"unseen" not in b"".join(one.data for one in of_kind(found, Data))


def test_a_server_without_tls_gets_the_request_and_refuses_it_itself() -> None:
    with Scripted(TlsServer(b"N")) as server, recording(server.upstream, tls=PASS) as recorder, connect(recorder) as sock:
        sock.sendall(SSL_REQUEST)
        assert read_exactly(sock, 1) == b"N"
        sock.sendall(STARTUP)
        assert read_exactly(sock, len(READY)) == READY
        found = records(recorder)
        assert not of_kind(found, Made)
        assert stream(found, FRONTEND) == SSL_REQUEST + STARTUP


def test_where_there_is_nobody_to_pass_it_to() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with recording(Upstream((Host("127.0.0.1", port),), sslmode="disable"), tls=PASS) as recorder, connect(recorder) as sock:
        sock.sendall(SSL_REQUEST)
        assert read_exactly(sock, 1) == b"N"
        sock.sendall(STARTUP)
        assert error_fields(read_all(sock)[5:])["C"] == "57P03"


@pytest.mark.parametrize("second", ["in one go", "a second request"])
def test_where_there_is_nobody_to_pass_it_to_the_rules_are_the_same(second: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with recording(Upstream((Host("127.0.0.1", port),), sslmode="disable"), tls=PASS) as recorder, connect(recorder) as sock:
        sock.sendall(SSL_REQUEST + (STARTUP if second == "in one go" else b""))
        assert sock.recv(1) == b"N"
        if second != "in one go":
            sock.sendall(SSL_REQUEST)
        assert error_fields(read_all(sock)[5:])["C"] == ("08P01" if second == "in one go" else "0A000")


class Forgotten(asyncio.Transport):
    """TLS whose socket is gone already, and whose connection_lost() is still to come: uvloop's between two turns of its loop."""

    closed = False

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    abort = close


async def test_a_socket_that_is_gone_before_its_connection_is_said_to_be_lost() -> None:
    """The other leg ends in that moment: nothing is pending any more, and this one is closed."""
    loop = asyncio.get_running_loop()
    session = Session(1, Pauses(Tape(loop.call_soon_threadsafe, b"key")), loop, 0)
    gone = Forgotten()
    session.frontend.transport = gone
    session.frontend.close()
    while not gone.closed:
        await asyncio.sleep(0)
    gone.closed = False
    session.frontend.reset()
    while not gone.closed:
        await asyncio.sleep(0)
