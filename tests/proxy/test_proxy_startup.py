"""What pgtrace answers itself before there is an upstream, and how the upstream leg comes to be."""

from __future__ import annotations

import socket
import struct

import pytest

from pgtrace.address import Host, Upstream
from pgtrace.capture import peer
from pgtrace.capture.record import NEITHER, Close, Data, Fact, Made, Opaque, Open
from pgtrace.demo.ports import free_port
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.protocol.fields import error_fields
from pgtrace.proxy.cancel_keys import CancelKeys
from pgtrace.proxy.upstream import Endpoint
from tests.proxy.drivers import connect, log_in
from tests.proxy.recorded import of_kind, recording, stream, wait_for_end
from tests.proxy.upstreams import Scripted, echo
from tests.proxy.wire import GSSENC_REQUEST, READY, SSL_REQUEST, STARTUP, read_all, read_exactly

KEY_DATA = struct.pack(">cIi", b"K", 12, 4711) + b"\x01\x02\x03\x04"
CANCEL = struct.pack(">IIi", 16, 80877102, 4711) + b"\x01\x02\x03\x04"


@pytest.mark.parametrize("requests", [[SSL_REQUEST], [GSSENC_REQUEST], [GSSENC_REQUEST, SSL_REQUEST]])
def test_requests_for_encryption_are_answered_and_not_forwarded(requests):
    with Scripted(echo) as server, recording(server.upstream) as recorder, connect(recorder) as driver:
        for request in requests:
            driver.sendall(request)
            assert driver.recv(1) == b"N"
        log_in(driver)
        driver.sendall(b"Q\0\0\0\5\0")
        assert read_exactly(driver, 6) == b"Q\0\0\0\5\0"
        driver.close()
        found = wait_for_end(recorder)
        assert stream(found, FRONTEND) == b"".join(requests) + STARTUP + b"Q\0\0\0\5\0"
        assert stream(found, BACKEND) == b"N" * len(requests) + READY + b"Q\0\0\0\5\0"
        assert [record.data for record in of_kind(found, Made)] == [b"N"] * len(requests)


def test_requests_byte_by_byte():
    with Scripted(echo) as server, recording(server.upstream) as recorder, connect(recorder) as driver:
        for byte in SSL_REQUEST:
            driver.sendall(bytes((byte,)))
        assert driver.recv(1) == b"N"
        for byte in STARTUP:
            driver.sendall(bytes((byte,)))
        assert read_exactly(driver, len(READY)) == READY


@pytest.mark.parametrize("request_for_encryption", [SSL_REQUEST, GSSENC_REQUEST])
def test_plain_bytes_behind_a_request_for_encryption_are_refused(request_for_encryption):
    with Scripted(echo) as server, recording(server.upstream) as recorder, connect(recorder) as driver:
        driver.sendall(request_for_encryption + STARTUP)
        answer = read_all(driver)
        assert answer[:2] == b"NE"
        fields = error_fields(answer[6:])
        assert fields["C"] == "08P01"
        assert fields["M"].startswith("pgtrace: ")
        driver.close()
        wait_for_end(recorder)
        assert server.accepted == 0


def test_an_upstream_that_is_down():
    port = free_port()
    with recording(Upstream((Host("localhost", port),), sslmode="disable")) as recorder, connect(recorder) as driver:
        driver.sendall(SSL_REQUEST)
        assert driver.recv(1) == b"N"
        driver.sendall(STARTUP)
        answer = read_all(driver)
        fields = error_fields(answer[5:])
        assert (fields["S"], fields["V"], fields["C"]) == ("FATAL", "FATAL", "57P03")
        assert fields["M"] == f"pgtrace: cannot reach the upstream localhost:{port}"
        assert fields["D"] == f"Host localhost, port {port}: Connection refused."
        driver.close()
        found = wait_for_end(recorder)
        assert [record.data for record in of_kind(found, Made)] == [b"N", answer]
        assert [(record.key, record.value) for record in of_kind(found, Fact) if record.key != peer.KEY] == [
            ("upstream.error", f"localhost:{port}: Connection refused")
        ]
        assert [(record.side, record.how) for record in of_kind(found, Close)] == [(NEITHER, "pgtrace")]
        assert recorder.stats()["upstream_error"] == "Connection refused"
        assert recorder.log.count("Connection refused") == 1


def test_a_name_that_does_not_resolve():
    with recording(Upstream((Host("no-such-host.invalid"),), sslmode="disable")) as recorder, connect(recorder) as driver:
        driver.sendall(STARTUP)
        fields = error_fields(read_all(driver)[5:])
        assert fields["C"] == "57P03"
        assert "no-such-host.invalid, port 5432: the name cannot be resolved" in fields["D"]


def test_a_unix_upstream_that_is_not_there(tmp_path):
    upstream = Upstream((Host(str(tmp_path), unix=str(tmp_path)),))
    with recording(upstream, allow_others=True) as recorder, connect(recorder) as driver:
        driver.sendall(STARTUP)
        assert error_fields(read_all(driver)[5:])["D"] == f"Host {tmp_path}, port 5432: No such file or directory."


@pytest.mark.parametrize("first", [CANCEL, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01"])
def test_whoever_is_no_session_is_closed_without_an_upstream(first):
    with recording(Upstream((Host("127.0.0.1", free_port()),), sslmode="disable")) as recorder, connect(recorder) as driver:
        driver.sendall(first)
        assert read_all(driver) == b""
        found = wait_for_end(recorder)
        assert of_kind(found, Made) == []


def test_a_scan_reaches_no_upstream():
    with Scripted(echo) as server, recording(server.upstream) as recorder:
        connect(recorder).close()
        with connect(recorder) as driver:
            driver.sendall(b"\0\0")
            driver.shutdown(socket.SHUT_WR)
            assert read_all(driver) == b""
        found = wait_for_end(recorder)
        assert len(of_kind(found, Close)) == 2
        assert server.accepted == 0


@pytest.mark.parametrize(
    "first", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"\0\0\0\x03\0\0\0\0", b"\xff" * 20, b"\0\0\x40\0\0\3\0\0"]
)
def test_what_is_not_postgresql_is_forwarded_as_it_is_and_not_kept(first):
    def serve(connection: socket.socket) -> None:
        connection.sendall(b"heard " + read_exactly(connection, len(first)))

    with Scripted(serve) as server, recording(server.upstream) as recorder, connect(recorder) as driver:
        driver.sendall(first)
        assert read_all(driver) == b"heard " + first
        driver.close()
        found = wait_for_end(recorder)
        assert of_kind(found, Data) == []
        assert sum(record.length for record in of_kind(found, Opaque) if record.side == FRONTEND) == len(first)


def test_a_driver_that_does_not_wait_loses_nothing():
    """Everything is sent before there is an upstream connection; a full megabyte must come through in order."""
    query = struct.pack(">cI", b"Q", 4 + (1 << 20)) + bytes(1 << 20)
    with Scripted(echo) as server, recording(server.upstream) as recorder, connect(recorder) as driver:
        driver.sendall(STARTUP + query)
        driver.shutdown(socket.SHUT_WR)
        assert read_all(driver) == READY + query
        assert stream(wait_for_end(recorder), FRONTEND) == STARTUP + query


def test_open_says_who_and_where():
    with Scripted(echo) as server, recording(server.upstream) as recorder, connect(recorder) as driver:
        client = driver.getsockname()
        log_in(driver)
        driver.close()
        found = wait_for_end(recorder)
        opened = of_kind(found, Open)[0]
        assert opened.listener == recorder.addresses[0]
        assert opened.client == f"127.0.0.1:{client[1]}"
        assert opened.upstream == f"127.0.0.1:{server.port}"
        assert ("server", f"127.0.0.1:{server.port}") in [(record.key, record.value) for record in of_kind(found, Fact)]


def test_one_failing_session_leaves_the_others_alone():
    with Scripted(echo) as server, recording(server.upstream) as recorder, connect(recorder) as good:
        log_in(good)
        for _ in range(20):
            with connect(recorder) as bad:
                bad.sendall(b"\0\0\0\x0f\0\3\0\0broken")
        good.sendall(b"still here")
        assert read_exactly(good, 10) == b"still here"
        assert recorder.log == ""


def test_a_cancel_is_forwarded_unchanged_and_ends_when_the_server_closes():
    cancels: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        first = connection.recv(1000)
        if first == STARTUP:
            connection.sendall(READY[:9] + KEY_DATA + READY[9:])
            connection.recv(1)
        else:
            cancels.append(first)  # and returning closes

    with Scripted(serve) as server, recording(server.upstream) as recorder, connect(recorder) as session:
        session.sendall(STARTUP)
        assert KEY_DATA in read_exactly(session, len(READY) + len(KEY_DATA))
        with connect(recorder) as driver:
            driver.sendall(SSL_REQUEST)
            assert driver.recv(1) == b"N"
            driver.sendall(CANCEL)
            assert driver.recv(1) == b""
            assert cancels == [CANCEL]
        session.close()
        found = wait_for_end(recorder)
        stored_key = stream(found, BACKEND, 1)[9:22]
        stored_cancel = stream(found, FRONTEND, 2)[8:]
        assert stored_key != KEY_DATA
        assert stored_key[5:] == stored_cancel[8:]  # the same hash: the cancel still finds its session
        assert b"\x01\x02\x03\x04" not in stored_key + stored_cancel


def test_a_cancel_goes_to_the_address_of_its_session():
    keys, endpoint = CancelKeys(), Endpoint(socket.AF_INET, ("127.0.0.2", 5432))
    keys.add(1, KEY_DATA[5:], endpoint)
    assert keys.find(CANCEL) == endpoint
    assert keys.find(CANCEL[:-1] + b"x") is None
    keys.forget(1)
    assert keys.find(CANCEL) is None
