"""Whose a TCP connection is: only one whose both ends are there counts, whatever happens before it is looked at."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.proxy.drivers import connect, log_in
from tests.proxy.recorded import of_kind, recording, wait_for_end
from tests.proxy.upstreams import Scripted, echo
from tests.proxy.wire import GSSENC_REQUEST, SSL_REQUEST, STARTUP, read_all, read_exactly, reset

if sys.platform != "linux":
    pytest.skip("the kernel is asked on Linux alone", allow_module_level=True)

from pgtrace.address import Host, Upstream
from pgtrace.capture.record import Fact
from pgtrace.certificates import DriverTls
from pgtrace.proxy.admission import Owners
from pgtrace.proxy.refusals import NOT_YOURS
from pgtrace.proxy.sock_diag import SockDiag
from pgtrace.recorder import Recorder

LOOPBACKS = [
    (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
    (socket.AF_INET6, "::1", "::1"),
    (socket.AF_INET6, "127.0.0.1", "::ffff:127.0.0.1"),
]


@contextmanager
def pair(family: int = socket.AF_INET, listen: str = "127.0.0.1", host: str = "127.0.0.1") -> Iterator[tuple[socket.socket, socket.socket]]:
    """A driver's end and the accepted one."""
    with (
        socket.create_server((listen, 0), family=socket.AF_INET6 if ":" in listen else socket.AF_INET) as listener,
        socket.socket(family) as driver,
    ):
        driver.connect((host, listener.getsockname()[1]))
        accepted, _ = listener.accept()
        with accepted:
            yield driver, accepted


def ours(accepted: socket.socket, peer: object = None) -> bool:
    with contextlib.closing(Owners()) as owners:
        return owners.is_ours(accepted, peer or accepted.getpeername(), accepted.getsockname())


@pytest.mark.parametrize(("family", "listen", "host"), LOOPBACKS)
def test_an_end_of_our_own(family: int, listen: str, host: str) -> None:
    with pair(family, listen, host) as (driver, accepted):
        assert ours(accepted)
        driver.shutdown(socket.SHUT_WR)
        assert ours(accepted)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a socket to another user")
@pytest.mark.parametrize(("family", "listen", "host"), LOOPBACKS)
def test_an_end_of_another_users(family: int, listen: str, host: str) -> None:
    with pair(family, listen, host) as (driver, accepted):
        os.fchown(driver.fileno(), 65534, -1)
        assert not ours(accepted)


@pytest.mark.parametrize("end", [socket.socket.close, reset])
def test_an_end_that_is_gone_is_nobodys(end: Callable[[socket.socket], object]) -> None:
    """Some kernels say such a socket is root's: it must not count where pgtrace is root."""
    with pair() as (driver, accepted):
        peer = accepted.getpeername()
        end(driver)
        assert not ours(accepted, peer)


def test_whoever_uses_the_port_next_vouches_for_nobody() -> None:
    """A connection is made and left; then the same two addresses belong to somebody else, who is ours."""
    while not used_again():
        pass  # another process took the port in between


def used_again() -> bool:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as mine:
        stranger = socket.create_connection(listener.getsockname())
        first, peer = listener.accept()
        reset(stranger)
        with first:
            mine.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                mine.bind(peer)
            except OSError:
                return False
            mine.connect(listener.getsockname())
            second, again = listener.accept()
            with second:
                assert again == peer
                assert ours(second)
                assert not ours(first, peer)
    return True


def test_addresses_that_belong_to_no_connection() -> None:
    with pair() as (driver, accepted), SockDiag() as kernel:
        near, far = driver.getsockname(), accepted.getsockname()
        assert kernel.tcp_socket(near, far) is not None
        assert kernel.tcp_socket(far, ("127.0.0.1", 1)) is None
        assert kernel.tcp_socket(("127.0.0.2", near[1]), far) is None
        assert not ours(accepted, ("192.0.2.1", near[1]))
        assert not ours(accepted, ("no address", near[1]))


def test_a_late_answer_is_not_taken_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's answers carry the number of their question."""
    with pair() as (driver, accepted), SockDiag() as kernel:
        near, far = driver.getsockname(), accepted.getsockname()
        with monkeypatch.context() as patch:
            patch.setattr(kernel, "_netlink", _Mute(kernel._netlink))
            with pytest.raises(TimeoutError):
                kernel.tcp_socket(near, far)
        assert kernel.tcp_socket(("127.0.0.2", 9), far) is None


class _Mute:
    """A netlink socket whose answers are not read."""

    def __init__(self, netlink: socket.socket) -> None:
        self.send = netlink.send

    def recv(self, size: int) -> bytes:
        raise TimeoutError


# Through a recorder.

STARTUPS = {
    "StartupMessage": (STARTUP, True),
    "SSLRequest": (SSL_REQUEST, True),
    "GSSENCRequest": (GSSENC_REQUEST, True),
    "CancelRequest": (struct.pack(">IIII", 16, 80877102, 1, 2), False),
    "a ClientHello": (b"\x16\x03\x01\x02\x00\x01\x00", False),
    "something else": (b"GET / HTTP/1.1\r\n\r\n", False),
}
"""What a driver begins with, and whether it can be answered in the protocol."""


@contextmanager
def stranger(recorder: Recorder) -> Iterator[socket.socket]:
    """A driver's socket that belongs to another user."""
    with socket.socket() as sock:
        os.fchown(sock.fileno(), 65534, -1)
        sock.settimeout(20)
        sock.connect((recorder.host, recorder.port))
        yield sock


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a socket to another user")
@pytest.mark.parametrize("first", STARTUPS)
@pytest.mark.parametrize("options", [{}, {"dial_first": True}, {"tls": DriverTls("pass")}, {"rtt_ns": 10_000_000}])
@pytest.mark.sampled(2)
def test_who_is_refused_never_reaches_the_server(tmp_path: Path, first: str, options: dict[str, Any]) -> None:
    data, is_answered = STARTUPS[first]
    upstream = Upstream((Host(str(tmp_path), unix=str(tmp_path)),))
    with Scripted(echo, str(tmp_path / ".s.PGSQL.5432")) as server, recording(upstream, **options) as recorder:
        with stranger(recorder) as driver:
            driver.sendall(data)
            if data in (SSL_REQUEST, GSSENC_REQUEST):
                assert read_exactly(driver, 1) == b"N"
                driver.sendall(STARTUP)
            try:
                answer = read_all(driver)
            except ConnectionResetError:
                answer = b""
            assert (answer[:1] == b"E") == is_answered
            assert (b"C28000\0Mpgtrace: this port serves only the user who started pgtrace\0" in answer) == is_answered
        assert [fact.value for fact in of_kind(wait_for_end(recorder), Fact) if fact.key == "refused"] == [NOT_YOURS.message]
        assert server.accepted == 0
        with connect(recorder) as driver:
            log_in(driver)
        assert server.accepted == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a network")
def test_a_socket_of_another_network_is_not_found() -> None:
    """As a container has one: the same addresses there belong to no socket here."""
    program = """
import socket, subprocess, sys
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
listener = socket.create_server(("127.0.0.1", 0))
driver = socket.create_connection(listener.getsockname())
accepted, peer = listener.accept()
print(*peer, *accepted.getsockname(), flush=True)
sys.stdin.read()
"""
    try:
        process = subprocess.Popen(
            ["unshare", "--net", sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    except FileNotFoundError:
        pytest.skip("no unshare")
    with process, SockDiag() as kernel:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        if not words:
            pytest.skip("no network of one's own, or no ip")
        near, far = (words[0], int(words[1])), (words[2], int(words[3]))
        assert kernel.tcp_socket(near, far) is None
        process.communicate()
