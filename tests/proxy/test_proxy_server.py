"""Listening on Unix sockets: whose they are, who may connect, and what is left behind."""

from __future__ import annotations

import os
import socket
import stat

import pytest
from upstreams import READY, STARTUP, Scripted, connect, echo, log_in, of_kind, read_exactly, recording, stream, wait_for_end

from pgtrace.address import Host, Listen, Upstream
from pgtrace.capture.record import Open
from pgtrace.errors import AddressError, ListenError
from pgtrace.protocol.codes import BACKEND
from pgtrace.recorder import Recorder

NOWHERE = Upstream((Host("127.0.0.1", 1),), sslmode="disable")


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "sockets"


def test_unix_sockets_on_both_sides(directory, tmp_path):
    with (
        Scripted(echo, str(tmp_path / ".s.PGSQL.5432")),
        recording(Upstream((Host(str(tmp_path), unix=str(tmp_path)),)), Listen((), 6433, str(directory))) as recorder,
    ):
        assert recorder.host == str(directory)
        assert recorder.addresses == [f"unix:{directory}/.s.PGSQL.6433"]
        with connect(recorder) as driver:
            log_in(driver)
            driver.sendall(b"S\0\0\0\4")
            assert read_exactly(driver, 5) == b"S\0\0\0\4"
        found = wait_for_end(recorder)
        assert stream(found, BACKEND) == READY + b"S\0\0\0\4"
        assert of_kind(found, Open)[0].listener == recorder.addresses[0]
        assert of_kind(found, Open)[0].upstream == f"unix:{tmp_path}/.s.PGSQL.5432"


def test_the_socket_is_private_and_removed(directory):
    with recording(NOWHERE, Listen((), 6433, str(directory))):
        path = directory / ".s.PGSQL.6433"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert not path.exists()


def test_others_may_connect_where_that_is_asked_for(directory):
    with recording(NOWHERE, Listen((), 6433, str(directory)), allow_others=True):
        assert stat.S_IMODE((directory / ".s.PGSQL.6433").stat().st_mode) == 0o777


def test_a_stale_socket_is_replaced(directory):
    directory.mkdir()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(directory / ".s.PGSQL.6433"))
    with Scripted(echo) as server, recording(server.upstream, Listen((), 6433, str(directory))) as recorder, connect(recorder) as driver:
        driver.sendall(STARTUP)
        assert read_exactly(driver, len(READY)) == READY


@pytest.mark.parametrize("kind", ["socket", "file"])
def test_what_is_in_use_or_no_socket_is_left_alone(directory, kind):
    directory.mkdir()
    path = directory / ".s.PGSQL.6433"
    with socket.socket(socket.AF_UNIX) as used:
        if kind == "socket":
            used.bind(str(path))
            used.listen()
        else:
            path.write_text("mine")
        with pytest.raises(ListenError, match=r"cannot listen on unix:.*6433: something listens there already"):
            Recorder(Listen((), 6433, str(directory)), NOWHERE).start()
    assert path.exists()


def test_a_socket_that_took_our_place_is_left_alone(directory):
    path = directory / ".s.PGSQL.6433"
    with recording(NOWHERE, Listen((), 6433, str(directory))):
        os.rename(path, directory / "ours")
        path.write_text("another's")
    assert path.read_text() == "another's"


def test_tcp_before_a_unix_socket_needs_to_be_allowed(tmp_path):
    upstream = Upstream((Host(str(tmp_path), unix=str(tmp_path)),))
    with pytest.raises(AddressError, match="--allow-others"):
        Recorder(Listen(("127.0.0.1",), 0), upstream).start()
    with recording(upstream, Listen(("127.0.0.1",), 0), allow_others=True) as recorder:
        assert recorder.port


def test_an_address_this_machine_does_not_have():
    with pytest.raises(ListenError, match=r"cannot listen on 192\.0\.2\.1:6433: this machine has no such address"):
        Recorder(Listen(("192.0.2.1",), 6433), NOWHERE, allow_others=True).start()
    with pytest.raises(ListenError, match=r"no-such-host\.invalid:6433: the name cannot be resolved"):
        Recorder(Listen(("no-such-host.invalid",), 6433), NOWHERE, allow_others=True).start()
