"""Raw beginnings of a connection, to PostgreSQL 18 and to pgtrace before it: what comes back is the
same, and so is whether the connection is closed.

The same bytes are sent to both. They may differ in what pgtrace is to put in front of a message,
and in the fields that name a place in the server's source (F, L, R). The server is asked by its
Unix socket, where it refuses TLS and GSS as pgtrace does at its default; with `--tls auto` it is
asked by TCP.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import pytest

from pgtrace.address import parse_listen, parse_upstream
from pgtrace.certificates import DriverTls
from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.recorder import Recorder
from tests.proxy.wire import GSSENC_REQUEST, SSL_REQUEST

CLOSES_WITHIN_S: Final = 0.7
"""How long the server is watched for whether it closes by itself: it does so at once, or after a minute."""
ENDS_WITHIN_S: Final = 20.0
ANSWER: Final = object()
"""Wait for one byte before the next piece."""
TLS_ALERT: Final = b"\x15\x03"
"""The loop's TLS sends none where a handshake fails."""
CANCEL_REQUEST: Final = struct.pack(">IIII", 16, 80877102, 1 << 30, 815)

Connect = Callable[[], socket.socket]


def start_up(version: int = 3 << 16, parameters: bytes = b"user\0trust_role\0database\0nowhere\0", end: bytes = b"\0") -> bytes:
    body = struct.pack(">I", version) + parameters + end
    return struct.pack(">I", len(body) + 4) + body


def of_length(length: int, version: int = 3 << 16) -> bytes:
    """A packet whose length word says so, with as many bytes behind it, zeroes at the end; 1 MiB of them where it says more."""
    size = min(max(length, 4), 1 << 20)
    return (struct.pack(">II", length, version) + b"user\0x".ljust(size, b"\0"))[:size]


def code(major: int, minor: int) -> int:
    return major << 16 | minor


LENGTHS: Final = {
    f"length {length}": [of_length(length)] for length in (*range(17), 9_999, 10_003, 10_004, 10_005, 1 << 20, 1 << 31, (1 << 32) - 1)
}
HEADERS: Final = {f"only a length word of {length}": [struct.pack(">I", length)] for length in (*range(9), 10_004, 10_005)}
BEGINNINGS: Final = {f"{size} bytes of a start-up": [start_up()[:size]] for size in (1, 2, 3, 4, 7, 8, 20)}
REQUESTS: Final = {"SSL": SSL_REQUEST, "GSS": GSSENC_REQUEST, "cancel": CANCEL_REQUEST, "start-up": start_up()}
PAIRS: Final = {
    f"{' then '.join(names)}{'' if waits else ' in one go'}": (
        [piece for name in names for piece in (ANSWER, REQUESTS[name])][1:] if waits else [b"".join(REQUESTS[name] for name in names)]
    )
    for names in (
        *((first, second) for first in ("SSL", "GSS") for second in ("SSL", "GSS", "cancel", "start-up")),
        ("SSL", "GSS", "SSL"),
        ("SSL", "GSS", "GSS"),
        ("GSS", "SSL", "GSS"),
        ("GSS", "SSL", "SSL"),
        ("SSL", "GSS", "start-up"),
        ("cancel", "start-up"),
    )
    for waits in (True, False)
    if not (waits and names[0] == "cancel")
}
VERSIONS: Final = {
    f"version {major}.{minor}": [start_up(code(major, minor))]
    for major, minor in (
        (0, 0),
        (1, 0),
        (2, 0),
        (3, 0),
        (3, 1),
        (3, 2),
        (3, 3),
        (3, 99),
        (3, 9999),
        (4, 0),
        (1234, 5677),
        (1234, 5681),
        (1234, 5682),
        (65535, 65535),
    )
}
LAYOUTS: Final = {
    "no terminating zero": [start_up(end=b"")],
    "two terminating zeroes": [start_up(end=b"\0\0")],
    "no parameter": [start_up(parameters=b"")],
    "no user": [start_up(parameters=b"database\0postgres\0")],
    "an empty user": [start_up(parameters=b"user\0\0")],
    "a name without value": [start_up(parameters=b"user\0nobody_here\0application_name")],
    "an unknown protocol option": [start_up(parameters=b"user\0nobody_here\0_pq_.unknown\0x\0")],
    "a bad replication": [start_up(parameters=b"user\0nobody_here\0replication\0perhaps\0")],
    "an SSLRequest that is too long": [struct.pack(">III", 12, code(1234, 5679), 0)],
    "a GSSENCRequest that is too long": [struct.pack(">III", 12, code(1234, 5680), 0)],
    "a cancel without key": [struct.pack(">II", 8, code(1234, 5678))],
    "a cancel with half a key": [struct.pack(">IIH", 10, code(1234, 5678), 1)],
    "a cancel for process 0": [struct.pack(">IIII", 16, code(1234, 5678), 0, 0)],
    "a cancel with a long key": [struct.pack(">III", 44, code(1234, 5678), 1 << 30) + bytes(32)],
    "HTTP": [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"],
    "a Query without start-up": [b"Q\0\0\0\x0dselect 1\0"],
    "text": [b"hello\r\n"],
    "one byte": [b"x"],
    "TLS after N": [SSL_REQUEST, ANSWER, b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"],
    "TLS after GSS": [GSSENC_REQUEST, ANSWER, b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"],
    "HTTP after N": [SSL_REQUEST, ANSWER, b"GET / HTTP/1.1\r\n\r\n"],
    "a length of 5 after N": [SSL_REQUEST, ANSWER, b"\0\0\0\5"],
    "a length of 10,005 after N": [SSL_REQUEST, ANSWER, b"\0\0\x27\x15"],
    "one byte behind SSLRequest": [SSL_REQUEST + b"\0"],
    "one byte behind GSSENCRequest": [GSSENC_REQUEST + b"\0"],
    "nothing": [],
}
PROBES: Final = LENGTHS | HEADERS | BEGINNINGS | PAIRS | VERSIONS | LAYOUTS
WITHIN_TLS: Final = VERSIONS | {
    name: PROBES[name]
    for name in (
        "nothing",
        "length 5",
        "length 10004",
        "length 10005",
        "no terminating zero",
        "no user",
        "HTTP",
        "a cancel without key",
        "TLS within TLS",
        "SSL then SSL in one go",
        "GSS then GSS in one go",
        "start-up",
    )
    if name in PROBES
}
BEHIND_SSL_REQUEST: Final = {
    "a start-up": start_up(),
    "SSLRequest": SSL_REQUEST,
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "one byte": b"\0",
}


class Outcome(NamedTuple):
    """What came back, and whether the other side closed while the probe's direction was still open."""

    received: bytes
    closes: bool


def probed(connect: Connect, pieces: list[object], watched_s: float) -> Outcome:
    """Send the pieces, watch whether the connection is closed, then end our direction and read to the end."""
    received = bytearray()
    with connect() as sock:
        sock.settimeout(ENDS_WITHIN_S)
        try:
            for piece in pieces:
                if piece is ANSWER:
                    received += sock.recv(1)
                else:
                    assert isinstance(piece, bytes)
                    sock.sendall(piece)
            closes = _read(sock, received, watched_s)
            if not closes and not isinstance(sock, ssl.SSLSocket):
                sock.shutdown(socket.SHUT_WR)
                assert _read(sock, received, ENDS_WITHIN_S), "it does not end"
        except (ConnectionResetError, BrokenPipeError):  # closed with bytes unread: it is closed all the same
            closes = True
    return Outcome(comparable(bytes(received)), closes)


def _read(sock: socket.socket, received: bytearray, within_s: float) -> bool:
    """Read until the end; False where that is not there in time."""
    until_s = time.monotonic() + within_s
    while (left_s := until_s - time.monotonic()) > 0 and (getattr(sock, "pending", int)() or select.select([sock], [], [], left_s)[0]):
        sock.settimeout(0)
        try:
            data = sock.recv(65536)
        except ssl.SSLEOFError:
            return True
        except (ssl.SSLWantReadError, BlockingIOError):  # a session ticket alone
            continue
        if not data:
            return True
        received += data
    return False


def comparable(received: bytes) -> bytes:
    """The same without what may differ: `pgtrace:`, and the places in the server's source."""
    position = 0
    while position < len(received) and received[position : position + 1] in b"NSG" and received[position + 1 : position + 2] != b"\0":
        position += 1
    answers, rest = received[:position], received[position:]
    if rest[:1] == b"E" and rest[1:2] != b"\0":
        return answers + rest.replace(b"pgtrace: ", b"")
    while len(rest) >= 5:
        size = 1 + int.from_bytes(rest[1:5], "big")
        message, rest = rest[:size], rest[size:]
        if message[:1] == b"E":
            fields = [field for field in message[5:].split(b"\0") if field and field[:1] not in (b"F", b"L", b"R")]
            message = b"E" + b"\0".join(fields).replace(b"Mpgtrace: ", b"M")
        answers += message
    return answers + rest


@pytest.fixture(scope="module")
def refusing(tls_server: EmbeddedServer) -> Iterator[Recorder]:
    """pgtrace before the server's Unix socket."""
    upstream = parse_upstream(f"postgresql:///?host={tls_server.socket_directory}&port={tls_server.port}", {})
    with Recorder(parse_listen("127.0.0.1:0"), upstream, allow_others=True) as recorder:
        yield recorder
        assert recorder.stats()["failures"] == 0, recorder.log


def by_unix(server: EmbeddedServer) -> Connect:
    def connect() -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(server.socket_directory / f".s.PGSQL.{server.port}"))
        return sock

    return connect


def by_tcp(host: str, port: int) -> Connect:
    return lambda: socket.create_connection((host, port))


def by_tls(host: str, port: int, *, direct: bool) -> Connect:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["postgresql"])

    def connect() -> socket.socket:
        sock = socket.create_connection((host, port))
        if not direct:
            sock.sendall(SSL_REQUEST)
            assert sock.recv(1) == b"S"
        return context.wrap_socket(sock, server_hostname="localhost")

    return connect


@pytest.fixture(scope="module")
def encrypting(tls_server: EmbeddedServer) -> Iterator[Recorder]:
    """pgtrace that ends a driver's TLS itself."""
    upstream = parse_upstream(f"postgresql://{tls_server.host}:{tls_server.port}/?sslmode=disable", {})
    with Recorder(parse_listen("127.0.0.1:0"), upstream, tls=DriverTls("end")) as recorder:
        yield recorder
        assert recorder.stats()["failures"] == 0, recorder.log


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", PROBES)
def test_a_beginning_is_answered_as_the_server_answers_it(tls_server: EmbeddedServer, refusing: Recorder, name: str) -> None:
    direct = probed(by_unix(tls_server), PROBES[name], CLOSES_WITHIN_S)
    through = probed(by_tcp(refusing.host, refusing.port), PROBES[name], ENDS_WITHIN_S if direct.closes else CLOSES_WITHIN_S)
    assert through == direct


@pytest.mark.sampled(2)
@pytest.mark.parametrize("direct", [False, True], ids=["by SSLRequest", "at once"])
@pytest.mark.parametrize("name", WITHIN_TLS)
def test_so_is_one_within_tls(tls_server: EmbeddedServer, encrypting: Recorder, name: str, direct: bool) -> None:
    pieces = WITHIN_TLS[name]
    server = probed(by_tls(tls_server.host, tls_server.port, direct=direct), pieces, CLOSES_WITHIN_S)
    watched_s = ENDS_WITHIN_S if server.closes else CLOSES_WITHIN_S
    assert probed(by_tls(encrypting.host, encrypting.port, direct=direct), pieces, watched_s) == server


@pytest.mark.parametrize("name", BEHIND_SSL_REQUEST)
def test_so_is_what_comes_with_the_request_for_tls(tls_server: EmbeddedServer, encrypting: Recorder, name: str) -> None:
    pieces: list[object] = [SSL_REQUEST + BEHIND_SSL_REQUEST[name]]
    server = probed(by_tcp(tls_server.host, tls_server.port), pieces, CLOSES_WITHIN_S)
    watched_s = ENDS_WITHIN_S if server.closes else CLOSES_WITHIN_S
    through = probed(by_tcp(encrypting.host, encrypting.port), pieces, watched_s)
    assert (through.received, through.closes) == (server.received.partition(TLS_ALERT)[0], server.closes)
