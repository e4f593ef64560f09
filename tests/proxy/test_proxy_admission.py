"""Whose a TCP connection is: only one whose both ends are there counts, whatever happens before it is looked at."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from upstreams import reset

if sys.platform != "linux":
    pytest.skip("the kernel is asked on Linux alone", allow_module_level=True)

from pgtrace.proxy.admission import Owners
from pgtrace.proxy.sockets import Kernel

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
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        stranger = socket.create_connection(address)
        first, peer = listener.accept()
        reset(stranger)
        with socket.socket() as mine:
            mine.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            mine.bind(peer)
            mine.connect(address)
            second, again = listener.accept()
            assert again == peer
            assert ours(second)
            assert not ours(first, peer)
            second.close()
        first.close()


def test_addresses_that_belong_to_no_connection() -> None:
    with pair() as (driver, accepted), Kernel() as kernel:
        near, far = driver.getsockname(), accepted.getsockname()
        assert kernel.tcp_socket(near, far) is not None
        assert kernel.tcp_socket(far, ("127.0.0.1", 1)) is None
        assert kernel.tcp_socket(("127.0.0.2", near[1]), far) is None
        assert not ours(accepted, ("192.0.2.1", near[1]))
        assert not ours(accepted, ("no address", near[1]))


def test_a_late_answer_is_not_taken_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's answers carry the number of their question."""
    with pair() as (driver, accepted), Kernel() as kernel:
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
