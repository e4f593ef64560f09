"""How each side hears that the other has gone while all buffers are full: directly, and through
pgtrace. `pytest -s` prints the table of docs/connections.md.

Both sides send until nothing is taken any more and read nothing. Then one of them goes. The other
one, which waits to send, hears of it (or, where it reads at 1 MB/s, at the end of what it can
read), and reads what there is.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import trustme

from pgtrace.address import Host, Upstream
from pgtrace.capture.record import PEER, Pause
from pgtrace.certificates import DriverTls
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.proxy.kernel import undelivered_bytes, unread_bytes
from tests.proxy.drivers import connect, log_in
from tests.proxy.recorded import of_kind, recording, records
from tests.proxy.upstreams import Scripted
from tests.proxy.wire import READY, SSL_REQUEST, STARTUP, read_exactly, reset

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what the kernel still has to send is known on Linux only")

WITHIN_S = 0.5
MORE_BYTES = 1 << 20
RATE = 1_000_000
FULL_S = 0.3
CHUNK = bytes(1 << 16)
GOES = ["driver reset", "driver closed", "driver killed", "server reset", "server killed"]
HOW = ["plain", "TLS to pgtrace", "TLS to the server", "half-closed", "read at 1 MB/s"]


class Heard(NamedTuple):
    """By the side that stayed: when, and what it could read."""

    after_s: float
    how: str
    got_bytes: int


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@contextlib.contextmanager
def two_ends(authority: trustme.CA, how: str, goes: str, *, directly: bool) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A driver and a server that are connected and logged in; directly with TLS where the one that stays has TLS through pgtrace."""
    met: list[socket.socket] = []
    there, done = threading.Event(), threading.Event()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    tls_to_server = (
        how == "TLS to the server" if not directly else (how, goes) in (("TLS to pgtrace", "server"), ("TLS to the server", "driver"))
    )
    tls_to_driver = how == "TLS to pgtrace" if not directly else tls_to_server

    def serve(connection: socket.socket) -> None:
        if tls_to_server:
            assert read_exactly(connection, 8) == SSL_REQUEST
            connection.sendall(b"S")
            connection = context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False)
        with connection:
            assert read_exactly(connection, len(STARTUP)) == STARTUP
            connection.sendall(READY)
            met.append(connection)
            there.set()
            assert done.wait(60)

    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Scripted(serve))
        stack.callback(done.set)
        if directly:
            driver = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 20))
        else:
            upstream = Upstream((Host("localhost", server.port, hostaddr="127.0.0.1"),), sslmode="require" if tls_to_server else "disable")
            recorder = stack.enter_context(recording(upstream, tls=DriverTls("end") if tls_to_driver else DriverTls()))
            driver = stack.enter_context(connect(recorder))
            if recorder.authority is not None:
                trusting = ssl.create_default_context(cafile=str(recorder.authority))
        if tls_to_driver:
            driver.sendall(SSL_REQUEST)
            assert read_exactly(driver, 1) == b"S"
            driver = stack.enter_context(trusting.wrap_socket(driver, server_hostname="localhost", suppress_ragged_eofs=False))
        driver.sendall(STARTUP)
        assert read_exactly(driver, len(READY)) == READY
        assert there.wait(20)
        yield driver, met[0]


def fill(*socks: socket.socket) -> list[int]:
    """Send on all of them until none takes anything; what each got rid of."""
    sent = [0] * len(socks)
    for sock in socks:
        sock.setblocking(False)
    moved = time.monotonic()
    while time.monotonic() - moved < FULL_S:
        for number, sock in enumerate(socks):
            with contextlib.suppress(BlockingIOError, ssl.SSLWantWriteError):
                sent[number] += sock.send(CHUNK)
                moved = time.monotonic()
        select.select([], socks, [], 0.05)
    return sent


def go(sock: socket.socket, how: str) -> float:
    """Be gone; when that was."""
    if how == "killed":
        heir = subprocess.Popen(
            [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[sock.fileno()],
        )
        assert heir.stdout is not None
        heir.stdout.readline()
        sock.close()
        at = time.monotonic()
        heir.kill()
        heir.communicate()
        return at
    at = time.monotonic()
    reset(sock) if how == "reset" else sock.close()
    return at


def hear(sock: socket.socket, *, slowly: bool, since: float) -> Heard:
    """Of the end: by the send that waits, or at the end of what can be read."""
    how = ""
    if not slowly:
        while not how:
            assert select.select([], [sock], [], 20)[1]
            try:
                sock.send(CHUNK)
            except (BlockingIOError, ssl.SSLWantWriteError):
                pass
            except OSError as error:
                how = type(error).__name__
        after = time.monotonic() - since
    got, begun = 0, time.monotonic()
    end = ""
    while not end:
        if slowly and got > (time.monotonic() - begun) * RATE:
            time.sleep((got / RATE) - (time.monotonic() - begun))
        try:
            data = sock.recv(1 << 16)
        except (BlockingIOError, ssl.SSLWantReadError):
            select.select([sock], [], [], 20)
            continue
        except OSError as error:
            end = type(error).__name__
        else:
            end = "" if data else "end"
            got += len(data)
    return Heard(time.monotonic() - since if slowly else after, how or end, got)


def tried(authority: trustme.CA, goes: str, how: str, *, directly: bool) -> Heard:
    """One of the two goes, as `goes` says: what the other hears."""
    who, _, manner = goes.partition(" ")
    with two_ends(authority, how, who, directly=directly) as ends:
        leaver, stayer = ends if who == "driver" else ends[::-1]
        fill(*ends)
        if how == "half-closed":
            leaver.shutdown(socket.SHUT_WR)
        return hear(stayer, slowly=how == "read at 1 MB/s", since=go(leaver, manner))


@pytest.mark.sampled(2)
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("goes", GOES)
def test_an_end_is_heard_as_directly(goes: str, how: str, authority: trustme.CA) -> None:
    there = tried(authority, goes, how, directly=True)
    for _ in range(3):  # a busy machine may take longer, but not each time
        through = tried(authority, goes, how, directly=False)
        more_s = max(0, through.got_bytes - there.got_bytes) / RATE if how == "read at 1 MB/s" else 0.0
        if through.after_s <= there.after_s + more_s + WITHIN_S:
            break
    heard = " | ".join(f"{one.after_s:.2f} s, {one.got_bytes / 1e6:.2f} MB" for one in (there, through))
    print(f"\n| {goes} | {how} | {heard} |", end=" ")
    assert through.after_s <= there.after_s + more_s + WITHIN_S
    assert through.got_bytes >= there.got_bytes * 0.7  # a receive buffer holds more or less, as the bytes were cut


@pytest.mark.parametrize("before", [0, 100 << 20], ids=["cold", "behind 100 MiB"])
@pytest.mark.parametrize("who", ["driver", "server"])
def test_a_sender_gets_rid_of_at_most_1_mib_more(who: str, before: int, authority: trustme.CA) -> None:
    """Of what is sent, all that is neither in the sender's kernel nor in the receiver's is what pgtrace and its kernel hold."""
    with two_ends(authority, "plain", "", directly=False) as (driver, server):
        sender, receiver = (driver, server) if who == "driver" else (server, driver)
        passing = threading.Thread(target=sender.sendall, args=(bytes(before),))
        passing.start()
        assert len(read_exactly(receiver, before)) == before
        passing.join()
        (sent,) = fill(sender)
        held = sent - undelivered_bytes(sender) - unread_bytes(receiver)
    print(f"\n{who}: {held / 1e6:.2f} MB of {sent / 1e6:.2f} MB held between")
    assert 0 < held <= MORE_BYTES


@pytest.mark.parametrize("who", ["driver", "server"])
def test_a_pause_that_lasts_is_a_record(who: str, authority: trustme.CA) -> None:
    """The leg whose bytes nobody takes is paused, from when that began until it is read again."""
    met: list[socket.socket] = []
    gone = threading.Event()

    def serve(connection: socket.socket) -> None:
        read_exactly(connection, len(STARTUP))
        connection.sendall(READY)
        met.append(connection)
        assert gone.wait(60)

    with Scripted(serve) as scripted, recording(scripted.upstream) as recorder, connect(recorder) as driver:
        log_in(driver)
        while not met:
            pass
        sender, receiver = (driver, met[0]) if who == "driver" else (met[0], driver)
        began_ns = time.monotonic_ns()
        (sent,) = fill(sender)
        while not of_kind(records(recorder), Pause):
            pass
        assert [pause[1:] for pause in of_kind(records(recorder), Pause)] == [(1, FRONTEND if who == "driver" else BACKEND, True, PEER)]
        receiver.setblocking(True)
        assert len(read_exactly(receiver, sent)) == sent
        ended_ns = time.monotonic_ns()
        while len(pauses := of_kind(records(recorder), Pause)) < 2:
            pass
        assert [pause.begin for pause in pauses] == [True, False]
        assert began_ns < pauses[0].time_ns < pauses[1].time_ns < ended_ns
        assert pauses[1].time_ns - pauses[0].time_ns > FULL_S / 2 * 1e9
        gone.set()
