"""--when-behind wait: traffic waits for a disk that is slow, and for nothing else. Real recorders, a disk under orders (disks.py)."""

from __future__ import annotations

import hashlib
import json
import random
import select
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pgtrace.capture.record import DISK, NEITHER, Gap, Mark, Pause
from pgtrace.certificates import DriverTls
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.proxy.tape import ROOM_BYTES
from pgtrace.recorder import Recorder
from tests.live.disks import bad_disk
from tests.live.traffic import until
from tests.proxy.drivers import connect, log_in
from tests.proxy.recorded import of_kind, recording, records_in, stream
from tests.proxy.upstreams import Scripted
from tests.proxy.wire import READY, SSL_REQUEST, STARTUP, read_all, read_exactly, reset, row

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what a leg that is not read has heard is asked of epoll")

MIB = 1 << 20
BLOCK = row(random.Random(7).randbytes(MIB - 5))
SLOW = "30000000"
HANGS_SHORTLY = "\nimport pgtrace.proxy.tape\npgtrace.proxy.tape.HANGING_S = 1.0\n"


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Callable[[str], None]:
    return bad_disk(tmp_path / "disk", monkeypatch, getattr(request, "param", ""))


class Flood:
    """A server that sends so many blocks to everybody who logs in and says something, and counts what it hears."""

    def __init__(self, blocks: int) -> None:
        self.blocks = blocks
        self.heard: list[str] = []
        self.ended: list[tuple[float, str]] = []

    def __call__(self, connection: socket.socket) -> None:
        if read_exactly(connection, len(STARTUP)) != STARTUP:
            return  # somebody looked whether anybody is there
        connection.sendall(READY)
        try:
            if connection.recv(1) == b"?":
                for _ in range(self.blocks):
                    connection.sendall(BLOCK)
            else:
                self.heard.append(hashlib.sha256(read_all(connection)).hexdigest())
        except OSError as error:
            self.ended.append((time.monotonic(), type(error).__name__))


def asked(recorder: Recorder) -> socket.socket:
    """A driver that has asked for the flood."""
    driver = connect(recorder)
    log_in(driver)
    driver.sendall(b"?")
    return driver


def read_until_held(recorder: Recorder, driver: socket.socket) -> int:
    """Read until the recorder has no room; how much that was."""
    got = 0
    while recorder.stats()["waiting_bytes"] < ROOM_BYTES:
        if select.select([driver], [], [], 0.01)[0]:
            got += len(driver.recv(MIB))
    return got


def disk_pauses(found) -> list[Pause]:
    return [one for one in of_kind(found, Pause) if one.why == DISK]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("busy", [False, True], ids=["alone", "beside two that spin"])
def test_on_a_slow_disk_everything_is_recorded(busy, disk, tmp_path):
    """30 MB/s, 100 MB out and 100 MB in at once: nothing is lost, and it is what the client got and sent."""
    blocks = 100
    path = tmp_path / "kept.pgtrace"
    flood = Flood(blocks)
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 if busy else 0)]
    try:
        with Scripted(flood) as server, recording(server.upstream, write=path, when_behind="wait") as recorder:
            disk(SLOW)
            began = time.monotonic()
            with asked(recorder) as reading, connect(recorder) as sending:
                log_in(sending)

                def send() -> None:
                    sending.sendall(b"!")
                    for _ in range(blocks):
                        sending.sendall(BLOCK)
                    sending.shutdown(socket.SHUT_WR)

                writer = threading.Thread(target=send)
                writer.start()
                got = hashlib.sha256(read_exactly(reading, blocks * len(BLOCK))).hexdigest()
                writer.join()
            until(lambda: recorder.stats()["connections"], lambda left: left == 0)
            took = time.monotonic() - began
            assert recorder.flush().write_error is None
            told = recorder.stats()
            assert (told["lost_bytes"], told["lost_records"]) == (0, 0)
    finally:
        for one in spinning:
            one.kill()
            one.wait()
    print(f"\n{2 * blocks * len(BLOCK) / 1e6 / took:.0f} MB/s on a disk of 30")
    found = records_in(path)
    assert of_kind(found, Gap) == []
    assert hashlib.sha256(stream(found, BACKEND, 1)[len(READY) :]).hexdigest() == got
    assert [hashlib.sha256(stream(found, FRONTEND, 2)[len(STARTUP) + 1 :]).hexdigest()] == flood.heard
    pauses = disk_pauses(found)
    assert [one.begin for one in pauses] == [True, False] * (len(pauses) // 2)
    assert len(pauses) > 2
    assert {(one.connection, one.side) for one in pauses} == {(0, NEITHER)}


@pytest.mark.parametrize("options", [{"rtt_ns": 4_000_000}, {"tls": DriverTls("end")}, {"redact": ["rows"]}], ids=["rtt", "TLS", "redact"])
def test_nothing_is_lost_behind_a_delay_within_tls_or_what_is_blanked(options, disk, tmp_path):
    """What waits in a delayed session waits on, TLS has buffers of its own, and what is blanked goes another way to the disk."""
    blocks = 60
    path = tmp_path / "kept.pgtrace"
    with Scripted(Flood(blocks)) as server, recording(server.upstream, write=path, when_behind="wait", **options) as recorder:
        with connect(recorder) as driver:
            if recorder.authority is not None:
                driver.sendall(SSL_REQUEST)
                assert read_exactly(driver, 1) == b"S"
                context = ssl.create_default_context(cafile=str(recorder.authority))
                driver = context.wrap_socket(driver, server_hostname="localhost")
            with driver:
                log_in(driver)
                disk("hang")
                driver.sendall(b"?")
                got = read_until_held(recorder, driver)
                disk(SLOW)
                assert len(read_exactly(driver, blocks * len(BLOCK) - got)) == blocks * len(BLOCK) - got
        until(lambda: recorder.stats()["connections"], lambda left: left == 0)
        recorder.flush()
        told = recorder.stats()
        assert (told["lost_bytes"], told["lost_records"]) == (0, 0)
    found = records_in(path)
    assert of_kind(found, Gap) == []
    assert len(disk_pauses(found)) > 0


def test_all_pause_together_and_who_comes_does_not_wait(disk, tmp_path):
    """Forty drivers at once overdraw the room by a read, not by forty; a log-in takes no time;
    flush and a mark come behind what was sent before."""
    path = tmp_path / "kept.pgtrace"
    with Scripted(Flood(8)) as server, recording(server.upstream, write=path, when_behind="wait") as recorder:
        disk("20000000")
        drivers = [asked(recorder) for _ in range(40)]
        readers = [threading.Thread(target=read_exactly, args=(driver, 8 * len(BLOCK))) for driver in drivers]
        for reader in readers:
            reader.start()
        most = 0
        took = []
        while any(reader.is_alive() for reader in readers):
            most = max(most, recorder.stats()["waiting_bytes"])
            began = time.monotonic()
            with connect(recorder) as another:
                log_in(another)
            took.append(time.monotonic() - began)
        with recorder.mark("behind it all"):
            pass
        recorder.flush()
        told = recorder.stats()
        assert told["lost_bytes"] == 0
        share = statistics.quantiles(took, n=10)[-1]
        print(f"\nat most {most / MIB:.1f} MiB waited; {len(took)} log-ins took at most {max(took):.3f} s, 90 % of them {share:.3f}")
        for driver in drivers:
            driver.close()
        assert most <= ROOM_BYTES + 4 * MIB
        # Thousands of log-ins: a machine that stalls holds up a few of them, a wait for the disk every second one.
        assert share < 0.1
    found = records_in(path)
    mark = next(at for at, one in enumerate(found) if type(one) is Mark)
    sizes = [len(stream(found[:mark], BACKEND, number)) for number in range(1, 41)]
    assert sizes == [len(READY) + 8 * len(BLOCK)] * 40


@pytest.mark.parametrize("how", ["reset", "closed"])
def test_a_driver_that_goes_takes_its_backend_along_while_the_disk_is_waited_for(how, disk, tmp_path):
    flood = Flood(200)
    with Scripted(flood) as server, recording(server.upstream, write=tmp_path / "kept.pgtrace", when_behind="wait") as recorder:
        disk("hang")
        driver = asked(recorder)
        read_until_held(recorder, driver)
        assert flood.ended == []
        at = time.monotonic()
        reset(driver) if how == "reset" else driver.close()
        until(lambda: flood.ended, bool)
        assert flood.ended[0][0] - at < 5
        disk("")
        until(lambda: recorder.stats()["connections"], lambda left: left == 0)


@pytest.mark.parametrize("disk", [HANGS_SHORTLY], indirect=True)
def test_a_disk_that_hangs_is_waited_for_no_longer_than_that(disk, tmp_path):
    """Then what does not fit is dropped, and said; once the disk has taken what waited it is waited for again."""
    path = tmp_path / "kept.pgtrace"
    with Scripted(Flood(100)) as server, recording(server.upstream, write=path, when_behind="wait") as recorder:
        disk("hang")
        with asked(recorder) as driver:
            began = time.monotonic()
            read_exactly(driver, 100 * len(BLOCK))
            assert 1.0 < time.monotonic() - began < 15
        lost = recorder.stats()["lost_bytes"]
        assert lost > 0
        assert "no longer waits for the disk" in recorder.log
        disk("")
        recorder.flush()
        disk(SLOW)
        with asked(recorder) as driver:
            read_exactly(driver, 100 * len(BLOCK))
        recorder.flush()
        assert recorder.stats()["lost_bytes"] == lost
    found = records_in(path)
    assert sum(gap.bytes for gap in of_kind(found, Gap)) == lost
    assert len(stream(found, BACKEND, 2)) == len(READY) + 100 * len(BLOCK)


@pytest.mark.parametrize("fault", ["ENOSPC", "EIO"])
def test_a_disk_that_fails_is_not_waited_for(fault, disk, tmp_path):
    with Scripted(Flood(100)) as server, recording(server.upstream, write=tmp_path / "kept.pgtrace", when_behind="wait") as recorder:
        disk(fault)
        with asked(recorder) as driver:
            began = time.monotonic()
            read_exactly(driver, 100 * len(BLOCK))
            assert time.monotonic() - began < 10
        assert recorder.flush().write_error is not None
        assert recorder.stats()["lost_bytes"] > 0
        disk("")


def test_drop_never_waits(disk, tmp_path):
    path = tmp_path / "kept.pgtrace"
    with Scripted(Flood(100)) as server, recording(server.upstream, write=path) as recorder:
        disk("hang")
        with asked(recorder) as driver:
            read_exactly(driver, 100 * len(BLOCK))
        disk("")
        recorder.flush()
        assert recorder.stats()["lost_bytes"] > 0
    assert disk_pauses(records_in(path)) == []


def test_the_two_reasons_to_pause_are_two(disk, tmp_path):
    """A driver that reads nothing and a disk that is waited for: when the disk is there again the
    driver's leg is still not read on into nowhere."""
    with Scripted(Flood(200)) as server, recording(server.upstream, write=tmp_path / "kept.pgtrace", when_behind="wait") as recorder:
        with asked(recorder) as stuck, asked(recorder) as reading:
            disk("hang")
            got = read_until_held(recorder, reading)
            disk("")
            assert len(read_exactly(reading, 200 * len(BLOCK) - got)) == 200 * len(BLOCK) - got
            assert len(read_exactly(stuck, 200 * len(BLOCK))) == 200 * len(BLOCK)
        until(lambda: recorder.stats()["connections"], lambda left: left == 0)
        recorder.flush()
        assert recorder.stats()["lost_bytes"] == 0


QUERY = b"Q\0\0\0\x0dselect 1\0"
ANSWERED = b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\5I"


def answer(connection: socket.socket) -> None:
    """A server that answers one query with 100 MiB of rows and the next with nothing."""
    read_exactly(connection, len(STARTUP))
    connection.sendall(READY)
    for blocks in (100, 0):
        if read_exactly(connection, len(QUERY)) == QUERY:
            for _ in range(blocks):
                connection.sendall(BLOCK)
            connection.sendall(ANSWERED)
    connection.recv(1)


def test_times_that_include_a_wait_are_marked(disk, tmp_path):
    """In `show`, its JSON, `stats` and its JSON; one that was not under way then is not."""
    path = tmp_path / "kept.pgtrace"
    with Scripted(answer) as server, recording(server.upstream, write=path, when_behind="wait") as recorder, connect(recorder) as driver:
        log_in(driver)
        disk("hang")
        driver.sendall(QUERY)
        got = read_until_held(recorder, driver)
        disk(SLOW)
        read_exactly(driver, 100 * len(BLOCK) + len(ANSWERED) - got)
        recorder.flush()
        disk("")
        driver.sendall(QUERY)
        read_exactly(driver, len(ANSWERED))
        driver.sendall(b"X\0\0\0\4")
        driver.close()
        until(lambda: recorder.stats()["connections"], lambda left: left == 0)

    def told(*arguments: str) -> str:
        return subprocess.run([sys.executable, "-m", "pgtrace", *arguments, str(path)], capture_output=True, text=True, check=True).stdout

    lines = [line for line in told("show").splitlines() if "select 1" in line and " ms" in line]
    assert [line.endswith("(waited for the disk)") for line in lines] == [True, False]
    shown = [json.loads(line) for line in told("show", "--json").splitlines()]
    assert [one.get("waited_for_disk", False) for one in shown if one["sql"] == "select 1"] == [True, False]
    assert json.loads(told("stats", "--json"))["capture"]["disk_waits_ns"] > 0
    assert "for the capture's disk, included in the times" in told("stats")


CLIENT = """
import os, pathlib, socket, sys
sys.path.insert(0, sys.argv[1])
from tests.proxy.drivers import log_in
from tests.proxy.wire import read_exactly
driver = socket.create_connection((os.environ["PGHOST"], int(os.environ["PGPORT"])))
log_in(driver)
pathlib.Path(sys.argv[2]).write_text("ENOSPC")
driver.sendall(b"?")
print(len(read_exactly(driver, int(sys.argv[3]))))
"""


def test_a_program_whose_traffic_was_not_recorded_ends_with_1(disk, tmp_path):
    """Also where the program itself was fine and no budget was broken."""
    size = str(100 * len(BLOCK))
    with Scripted(Flood(100)) as server:
        upstream = f"postgresql://127.0.0.1:{server.port}/?sslmode=disable"
        program = [sys.executable, "-c", CLIENT, str(Path(__file__).parents[2]), str(tmp_path / "disk" / "orders"), size]
        command = [sys.executable, "-m", "pgtrace", "run", "--upstream", upstream, "--", *program]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.stdout.strip(), ended.returncode) == (size, 1)
    assert "pgtrace: incomplete: " in ended.stderr


def test_check_and_diff_say_incomplete(disk, tmp_path):
    path = tmp_path / "kept.pgtrace"
    with Scripted(Flood(60)) as server, recording(server.upstream, write=path) as recorder, asked(recorder) as driver:
        disk("hang")
        read_exactly(driver, 60 * len(BLOCK))
        disk("")
        recorder.flush()
        assert recorder.stats()["lost_bytes"] > 0
    for arguments in (["check", "--max", "errors=0", str(path)], ["diff", str(path), str(path)]):
        ended = subprocess.run([sys.executable, "-m", "pgtrace", *arguments], capture_output=True, text=True, check=False)
        assert ended.returncode == 1
        assert "pgtrace: incomplete: " in ended.stderr
