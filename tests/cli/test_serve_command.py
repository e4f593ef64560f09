"""`pgtrace serve`: what it says, refuses and ends with."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pgtrace.protocol import startup
from pgtrace.protocol.codes import FRONTEND
from tests import commands
from tests.corpus import NIGHTLY
from tests.playbook import wire, write
from tests.schemas import valid

START = startup.StartupMessage(3 << 16, (("user", "app"), ("database", "shop"))).wire()
SCRIPT = """
F StartupMessage user=app database=shop
B AuthenticationOk | ReadyForQuery I
F Query SELECT 1
B DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I
F Query SELECT 2
B DataRow 2 | CommandComplete SELECT 1 | ReadyForQuery I
F Terminate
close F
"""
PATIENCE_S = 60


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return write(tmp_path / "bug.pgtrace", SCRIPT)


def run(*args: str | Path, **environment: str) -> tuple[int, str, str]:
    """A command that ends by itself."""
    found = commands.run("serve", *args, env=os.environ | environment)
    return found.returncode, found.stdout, found.stderr


@contextmanager
def serving(*args: str | Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The process, and its port."""
    process = commands.Command("serve", *args, "127.0.0.1:0", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        first = (process.stdout if "--json" in args else process.stderr).readline()
        yield process, int(first.partition("127.0.0.1:")[2].split('"')[0].split()[0])
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def talk(port: int, *lines: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(START + b"".join(wire(FRONTEND, line) for line in (*lines, "Terminate")))
        found = b""
        while piece := client.recv(65536):
            found += piece
        return found


def test_it_ends_with_0_if_all_was_as_recorded(capture: Path) -> None:
    with serving(capture) as (process, port):
        assert b"SELECT 1" in talk(port, "Query SELECT 1")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (0, "")
    assert err.splitlines() == [
        "pgtrace: 1 connection, 0 mismatches",
        "pgtrace: never requested: 0 recorded connections, 1 recorded request",
    ]


def test_it_ends_with_1_after_a_mismatch_and_says_what_was_expected(capture: Path) -> None:
    with serving(capture) as (process, port):
        answer = talk(port, "Query SELECT 3")
        assert b"CPGT01\0Mpgtrace: connection 1 (recorded connection 1), request 1: expected Query, got another Query" in answer
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert out.splitlines() == [
        "connection 1 (recorded connection 1), request 1: expected Query, got another Query",
        "  expected  Q  Query SELECT 1",
        "  got       Q  Query SELECT 3",
        "  SQL from character 8: recorded SELECT 1, now SELECT 3",
    ]
    assert "1 mismatch" in err


def test_garbage_is_a_mismatch_and_what_never_started_is_counted(capture: Path) -> None:
    with serving(capture) as (process, port):
        for sent in (b"GET / HTTP/1.0\r\n\r\n", b"", START + b"\x1b[31m" + b"x" * 99, START + b"Q\0\0"):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(sent)
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert [line for line in out.splitlines() if line.startswith("  got")] == [
        "  got       a message with the type byte 0x1b, length 1,530,081,645",
        "  got       3 bytes of Query (0x51), and then the end",
    ]
    assert err.splitlines() == [
        "pgtrace: more connections than were recorded: from now on recorded ones are used again (-v prints which)",
        "pgtrace: 2 connections, 2 mismatches",
        "pgtrace: 2 connections ended before a start-up",
        "pgtrace: never requested: 0 recorded connections, 2 recorded requests",
    ]


def test_ctrl_c_without_a_mismatch_is_130(capture: Path) -> None:
    with serving(capture) as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130


def test_more_connections_than_recorded_are_said(capture: Path) -> None:
    with serving(capture, "-v") as (process, port):
        for _ in range(2):
            talk(port, "Query SELECT 1")
        process.send_signal(signal.SIGTERM)
        err = process.communicate(timeout=PATIENCE_S)[1]
    assert "pgtrace: connection 2 gets recorded connection 1, which was used before" in err


def test_json_is_an_object_a_line(capture: Path) -> None:
    with serving(capture, "--json", "--order", "any") as (process, port):
        talk(port, "Query SELECT 2", "Query SELECT 1", "Query SELECT 4")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE_S)
    mismatch, end = (valid("serve", line) for line in out.splitlines())
    assert mismatch["mismatch"]["got"] == "Query SELECT 4"
    assert (end["connections"], end["mismatches"], err) == (1, 1, "")


def test_splits_and_faults_combine(capture: Path) -> None:
    with serving(capture, "--split", "1", "--fault", "close after B ReadyForQuery#2") as (process, port):
        answer = talk(port, "Query SELECT 1", "Query SELECT 2")
        assert answer.count(b"SELECT 1\0") == 1
        assert answer.endswith(b"Z\0\0\0\5I")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0


def test_a_golden_is_served(capture: Path, tmp_path: Path) -> None:
    golden = tmp_path / "bug.trace"
    golden.write_text(
        'F\t32\tStartupMessage\t 3 0 "user" "app" "database" "shop"\nB\t5\tReadyForQuery\t I\n'
        'F\t13\tQuery\t "SELECT 1"\nB\t14\tCommandComplete\t "SELECT 77"\nB\t5\tReadyForQuery\t I\nF\t4\tTerminate\n'
    )
    with serving(golden) as (process, port):
        assert b"SELECT 77" in talk(port, "Query SELECT 1")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0


def test_what_cannot_be_served_is_refused(capture: Path, tmp_path: Path) -> None:
    code, _, err = run(capture, "*:0")
    assert (code, err) == (
        2,
        "pgtrace: '*:0': other machines could connect and read the recorded data: use --allow-others to allow that\n",
    )
    code, _, err = run(tmp_path / "none.pgtrace")
    assert code == 4
    empty = tmp_path / "password"
    empty.write_text("\n")
    code, _, err = run(capture, "--password-file", empty)
    assert (code, err) == (2, f"pgtrace: --password-file {empty}: its first line is empty\n")
    code, _, err = run(capture, "--timing", "fast")
    assert code == 2
    assert "none, real, or a speed" in err


def test_an_address_in_use_is_3(capture: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, _, err = run(capture, f"127.0.0.1:{taken.getsockname()[1]}")
    assert code == 3
    assert err.endswith(": address already in use\n")
    assert "attempting" not in err


def test_a_capture_whose_end_is_cut_off_says_so(capture: Path) -> None:
    whole = capture.read_bytes()
    capture.write_bytes(whole + whole[whole.rindex(b"PGTB") :][:20])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        _, _, err = run(capture, f"127.0.0.1:{taken.getsockname()[1]}")
    assert err.startswith("pgtrace: the last block of the capture is cut off after 20 bytes; ")


def cpu_s(pid: int) -> float:
    """What a process has worked."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
async def test_1000_connects_a_second(capture: Path) -> None:
    """By the clock on a quiet machine, nightly; always by the server's own work, which needs no quiet."""
    sent = START + b"".join(wire(FRONTEND, line) for line in ("Query SELECT 1", "Terminate"))
    number, gate = 2_000 if NIGHTLY else 500, asyncio.Semaphore(100)

    async def connect(port: int) -> int:
        async with gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            size = len(await reader.read())
            writer.close()
            return size

    with serving(capture, "--json") as (process, port):
        begun_s, worked_s = time.monotonic(), cpu_s(process.pid)
        sizes = await asyncio.gather(*(connect(port) for _ in range(number)))
        took_s, worked_s = time.monotonic() - begun_s, cpu_s(process.pid) - worked_s
    print(f"\n{number / took_s:.0f} connects/s by the clock, {worked_s / number * 1e3:.3f} ms of the server's work each")
    assert len(set(sizes)) == 1
    assert worked_s / number < 0.001
    assert not NIGHTLY or number / took_s >= 1_000
