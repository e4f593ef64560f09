"""The recorder as a process: started, asked, left alone, killed."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pgtrace.address import Host, Listen, Upstream
from pgtrace.capture.record import Data, Elided, End, Mark, Setting
from pgtrace.errors import AddressError, CaptureError, ListenError, OutputExists, RecorderError, UpstreamError, UsageError
from pgtrace.probe import probe
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.recorder import Recorder
from tests.proxy.drivers import connect, log_in
from tests.proxy.recorded import ANY_PORT, of_kind, recording, records, records_in, stream, wait_for_end
from tests.proxy.upstreams import Scripted, echo
from tests.proxy.wire import READY, STARTUP, read_exactly, row

NOWHERE = Upstream((Host("127.0.0.1", 1),), sslmode="disable")


def gone(pid: int, within_s: float = 20) -> bool:
    """Whether a process that is not our child ends in time."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
    return False


def test_a_temporary_capture_is_private_and_removed():
    with recording(NOWHERE) as recorder:
        directory = recorder.capture.parent
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert recorder.alive
        pid = recorder.pid
    assert not directory.exists()
    assert not recorder.alive
    assert gone(pid)
    recorder.stop()


def test_a_written_capture_stays_and_says_that_it_ended(tmp_path):
    path = tmp_path / "w.pgtrace"
    with Scripted(echo) as server, Recorder(ANY_PORT, server.upstream, write=path) as recorder, connect(recorder) as driver:
        log_in(driver)
        assert recorder.capture == path
        recorder.stop()
        assert driver.recv(1) == b""
        found = records_in(path)
        assert type(found[-1]) is End
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(RecorderError):
            recorder.flush()


def test_an_existing_file_is_not_overwritten(tmp_path):
    path = tmp_path / "w.pgtrace"
    path.write_bytes(b"mine")
    with pytest.raises(OutputExists, match="already exists"):
        Recorder(ANY_PORT, NOWHERE, write=path).start()
    assert path.read_bytes() == b"mine"


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(CaptureError, match="no such file or directory"):
        Recorder(ANY_PORT, NOWHERE, write=tmp_path / "no" / "w.pgtrace").start()


def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=f"cannot listen on 127.0.0.1:{port}: something already listens there") as caught:
            Recorder(Listen(("127.0.0.1",), port), NOWHERE).start()
    assert caught.value.exit_code == 3
    assert caught.value.address == f"127.0.0.1:{port}"


def test_the_upstream_may_not_be_the_listener():
    with pytest.raises(AddressError, match="the upstream is the address pgtrace listens on"):
        Recorder(Listen(("127.0.0.1", "::1"), 6433), Upstream((Host("localhost", 6433),))).start()


def test_both_loopbacks_share_a_free_port():
    with recording(NOWHERE, Listen(("127.0.0.1", "::1"), 0)) as recorder:
        assert recorder.addresses[0] == f"127.0.0.1:{recorder.port}"
        assert recorder.addresses[1:] in ([f"[::1]:{recorder.port}"], [])
        assert recorder.host == "127.0.0.1"


def test_marks_take_their_place_in_the_order():
    with Scripted(echo) as server, recording(server.upstream) as recorder, connect(recorder) as driver:
        log_in(driver)
        for name in ("first", "second"):
            with recorder.mark(name):
                driver.sendall(name.encode())
                read_exactly(driver, len(name))
        found = [record for record in records(recorder) if type(record) is Mark or (type(record) is Data and record.side == FRONTEND)]
        assert [record.data if type(record) is Data else (record.begin, record.name, record.id) for record in found[1:]] == [
            (True, "first", 1),
            b"first",
            (False, "first", 1),
            (True, "second", 2),
            b"second",
            (False, "second", 2),
        ]


def test_flush_has_what_was_sent_before_it():
    """Each turn flushes right after the bytes left the driver, without waiting for anything to come back."""

    def swallow(connection: socket.socket) -> None:
        read_exactly(connection, len(STARTUP))
        connection.sendall(READY)
        while connection.recv(1 << 16):
            pass

    with Scripted(swallow) as server, recording(server.upstream) as recorder, connect(recorder) as driver:
        log_in(driver)
        sent = STARTUP
        for number in range(100):
            driver.sendall(str(number).encode())
            sent += str(number).encode()
            flushed = recorder.flush()
            assert flushed.time_ns > 0
            assert stream(records_in(recorder.capture), FRONTEND) == sent


def test_requests_from_many_threads():
    with Scripted(echo) as server, recording(server.upstream) as recorder:
        failures: list[BaseException] = []

        def ask() -> None:
            try:
                for _ in range(50):
                    recorder.flush()
                    recorder.stats()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []


def test_a_round_trip_time_is_added_and_recorded():
    rtt_ns = 40_000_000
    with Scripted(echo) as server, recording(server.upstream, rtt_ns=rtt_ns) as recorder, connect(recorder) as driver:
        log_in(driver)
        data = row(os.urandom(300_000))
        began = time.monotonic_ns()
        driver.sendall(b"S\0\0\0\4")
        assert read_exactly(driver, 5) == b"S\0\0\0\4"
        took = time.monotonic_ns() - began
        assert took >= rtt_ns
        thread = threading.Thread(target=driver.sendall, args=(data,))
        thread.start()
        assert read_exactly(driver, len(data)) == data
        thread.join()
        driver.shutdown(socket.SHUT_WR)
        assert driver.recv(1) == b""
        found = wait_for_end(recorder)
        assert [(record.key, record.value) for record in of_kind(found, Setting)] == [("rtt", str(rtt_ns))]
        assert stream(found, BACKEND) == READY + b"S\0\0\0\4" + data
        pair = [record.time_ns for record in of_kind(found, Data) if record.data == b"S\0\0\0\4"]
        assert pair[1] - pair[0] >= rtt_ns  # the answer has the time at which the driver got it


def test_the_round_trip_time_of_a_running_session():
    with Scripted(echo) as server, recording(server.upstream) as recorder, connect(recorder) as driver:
        log_in(driver)
        for rtt_ns in (30_000_000, 0, 60_000_000):
            recorder.set_rtt(rtt_ns)
            began = time.monotonic_ns()
            driver.sendall(b"x")
            assert driver.recv(1) == b"x"
            assert time.monotonic_ns() - began >= rtt_ns


def test_a_recorder_without_orders_goes_on_until_its_last_session_ended():
    """The parent is killed; its recorder takes no new connections, serves the one it has, then removes its capture and ends."""
    script = (
        "import sys\nfrom pgtrace.address import *\nfrom pgtrace.recorder import Recorder\n"
        "r = Recorder(Listen(('127.0.0.1',), 0), Upstream((Host('127.0.0.1', int(sys.argv[1])),), sslmode='disable'))\n"
        "r.start()\nprint(r.port, r.pid, r.capture, flush=True)\nsys.stdin.read()\n"
    )
    with Scripted(echo) as server:
        parent = subprocess.Popen(
            [sys.executable, "-c", script, str(server.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert parent.stdout is not None
        port, pid, capture = parent.stdout.readline().split()
        with socket.create_connection(("127.0.0.1", int(port)), 20) as driver:
            log_in(driver)
            parent.kill()
            parent.communicate()
            while True:
                try:
                    socket.create_connection(("127.0.0.1", int(port)), 20).close()
                except (ConnectionRefusedError, ConnectionResetError):  # reset: it was still in the queue of the listener that closed
                    break
            driver.sendall(b"still served")
            assert read_exactly(driver, 12) == b"still served"
            assert Path(capture).exists()
        assert gone(int(pid))
        assert not Path(capture).parent.exists()


def test_it_sits_in_a_session_of_its_own_and_shrugs_off_signals():
    with Scripted(echo) as server, recording(server.upstream) as recorder, connect(recorder) as driver:
        assert os.getsid(recorder.pid) == recorder.pid
        log_in(driver)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            os.kill(recorder.pid, number)
        driver.sendall(b"here")
        assert read_exactly(driver, 4) == b"here"
        assert recorder.flush().position > 0


def test_a_kill_leaves_everything_but_the_last_quarter_second(tmp_path):
    """A client logs each round trip it finished; after kill -9 all that were finished 250 ms before are in the capture."""
    path = tmp_path / "killed.pgtrace"
    finished: list[int] = []
    enough = threading.Event()

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(ConnectionError):
            echo(connection)

    with Scripted(serve) as server, Recorder(ANY_PORT, server.upstream, write=path) as recorder, connect(recorder) as driver:
        log_in(driver)

        def load() -> None:
            try:
                while True:
                    driver.sendall(struct_message(len(finished)))
                    if len(read_exactly(driver, 9)) < 9:
                        return
                    finished.append(time.monotonic_ns())
                    if len(finished) == 5000:
                        enough.set()
            except OSError:
                return

        thread = threading.Thread(target=load)
        thread.start()
        assert enough.wait(30)
        killed = time.monotonic_ns()
        os.kill(recorder.pid, signal.SIGKILL)
        thread.join(20)
        assert not thread.is_alive()
        owed = sum(1 for at in finished if at < killed - 250_000_000)
        stored = stream(records_in(path), BACKEND)[len(READY) :]
        assert len(stored) // 9 >= owed
        assert stored == b"".join(struct_message(number) for number in range(len(stored) // 9))
        with pytest.raises(RecorderError):
            recorder.flush()
        os.waitid(os.P_PID, recorder.pid, os.WEXITED | os.WNOWAIT)  # its pipes close a moment before it is gone
        assert not recorder.alive


def struct_message(number: int) -> bytes:
    return b"D\0\0\0\x08" + number.to_bytes(4, "big")


def test_a_small_disk_that_is_full_does_not_stop_the_traffic(tmp_path):
    """RLIMIT_FSIZE stands for the full disk: the write fails with an error, the process lives."""
    path = tmp_path / "full.pgtrace"
    with Scripted(echo) as server, recording(server.upstream, write=path) as recorder, connect(recorder) as driver:
        log_in(driver)
        recorder.flush()
        size = path.stat().st_size
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.prlimit(recorder.pid, resource.RLIMIT_FSIZE, (size, hard))
        message = b"D\0\0\x10\0" + bytes(4092)
        for _ in range(100):
            driver.sendall(message)
            assert read_exactly(driver, len(message)) == message
        recorder.flush()
        stats = recorder.stats()
        assert stats["write_error"] == "File too large"
        assert stats["lost_bytes"] == 200 * len(message)
        resource.prlimit(recorder.pid, resource.RLIMIT_FSIZE, (hard, hard))
        driver.sendall(b"S\0\0\0\4")
        assert read_exactly(driver, 5) == b"S\0\0\0\4"
        recorder.flush()
        assert recorder.stats()["write_error"] is None
        gaps = [record for record in records_in(path) if type(record).__name__ == "Gap"]
        assert sum(gap.bytes for gap in gaps) == 200 * len(message)


def test_what_the_process_imports():
    script = (
        "import sys, pgtrace.proxy.__main__, pgtrace.proxy.server, pgtrace.proxy.control, uvloop, json\n"
        "import pgtrace.capture.writer, pgtrace.capture.segments\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    modules = json.loads(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout)
    heavy = {
        "textual",
        "rich",
        "click",
        "construct",
        "pgtrace.protocol.frontend",
        "pgtrace.protocol.backend",
        "pgtrace.session",
        "pgtrace.trace",
    }
    assert heavy & set(modules) == set()


def test_nothing_but_the_process_imports_the_proxy():
    script = "import sys, pgtrace.recorder; print([name for name in sys.modules if name.startswith('pgtrace.proxy') or name == 'uvloop'])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout == "[]\n"


def test_a_closed_stdout_is_harmless():
    settings = {
        "legs": [
            {
                "listen": {"hosts": ["127.0.0.1"], "port": 0, "unix": None},
                "upstream": {"hosts": [{"name": "127.0.0.1", "port": 1}], "sslmode": "disable"},
                "served": "all",
            }
        ],
        "keep_bytes": None,
        "temporary": None,
        "rtt_ns": 0,
        "allow_others": False,
        "redact": [],
        "row_bytes": None,
        "tls": {},
        "faults": [],
        "dial_first": False,
        "startup_timeout_s": 60.0,
        "call_sites": None,
    }
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "pgtrace.proxy"], stdin=subprocess.PIPE, stdout=writing, stderr=subprocess.PIPE, start_new_session=True
    )
    os.close(writing)
    assert process.stdin is not None
    process.stdin.write(json.dumps(settings | {"path": os.devnull + "/no"}).encode() + b"\n")
    process.stdin.flush()
    os.close(reading)
    _, errors = process.communicate(timeout=20)
    assert errors == b""
    assert process.returncode == 0


def test_probe():
    with socket.create_server(("127.0.0.1", 0)) as server:
        probe(Upstream((Host("127.0.0.1", server.getsockname()[1]),)))
        port = server.getsockname()[1]
    with pytest.raises(UpstreamError, match=f"cannot reach the upstream 127.0.0.1:{port}: Connection refused"):
        probe(Upstream((Host("127.0.0.1", port),)))
    with pytest.raises(UpstreamError, match="cannot be resolved"):
        probe(Upstream((Host("no-such-host.invalid"),)))
    with pytest.raises(UpstreamError, match="No such file or directory"):
        probe(Upstream((Host("/no/such", unix="/no/such"),)))


def test_what_is_redacted_never_reaches_the_disk(tmp_path):
    """Question and answer hold the secret; the capture holds it nowhere, and says what was left out of it."""
    path = tmp_path / "redacted.pgtrace"
    secret = b"5ecre7"
    question = b"Q\0\0\0\x14select '" + secret + b"'\0"
    one = row(b"\0\1\0\0\0\6" + secret)
    answer = one * 20 + b"C\0\0\0\x0eSELECT 20\0" + READY[-6:]

    def serve(connection: socket.socket) -> None:
        read_exactly(connection, len(STARTUP))
        connection.sendall(READY)
        while read_exactly(connection, len(question)):
            connection.sendall(answer)

    with Scripted(serve) as server, recording(server.upstream, write=path, redact=["all"], max_row_bytes=100) as recorder:
        with connect(recorder) as driver:
            log_in(driver)
            for _ in range(3):
                driver.sendall(question)
                assert read_exactly(driver, len(answer)) == answer
        wait_for_end(recorder)
    found = records_in(path)
    assert secret not in path.read_bytes()
    assert b"select '******'" in path.read_bytes()
    assert [(record.key, record.value) for record in of_kind(found, Setting)] == [
        ("redact", "literals,params,rows"),
        ("max_row_bytes", "100"),
    ]
    assert sum(record.messages for record in of_kind(found, Elided)) == 3 * (20 - -(-100 // len(one)))


def test_a_word_that_cannot_be_redacted():
    with pytest.raises(UsageError, match="'passwords' cannot be redacted: give a list of params, rows, literals, all"):
        Recorder(ANY_PORT, NOWHERE, redact=["passwords"])
