"""Listening on Unix sockets: whose they are, who may connect, and what is left behind."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
import sys
from collections.abc import Callable

import pytest

from pgtrace.address import Host, Leg, Listen, Upstream
from pgtrace.capture.record import LEG, Fact, Open
from pgtrace.errors import ListenError
from pgtrace.exposure import Served
from pgtrace.protocol.codes import BACKEND
from pgtrace.proxy import admission
from pgtrace.recorder import Recorder
from tests.proxy.drivers import connect, log_in
from tests.proxy.recorded import of_kind, recording, stream, wait_for_end
from tests.proxy.upstreams import Scripted, echo
from tests.proxy.wire import READY, STARTUP, message, read_exactly

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
        with pytest.raises(ListenError, match=r"cannot listen on unix:.*6433: something already listens there"):
            Recorder(Listen((), 6433, str(directory)), NOWHERE).start()
    assert path.exists()


def test_a_socket_that_took_our_place_is_left_alone(directory):
    path = directory / ".s.PGSQL.6433"
    with recording(NOWHERE, Listen((), 6433, str(directory))):
        os.rename(path, directory / "ours")
        path.write_text("another's")
    assert path.read_text() == "another's"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says whose a connection is")
@pytest.mark.parametrize("listen", [Listen(("127.0.0.1",), 0), Listen(("::1",), 0), Listen((), 6433, "@pgtrace-test-own")])
@pytest.mark.parametrize("dial_first", [False, True])
def test_a_port_before_a_unix_socket_serves_its_own_user(tmp_path, listen, dial_first):
    """Others are refused: tests/live/test_door.py."""
    upstream = Upstream((Host(str(tmp_path), unix=str(tmp_path)),))
    with (
        Scripted(echo, str(tmp_path / ".s.PGSQL.5432")),
        recording(upstream, listen, dial_first=dial_first) as recorder,
        connect(recorder) as driver,
    ):
        assert recorder.served == [Served.OWN]
        log_in(driver)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says whose a connection is")
def test_a_system_that_does_not_tell_whose_a_connection_is_gets_no_port(monkeypatch):
    """As one without sock_diag, or with a user that cannot be told from others."""
    monkeypatch.setattr(admission.Owners, "is_ours", lambda *_: False)
    door = admission.Admission(Served.OWN, Upstream((Host("/run", unix="/run"),)))
    with (
        contextlib.closing(door),
        pytest.raises(ListenError, match=r"cannot listen on :6433: this system cannot tell who owns a connection: .*--allow-others"),
    ):
        door.open(":6433", ["127.0.0.1", "::1"])


def test_who_cannot_be_told_from_others_in_a_user_namespace():
    whole, one, two = "0 0 4294967295\n", "0 1000 1\n", "0 1000 1\n1 100000 65535\n"
    assert [admission.is_shared(uid, "65534\n", text) for uid in (0, 65534) for text in (whole, one, two)] == [False] * 3 + [
        False,
        True,
        True,
    ]


def test_an_address_this_machine_does_not_have():
    with pytest.raises(ListenError, match=r"cannot listen on 192\.0\.2\.1:6433: this machine has no such address"):
        Recorder(Listen(("192.0.2.1",), 6433), NOWHERE, allow_others=True).start()
    with pytest.raises(ListenError, match=r"no-such-host\.invalid:6433: the name cannot be resolved"):
        Recorder(Listen(("no-such-host.invalid",), 6433), NOWHERE, allow_others=True).start()


def test_two_legs_have_one_clock_one_sequence_of_numbers_and_cancel_keys_of_their_own():
    """Each leg's cancels go to its own upstream, whatever key another leg's server gave."""
    cancelled: list[bytes] = []
    key = struct.pack("!II", 4711, 7777)
    cancel = struct.pack("!II", 16, 80877102) + key
    let_in = message(b"R", bytes(4)) + message(b"K", key) + message(b"Z", b"I")

    def serve(name: bytes) -> Callable[[socket.socket], None]:
        def answer(connection: socket.socket) -> None:
            length = read_exactly(connection, 4)
            first = length + read_exactly(connection, struct.unpack("!I", length)[0] - 4)
            if first == cancel:
                cancelled.append(name)
                return
            connection.sendall(let_in)
            assert connection.recv(1) == b""

        return answer

    def dial(address: str) -> socket.socket:
        host, _, port = address.rpartition(":")
        return socket.create_connection((host, int(port)), 20)

    with Scripted(serve(b"A")) as front, Scripted(serve(b"B")) as back:
        legs = [Leg(Listen(("127.0.0.1",), 0), back.upstream)]
        with recording(front.upstream, more_legs=legs) as recorder:
            (one,), (other,) = recorder.addresses_of_legs
            assert recorder.addresses == [one]
            assert one != other
            drivers = []
            for address in (one, other, one):  # one after the other: two listeners do not say who came first
                drivers.append(driver := dial(address))
                driver.sendall(STARTUP)
                assert read_exactly(driver, len(let_in)) == let_in
            for address in (other, one):
                with dial(address) as canceller:
                    canceller.sendall(cancel)
                    assert canceller.recv(1) == b""
            for driver in drivers:
                driver.close()
            found = wait_for_end(recorder)
    opened = of_kind(found, Open)
    assert [(open_.connection, open_.listener, open_.upstream) for open_ in opened[:3]] == [
        (1, one, front.upstream.display),
        (2, other, back.upstream.display),
        (3, one, front.upstream.display),
    ]
    letters = {fact.connection: fact.value for fact in of_kind(found, Fact) if fact.key == LEG}
    assert letters == {1: "A", 2: "B", 3: "A", 4: "B", 5: "A"}
    assert cancelled == [b"B", b"A"]
    assert [open_.time_ns for open_ in opened] == sorted(open_.time_ns for open_ in opened)


def test_one_leg_has_no_letter():
    with Scripted(echo) as server, recording(server.upstream) as recorder:
        with connect(recorder) as driver:
            log_in(driver)
        found = wait_for_end(recorder)
    assert not [fact for fact in of_kind(found, Fact) if fact.key == LEG]


def test_a_leg_that_cannot_listen_ends_the_others(directory):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        legs = [Leg(Listen(("127.0.0.1",), taken.getsockname()[1]), NOWHERE)]
        with pytest.raises(ListenError, match="something already listens there"):
            Recorder(Listen((), 6433, str(directory)), NOWHERE, more_legs=legs).start()
    assert not (directory / ".s.PGSQL.6433").exists()
