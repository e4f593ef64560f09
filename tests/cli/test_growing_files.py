"""FILEs that are still written, and such that can be read once only."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.record import Data, End, Open, Record
from pgtrace.capture.segments import SegmentWriter
from pgtrace.capture.versions import Header
from pgtrace.capture.writer import CaptureWriter
from pgtrace.protocol.codes import BACKEND, FRONTEND
from tests import commands

ROOT = Path(__file__).parent.parent.parent
CAPTURE = ROOT / "captures" / "psycopg" / "ten_queries.pgtrace"
PACKETS = ROOT / "tests" / "data" / "packets" / "psycopg_text.pcap"
HEADER = Header((1, 1), b"\1\2\3\4", 10**18, 10**9, "0.1.0", "here")
STARTUP = b"\0\0\0\x17\0\3\0\0user\0somebody\0\0"
READY = b"Z\0\0\0\5I"
ANSWER = b"C\0\0\0\x0dSELECT 1\0" + READY
WELCOME = b"R\0\0\0\x08\0\0\0\0" + READY


def session(queries: int) -> Iterator[Record]:
    """One connection, and as many queries."""
    yield Open(HEADER.monotonic_ns, 1, "a", "b", "c", "d", HEADER.wall_ns)
    sent, received = 0, 0
    pairs = [(STARTUP, WELCOME), *((b"Q\0\0\0\x0dselect 1\0", ANSWER) for _ in range(queries))]
    for number, (asked, answered) in enumerate(pairs):
        at = HEADER.monotonic_ns + number * 1000
        yield Data(at, 1, FRONTEND, sent, asked)
        yield Data(at + 500, 1, BACKEND, received, answered)
        sent, received = sent + len(asked), received + len(answered)


@contextmanager
def growing(write: str, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """A process that only appends for as long as this lasts, faster than the command reads; it has written something when this begins."""
    process = commands.Forked("", ["writes", *map(str, arguments)], before=write, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]


APPENDS = """
import sys, itertools, time
from pgtrace.capture.versions import Header
from pgtrace.capture.record import Data, Open
from pgtrace.capture.segments import SegmentWriter
from pgtrace.capture.writer import CaptureWriter
header = Header((1, 1), b"abcd", 10**18, 10**9, "0", "h")
kind, path, number, pause_s = sys.argv[1:]
writer = SegmentWriter(path, 256 << 20, segment_bytes=8 << 20, header=header) if kind == "segments" else CaptureWriter(path, header=header)
writer.write([Open(10**9, 1, "a", "b", "c", "d", 10**18), Data(10**9, 1, 0, 0, b"\\0\\0\\0\\x0c\\0\\3\\0\\0u\\0u\\0\\0")])
print("begun", flush=True)
asked, answered = b"Q\\0\\0\\0\\x0dselect 1\\0", b"C\\0\\0\\0\\x0dSELECT 1\\0Z\\0\\0\\0\\5I"
some = [Data(10**9, 1, side, 0, data) for side, data in ((0, asked), (1, answered))] * int(number)
for turn in itertools.count(1):
    writer.write(some)
    time.sleep(float(pause_s))
"""
REPEATS = """
import sys, time
data = open(sys.argv[1], "rb").read()
with open(sys.argv[2], "wb", buffering=0) as file:
    file.write(data)
    print("begun", flush=True)
    while True:
        file.write(data[24:] * 10)
        time.sleep(0.01)
"""


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("file", ["stats"]),
        ("segments", ["stats"]),
        ("file", ["show"]),
        ("file", ["stats", "--filter", "error"]),
    ],
)
def test_a_capture_that_grows_faster_than_it_is_read_has_an_end(command: list[str], kind: str, tmp_path: Path) -> None:
    """What was there when the command began."""
    path = tmp_path / "x.pgtrace"
    with growing(APPENDS, kind, path, *((1000, 0.01) if command[0] == "stats" else (100, 0.05))) as process:
        ended = commands.run(*command, "-q", path)
        assert ended.returncode == 0, ended.stderr
        assert process.poll() is None


def test_packets_that_grow_faster_than_they_are_read_have_an_end(tmp_path: Path) -> None:
    with growing(REPEATS, PACKETS, tmp_path / "x.pcap") as process:
        assert commands.run("stats", "-q", tmp_path / "x.pcap").returncode == 0
        assert process.poll() is None


@pytest.mark.parametrize("in_segments", [False, True])
def test_a_reader_that_does_not_follow_ends_where_the_file_ended(in_segments: bool, tmp_path: Path) -> None:
    records = list(session(40))
    path = tmp_path / "x"
    writer = SegmentWriter(path, 1 << 20, segment_bytes=4096, header=HEADER) if in_segments else CaptureWriter(path, header=HEADER)
    for record in records[:50]:
        writer.write([record])
    with CaptureReader(path, follow=False) as still, CaptureReader(path) as following:
        for record in records[50:]:
            writer.write([record])
        writer.close()
        read = [record for blocks in iter(still.read, []) for block in blocks for record in block.records]
        assert read[-1] == records[49]
        assert still.read() == []
        assert still.torn_bytes == 0
        assert [record for blocks in iter(following.read, []) for block in blocks for record in block.records][-1] == records[-1]


def test_show_goes_on_with_follow_until_the_recording_ends(tmp_path: Path) -> None:
    path = tmp_path / "x.pgtrace"
    records = list(session(3))
    writer = CaptureWriter(path, header=HEADER)
    writer.write(records[:-2])
    process = commands.Command("show", "--follow", "-q", path, stdout=subprocess.PIPE)
    assert process.stdout is not None
    lines = iter(process.stdout.readline, b"")
    for line in lines:
        if b"ReadyForQuery" in line and line.split()[1] == b"0.001":
            break
    assert process.poll() is None
    writer.write([*records[-2:], End(records[-1].time_ns + 1)])
    writer.close()
    rest = b"".join(lines)
    assert process.wait(30) == 0
    process.stdout.close()
    assert rest.count(b"F\xe2\x86\x92") >= 1
    assert b"select 1" in rest


@cache
def shown(source: Path) -> str:
    """What `show` makes of a file."""
    found = commands.call("show", "-q", source)
    assert found.returncode == 0
    return found.stdout


@contextmanager
def fed(number: int | Path, data: bytes) -> Iterator[None]:
    """Somebody writes that into a pipe, and closes it."""

    def feed() -> None:
        with open(number, "wb") as pipe:
            pipe.write(data)

    feeding = threading.Thread(target=feed)
    feeding.start()
    yield
    feeding.join()


@contextmanager
def piped(data: bytes) -> Iterator[int]:
    """The end of a pipe from which that can be read."""
    reading, writing = os.pipe()
    with fed(writing, data):
        yield reading
        os.close(reading)


@pytest.mark.parametrize("source", [CAPTURE, CAPTURE.with_suffix(".trace"), PACKETS])
@pytest.mark.parametrize("packed", [False, True])
def test_a_pipe_with_a_name_is_read_once(source: Path, packed: bool, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    data = gzip.compress(source.read_bytes()) if packed else source.read_bytes()
    with fed(pipe, data):
        from_pipe = commands.call("show", "-q", pipe)
    assert from_pipe.returncode == 0
    assert from_pipe.stdout == shown(source)
    assert from_pipe.stdout


def test_what_a_shell_makes_of_commands_is_a_file() -> None:
    line = f"{sys.executable} -m pgtrace diff <(cat {CAPTURE}) <(cat {CAPTURE})"
    ended = subprocess.run(["bash", "-c", line], capture_output=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout


@pytest.mark.parametrize("files", [["/dev/fd/{}"], ["/dev/fd/{}", str(CAPTURE)]], ids=["alone", "with a file"])
def test_a_pipe_by_its_number(files: list[str]) -> None:
    with piped(CAPTURE.read_bytes()) as pipe:
        ended = commands.run("stats", "-q", *(file.format(pipe) for file in files), pass_fds=[pipe])
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout


def test_standard_input_by_its_name() -> None:
    with CAPTURE.open("rb") as file:
        from_file = commands.run("stats", "-q", "/dev/stdin", stdin=file)
    with piped(CAPTURE.read_bytes()) as pipe:
        from_pipe = commands.run("stats", "-q", "/dev/stdin", stdin=pipe)
    assert (from_file.returncode, from_file.stderr) == (from_pipe.returncode, from_pipe.stderr) == (0, "")
    assert from_file.stdout == from_pipe.stdout != ""
