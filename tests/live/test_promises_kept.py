"""The traffic goes on whatever happens to the recording: a disk that hangs, is full or broken, a
viewer that reads nothing, kill -9, one message of 1 GiB.

The faults are injected where they happen, at the system call, in a real recorder process: a
`sitecustomize` in its PYTHONPATH puts `os.write` under the orders of a file. With PGTRACE_NIGHTLY
set (`make nightly`) there is more of everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from pgtrace.address import Host, Upstream
from pgtrace.capture.record import Opaque
from pgtrace.framing import LONGEST
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.recorder import Recorder
from pgtrace.report import stats
from pgtrace.trace.row import RowKind
from tests.live.disks import bad_disk
from tests.live.traffic import peak_bytes, resident_bytes, until
from tests.proxy.drivers import connect, log_in
from tests.proxy.recorded import ANY_PORT, of_kind, recording, records_in, stream, wait_for_end
from tests.proxy.upstreams import Scripted, echo
from tests.proxy.wire import READY, STARTUP, read_exactly, row
from tests.traces import fully_read

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")

NIGHTLY = "PGTRACE_NIGHTLY" in os.environ
MIB = 1 << 20
BEYOND_START = 64 * MIB
KILLS = 300 if NIGHTLY else 50
KILLS_AT_ONCE = 4
CROWD = 2000


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """What the disk of a recorder started from now on does: `hang`, `ENOSPC`, `EIO`, or nothing out of the ordinary."""
    return bad_disk(tmp_path / "disk", monkeypatch)


@pytest.mark.parametrize("fault", ["hang", "ENOSPC", "EIO"])
def test_a_bad_disk_costs_no_client_a_byte_and_every_view_says_what_is_missing(fault, disk, tmp_path):
    path = tmp_path / "bad.pgtrace"
    message = b"D\0\x10\0\0" + bytes(MIB - 4)
    with Scripted(echo) as server, recording(server.upstream, write=path) as recorder, connect(recorder) as driver:
        log_in(driver)
        recorder.flush()
        before = resident_bytes(recorder.pid)
        disk(fault)
        sender = threading.Thread(target=lambda: [driver.sendall(message) for _ in range(64)])
        sender.start()
        for _ in range(64):
            assert read_exactly(driver, len(message)) == message
        sender.join()
        assert peak_bytes(recorder.pid) - before <= BEYOND_START
        if fault == "hang":
            until(lambda: recorder.stats()["lost_bytes"])
        else:
            recorder.flush()
            assert recorder.stats()["write_error"] == os.strerror(getattr(errno, fault))
        disk("")
        recorder.flush()
        driver.sendall(b"S\0\0\0\4")
        assert read_exactly(driver, 5) == b"S\0\0\0\4"
        recorder.flush()
        told = recorder.stats()
        assert told["write_error"] is None
        assert told["lost_bytes"] > 64 * MIB
    with closing(fully_read(path)) as trace:
        assert trace.dropped_bytes == told["lost_bytes"]
        counted = stats.as_dict(trace)["capture"]
        assert (counted["gaps"], counted["dropped_bytes"]) == (trace.gaps, told["lost_bytes"])
        rows = [trace.rows[place] for place in range(len(trace.rows))]
        assert [row.shape.kind for row in rows].count(RowKind.GAP) == trace.gaps > 0
    shown = subprocess.run([sys.executable, "-m", "pgtrace", "show", str(path)], capture_output=True, text=True, check=True)
    assert shown.stdout.count("not recorded on") == trace.gaps
    totals = subprocess.run([sys.executable, "-m", "pgtrace", "stats", str(path)], capture_output=True, text=True, check=True)
    assert "not recorded" in totals.stdout + totals.stderr


POISON = """
import pgtrace.capture.{module} as module
_call = module.{name}.{method}
def call(self, *arguments):
    if b"poison" in repr(arguments).encode():
        raise RuntimeError("a defect on purpose")
    return _call(self, *arguments)
module.{name}.{method} = call
"""
"""A decoder of the recorder's that raises at a word."""


def poisoned(monkeypatch: pytest.MonkeyPatch, directory: Path, module: str, name: str, method: str) -> None:
    """Recorders started from now on have that defect."""
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(POISON.format(module=module, name=name, method=method))
    monkeypatch.setenv("PYTHONPATH", str(directory), prepend=os.pathsep)


def talk(driver: socket.socket, text: bytes) -> None:
    """A message there and back."""
    driver.sendall(row(text))
    assert read_exactly(driver, len(row(text))) == row(text)


def test_a_decoder_that_raises_in_the_start_up_costs_its_own_record_alone(tmp_path, monkeypatch):
    """That session passes byte for byte, is counted and not stored; the others are recorded as ever."""
    poisoned(monkeypatch, tmp_path / "site", "redact", "Redactor", "feed")
    startup = b"\0\0\0\x15\0\3\0\0user\0poison\0\0"

    def serve(connection: socket.socket) -> None:
        first = read_exactly(connection, 4)
        read_exactly(connection, int.from_bytes(first, "big") - 4)
        connection.sendall(READY)
        while data := connection.recv(1 << 16):
            connection.sendall(data)

    with Scripted(serve) as server, Recorder(ANY_PORT, server.upstream) as recorder:
        with connect(recorder) as harmed, connect(recorder) as good:
            harmed.sendall(startup)
            assert read_exactly(harmed, len(READY)) == READY
            log_in(good)
            for driver in (harmed, good, harmed):
                talk(driver, b"to be kept")
        found = wait_for_end(recorder)
        assert recorder.stats()["failures"] == 1
        assert "a defect on purpose" in recorder.log
    passed = Counter[int]()
    for one in of_kind(found, Opaque):
        assert one.connection == 1
        passed[one.side] += one.length
    assert passed == {FRONTEND: len(startup) + 30, BACKEND: len(READY) + 30}
    assert stream(found, FRONTEND, 1) == b""
    assert stream(found, BACKEND, 2) == READY + row(b"to be kept")


def test_a_decoder_that_raises_before_the_disk_leaves_the_traffic_alone_and_no_byte_unblanked(tmp_path, monkeypatch):
    """What it was to blank is not written, and counted: that batch and all that follow."""
    poisoned(monkeypatch, tmp_path / "site", "hiding", "Hiding", "__call__")
    path = tmp_path / "defect.pgtrace"
    with Scripted(echo) as server, recording(server.upstream, write=path, redact=["rows"]) as recorder, connect(recorder) as driver:
        log_in(driver)
        talk(driver, b"harmless")
        recorder.flush()
        assert recorder.stats()["write_error"] is None
        for text in (b"poison", b"as well"):
            talk(driver, text)
            recorder.flush()
        told = recorder.stats()
        assert "a defect on purpose" in told["write_error"]
        assert told["lost_bytes"] == 2 * len(row(b"poison") + row(b"as well"))
        with connect(recorder) as another:
            log_in(another)
        until(lambda: recorder.stats()["connections"], lambda left: left == 1)
        recorder.flush()
        told = recorder.stats()
    with closing(fully_read(path)) as trace:
        assert (trace.dropped_bytes, len(trace.connections)) == (told["lost_bytes"], 2)
    assert b"poison" not in path.read_bytes()
    assert b"as well" not in path.read_bytes()


def test_a_viewer_that_reads_no_answers_does_not_stop_the_traffic():
    """The pipe of answers is filled to the brim and beyond; requests and traffic go on."""
    with Scripted(echo) as server, recording(server.upstream) as recorder, connect(recorder) as driver:
        log_in(driver)
        assert recorder._control is not None
        process = recorder._control.process
        assert process.stdin is not None
        assert process.stdout is not None

        def ask() -> None:
            for _ in range(2000):  # 300 KiB of answers, and no more than a pipe holds of requests at a time
                process.stdin.write(b'{"do": "stats"}\n')

        asking = threading.Thread(target=ask)
        asking.start()
        for _ in range(500):
            driver.sendall(b"S\0\0\0\4")
            assert read_exactly(driver, 5) == b"S\0\0\0\4"
        asking.join(20)
        assert not asking.is_alive()
        driver.sendall(b"S\0\0\0\4")
        assert read_exactly(driver, 5) == b"S\0\0\0\4"
        os.set_blocking(process.stdout.fileno(), False)
        answers = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                answers += os.read(process.stdout.fileno(), 65536)
        assert answers.endswith(b"}\n")
        assert 100 < answers.count(b"\n") < 2000, "answers that nobody reads are dropped, whole"


def test_one_message_of_1_gib_each_way_is_never_collected():
    size = LONGEST + 1
    block = random.Random(1).randbytes(MIB)
    head = b"d" + LONGEST.to_bytes(4, "big")

    def send(sock: socket.socket) -> None:
        sock.sendall(head)
        left = size - len(head)
        while left:
            sock.sendall(memoryview(block)[: min(left, MIB)])
            left -= min(left, MIB)

    def receive(sock: socket.socket) -> None:
        assert read_exactly(sock, len(head)) == head
        left, buffer = size - len(head), bytearray(MIB)
        while left:
            view = memoryview(buffer)[: min(left, MIB)]
            filled = 0
            while filled < len(view):
                count = sock.recv_into(view[filled:])
                assert count
                filled += count
            assert buffer[: len(view)] == block[: len(view)]
            left -= len(view)

    def serve(connection: socket.socket) -> None:
        connection.settimeout(60)
        read_exactly(connection, len(STARTUP))
        connection.sendall(READY)
        receive(connection)
        send(connection)
        assert read_exactly(connection, 5) == b"S\0\0\0\4"

    with Scripted(serve) as server, recording(server.upstream, keep_bytes=64 * MIB) as recorder, connect(recorder) as driver:
        driver.settimeout(60)
        log_in(driver)
        before = resident_bytes(recorder.pid)
        send(driver)
        receive(driver)
        driver.sendall(b"S\0\0\0\4")
        assert driver.recv(1) == b""
        grown = peak_bytes(recorder.pid) - before
        print(f"recorder with a message of 1 GiB each way: {grown / MIB:.1f} MiB beyond its {before / MIB:.1f} MiB; {recorder.stats()}")
        assert grown <= BEYOND_START


async def test_two_thousand_connections_at_once(tmp_path):
    """All are there before the first query; each is served, recorded with every byte, and gone at the end, as are its descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * CROWD + 500
    if hard < wanted:
        pytest.skip(f"this system allows {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(STARTUP))
        writer.write(READY)
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
    port = server.sockets[0].getsockname()[1]
    path = tmp_path / "crowd.pgtrace"
    all_here = asyncio.Barrier(CROWD)
    with Recorder(ANY_PORT, Upstream((Host("127.0.0.1", port),), sslmode="disable"), write=path) as recorder:
        before, descriptors = resident_bytes(recorder.pid), len(os.listdir(f"/proc/{recorder.pid}/fd"))

        async def client(number: int) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", recorder.port)
            writer.write(STARTUP)
            assert await reader.readexactly(len(READY)) == READY
            await all_here.wait()
            for turn in range(3):
                message = b"Q\0\0\0\x0c" + number.to_bytes(4, "big") + turn.to_bytes(3, "big") + b"\0"
                writer.write(message)
                assert await reader.readexactly(len(message)) == message
            writer.close()
            assert await reader.read() == b""

        await asyncio.gather(*(client(number) for number in range(CROWD)))
        await asyncio.to_thread(until, lambda: recorder.stats()["connections"], lambda left: left == 0)
        told = recorder.stats()
        assert (told["accepted"], told["failures"], told["lost_bytes"]) == (CROWD, 0, 0)
        assert len(os.listdir(f"/proc/{recorder.pid}/fd")) == descriptors
        grown = peak_bytes(recorder.pid) - before
        print(f"recorder with {CROWD} connections at once: {grown / MIB:.1f} MiB beyond its {before / MIB:.1f} MiB")
        assert grown <= BEYOND_START
    server.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    found = records_in(path)
    for number in (1, CROWD // 2, CROWD):
        assert len(stream(found, BACKEND, number)) == len(READY) + 3 * 13


def test_kill_9_at_any_moment_leaves_every_whole_block(tmp_path):
    """Round trips are logged as they end; what the capture lacks of them is younger than 250 ms,
    what it has is in order and without damage."""
    chance = random.Random(9)
    with ThreadPoolExecutor(KILLS_AT_ONCE) as several:
        killed = list(several.map(lambda wanted: killed_after(wanted, tmp_path), [chance.randint(1, 1000) for _ in range(KILLS)]))
    round_trips, youngest_lost_ms = sum(one[0] for one in killed), max(one[1] for one in killed)
    print(f"{KILLS} kills, {round_trips} round trips; the oldest that was lost had ended {youngest_lost_ms:.0f} ms before")


def killed_after(wanted: int, directory: Path) -> tuple[int, float]:
    """Kill a recorder after so many round trips: how many there were, and how many milliseconds
    before the kill the oldest of those it lost had ended."""
    finished: list[int] = []
    enough = threading.Event()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Scripted(echo_until_lost))
        recorder = stack.enter_context(Recorder(ANY_PORT, server.upstream, write=directory / f"{server.port}.pgtrace"))
        with connect(recorder) as driver:
            log_in(driver)

            def load() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        driver.sendall(b"D\0\0\0\x08" + len(finished).to_bytes(4, "big"))
                        if len(read_exactly(driver, 9)) < 9:
                            return
                        finished.append(time.monotonic_ns())
                        if len(finished) == wanted:
                            enough.set()

            thread = threading.Thread(target=load)
            thread.start()
            assert enough.wait(30)
            killed = time.monotonic_ns()
            os.kill(recorder.pid, signal.SIGKILL)
            thread.join(20)
            assert not thread.is_alive()
    stored = stream(records_in(recorder.capture), BACKEND)[len(READY) :]
    recorder.capture.unlink()
    whole = len(stored) // 9
    assert stored == b"".join(b"D\0\0\0\x08" + number.to_bytes(4, "big") for number in range(whole))
    assert whole >= sum(1 for at in finished if at < killed - 250_000_000)
    return len(finished), (killed - finished[whole]) / 1e6 if whole < len(finished) else 0.0


def echo_until_lost(connection: socket.socket) -> None:
    with contextlib.suppress(ConnectionError):
        echo(connection)
