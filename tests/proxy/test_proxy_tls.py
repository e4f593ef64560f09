"""TLS to the upstream: sslmode's words, and the one byte of the answer."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from typing import Any

import pytest
import trustme

from pgtrace.address import Host, Upstream, parse_upstream
from pgtrace.capture.record import Fact, Rewrite
from pgtrace.errors import AddressError
from pgtrace.faults import Rule, parse
from pgtrace.protocol.codes import BACKEND
from pgtrace.protocol.fields import error_fields
from pgtrace.proxy.tls import upstream_context
from tests.proxy.drivers import connect
from tests.proxy.recorded import of_kind, recording, stream, wait_for_end
from tests.proxy.upstreams import Scripted
from tests.proxy.wire import OFFER, PLAIN_OFFER, READY, SSL_REQUEST, STARTUP, message, read_all, read_exactly

REFUSAL = message(b"E", b"SFATAL\0C28000\0Mno encryption\0\0")


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority, tmp_path_factory):
    directory = tmp_path_factory.mktemp("tls")
    authority.cert_pem.write_to_path(directory / "root.crt")
    trustme.CA().cert_pem.write_to_path(directory / "other.crt")
    client = authority.issue_cert("somebody@example.org", common_name="somebody")
    client.cert_chain_pems[0].write_to_path(directory / "client.crt")
    client.private_key_pem.write_to_path(directory / "client.key")
    return directory


class TlsServer:
    """What a server does with an SSLRequest: accept it, refuse it, or worse; then lets everybody in and says how they came."""

    def __init__(self, authority: trustme.CA, *, reply: bytes = b"S", alpn: bool = True, direct: bool = False, refuse: str = "") -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(self.context)
        authority.configure_trust(self.context)
        self.context.verify_mode = ssl.CERT_OPTIONAL
        self.names: list[str | None] = []
        self.context.sni_callback = lambda _socket, name, _context: self.names.append(name)
        if alpn:
            self.context.set_alpn_protocols(["postgresql"])
        self.reply, self.direct, self.refuse = reply, direct, refuse

    def __call__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self.direct:
                self.encrypted(sock)
                return
            first = read_exactly(sock, 8)
            if first != SSL_REQUEST:
                self.session(sock, first, "plain")
                return
            sock.sendall(self.reply)
            if self.reply[:1] == b"S":
                self.encrypted(sock)
            elif self.reply == b"N":
                self.session(sock, read_exactly(sock, 8), "plain")
        except (ssl.SSLError, ConnectionError):
            pass  # the other end did not like it, which is what the test looks at there

    def encrypted(self, sock: socket.socket) -> None:
        with self.context.wrap_socket(sock, server_side=True) as tls:
            who = dict(part[0] for part in (tls.getpeercert() or {}).get("subject", ())).get("commonName", "tls")
            self.session(tls, read_exactly(tls, 8), str(who))

    def session(self, sock: socket.socket, head: bytes, how: str) -> None:
        if not head:
            return
        assert head + read_exactly(sock, len(STARTUP) - 8) == STARTUP
        if self.refuse == how:
            sock.sendall(REFUSAL)
            return
        sock.sendall(OFFER + READY + message(b"S", b"how\0" + how.encode() + b"\0"))
        while data := sock.recv(1 << 16):
            sock.sendall(data)


def ask(server: TlsServer, host: str = "localhost", faults: Sequence[Rule] = (), **settings: Any) -> tuple[bytes, list[object], Scripted]:
    """What a driver gets through a recorder with these settings, and what was recorded of it."""
    with Scripted(server) as scripted:
        upstream = Upstream((Host(host, scripted.port, hostaddr="127.0.0.1"),), **settings)
        with recording(upstream, faults=faults) as recorder, connect(recorder) as driver:
            driver.sendall(STARTUP)
            driver.shutdown(socket.SHUT_WR)
            answer = read_all(driver)
            driver.close()
            return answer, list(wait_for_end(recorder)), scripted


def how_of(answer: bytes) -> str:
    return answer[answer.index(b"how\0") + 4 : -1].decode() if b"how\0" in answer else error_fields(answer[5:]).get("D", "")


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("disable", "plain"), ("allow", "plain"), ("prefer", "tls"), ("require", "tls"), ("verify-ca", "tls"), ("verify-full", "tls")],
)
def test_a_server_that_does_tls(authority, files, mode, expected):
    server = TlsServer(authority)
    answer, found, _ = ask(server, sslmode=mode, sslrootcert=str(files / "root.crt"))
    assert how_of(answer) == expected
    facts = {fact.key: fact.value for fact in of_kind(found, Fact)}
    assert facts.get("tls.backend") == ("TLSv1.3" if expected == "tls" else None)
    assert stream(found, BACKEND) == answer
    if expected == "tls":
        assert server.names == ["localhost"]
        assert answer.startswith(PLAIN_OFFER)
        assert [(record.original, record.data) for record in of_kind(found, Rewrite)] == [(OFFER, PLAIN_OFFER)]
    else:
        assert answer.startswith(OFFER)
        assert of_kind(found, Rewrite) == []


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
def test_a_server_without_tls(authority, mode):
    answer, _, _ = ask(TlsServer(authority, reply=b"N"), sslmode=mode)
    assert how_of(answer) == "plain"


def test_a_server_without_tls_that_must_have_it(authority):
    answer, _, _ = ask(TlsServer(authority, reply=b"N"), sslmode="require")
    assert error_fields(answer[5:])["C"] == "57P03"
    assert "the server does not offer TLS, and sslmode=require requires it" in how_of(answer)


def test_a_certificate_of_another_authority(authority, files):
    answer, _, _ = ask(TlsServer(authority), sslmode="verify-ca", sslrootcert=str(files / "other.crt"))
    assert "certificate verify failed" in how_of(answer)


def test_a_root_certificate_counts_for_require_too(authority, files):
    answer, _, _ = ask(TlsServer(authority), sslmode="require", sslrootcert=str(files / "other.crt"))
    assert "certificate verify failed" in how_of(answer)


def test_a_certificate_of_another_name(authority, files):
    root = str(files / "root.crt")
    assert how_of(ask(TlsServer(authority), sslmode="verify-ca", sslrootcert=root, host="127.0.0.1")[0]) == "tls"
    assert "certificate verify failed" in how_of(ask(TlsServer(authority), sslmode="verify-full", sslrootcert=root, host="127.0.0.1")[0])


def test_a_client_certificate(authority, files):
    settings = {"sslcert": str(files / "client.crt"), "sslkey": str(files / "client.key")}
    assert how_of(ask(TlsServer(authority), sslmode="require", **settings)[0]) == "somebody"


@pytest.mark.parametrize(("mode", "expected"), [("prefer", "plain"), ("require", "TLS failed")])
def test_plain_bytes_behind_the_answer_never_reach_the_driver(authority, mode, expected):
    """CVE-2021-23222: what somebody put behind `S` breaks the handshake; `prefer` then goes on without TLS, knowingly."""
    answer, _, _ = ask(TlsServer(authority, reply=b"S" + message(b"S", b"injected\0yes\0")), sslmode=mode)
    assert b"injected" not in answer
    assert expected in how_of(answer)


def test_prefer_tries_again_when_the_answer_is_an_error(authority):
    answer, _, scripted = ask(TlsServer(authority, reply=REFUSAL), sslmode="prefer")
    assert how_of(answer) == "plain"
    assert scripted.accepted == 2


@pytest.mark.parametrize("sslmode", ["disable", "allow", "prefer", "require"])
def test_a_broken_certificate_in_the_home_directory_stops_nobody_who_did_not_ask_for_tls(tmp_path, sslmode):
    (tmp_path / ".postgresql").mkdir()
    (tmp_path / ".postgresql" / "postgresql.crt").write_text("no certificate")
    upstream = parse_upstream(f"postgresql://db/?sslmode={sslmode}", {"HOME": str(tmp_path)})
    assert upstream.sslcert_is_from_home
    if sslmode == "require":
        with pytest.raises(AddressError, match="cannot use this certificate and key"):
            upstream_context(upstream)
    else:
        assert (upstream_context(upstream) is None) == (sslmode == "disable")


@pytest.mark.parametrize("faults", [[], [parse("delay 1ms before reply to StartupMessage"), parse("close after StartupMessage#2")]])
@pytest.mark.parametrize(("mode", "refused", "expected"), [("prefer", "tls", "plain"), ("allow", "plain", "tls")])
def test_the_second_try_of_libpq(authority, mode, refused, expected, faults):
    answer, found, scripted = ask(TlsServer(authority, refuse=refused), sslmode=mode, faults=faults)
    assert how_of(answer) == expected
    assert scripted.accepted == 2
    assert stream(found, BACKEND) == answer
    assert [fact.value for fact in of_kind(found, Fact) if fact.key == "upstream.refused"] == [
        "with TLS" if refused == "tls" else "without TLS"
    ]
    assert [fact.value for fact in of_kind(found, Fact) if fact.key == "fault"] == [rule.text for rule in faults[:1]] * 2


def test_a_refusal_without_a_way_out_is_passed_on(authority):
    answer, _, _ = ask(TlsServer(authority, reply=b"N", refuse="plain"), sslmode="allow")
    assert answer == REFUSAL
    answer, _, _ = ask(TlsServer(authority, refuse="tls"), sslmode="require")
    assert answer == REFUSAL


def test_the_name_of_the_host_is_sent_unless_told_otherwise(authority, files):
    for sslsni, expected in ((True, ["localhost"]), (False, [None])):
        server = TlsServer(authority)
        assert how_of(ask(server, sslmode="verify-ca", sslrootcert=str(files / "root.crt"), sslsni=sslsni)[0]) == "tls"
        assert server.names == expected


def test_direct_tls(authority):
    settings = {"sslmode": "require", "sslnegotiation": "direct"}
    assert how_of(ask(TlsServer(authority, direct=True), **settings)[0]) == "tls"
    assert "ALPN" in how_of(ask(TlsServer(authority, direct=True, alpn=False), **settings)[0])


def test_a_large_transfer_and_a_half_close_over_tls(authority):
    data = message(b"d", bytes(range(256)) * 8192)
    with Scripted(TlsServer(authority)) as scripted:
        upstream = Upstream((Host("localhost", scripted.port, hostaddr="127.0.0.1"),), sslmode="require")
        with recording(upstream) as recorder, connect(recorder) as driver:
            driver.sendall(STARTUP)
            head = PLAIN_OFFER + READY + message(b"S", b"how\0tls\0")
            assert read_exactly(driver, len(head)) == head
            driver.sendall(data)
            driver.shutdown(socket.SHUT_WR)
            assert read_all(driver) == data


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"sslmode": "verify-full"}, "needs a root certificate"),
        ({"sslmode": "require", "sslrootcert": "system"}, "sslrootcert=system needs sslmode=verify-full"),
        ({"sslmode": "require", "sslcert": "/no/such.crt"}, "cannot use this certificate and key"),
    ],
)
def test_settings_that_cannot_be_used(settings, reason):
    with pytest.raises(AddressError, match=reason):
        upstream_context(Upstream((Host("db"),), **settings))
