"""Writer and reader at once: nothing is torn, doubled or lost between them, and a kill takes nothing that was flushed."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.record import Data, End, Record
from pgtrace.capture.segments import SegmentWriter, segment_files
from pgtrace.capture.writer import CaptureWriter

FLUSHES = 400


def flush(index: int) -> list[Record]:
    return [Data(index, 1, 0, index * 40_000, bytes((index & 255,)) * 40_000), Data(index, 1, 1, index, b"x")]


@pytest.mark.parametrize("segments", [False, True])
def test_a_reader_beside_the_writer_sees_everything_once(tmp_path: Path, segments: bool) -> None:
    path = tmp_path / "live"
    writer = SegmentWriter(path, 1 << 30, segment_bytes=500_000) if segments else CaptureWriter(path)

    def write() -> None:
        for index in range(FLUSHES):
            writer.write(flush(index))
        writer.write([End(FLUSHES)])
        writer.close()

    thread = threading.Thread(target=write)
    found: list[Record] = []
    with CaptureReader(path) as reader:
        thread.start()
        while not reader.ended:
            for block in reader.read():
                found += block.records
        thread.join()
        assert reader.read() == []
        assert reader.complete
        assert reader.damaged == 0
    assert found == [record for index in range(FLUSHES) for record in flush(index)] + [End(FLUSHES)]


_WRITE = """
import sys
from pgtrace.capture.record import Data
from pgtrace.capture.segments import SegmentWriter
from pgtrace.capture.writer import CaptureWriter
writer = SegmentWriter(sys.argv[1], 1 << 30, segment_bytes=500_000) if sys.argv[2] == "True" else CaptureWriter(sys.argv[1])
index = 0
while True:
    print(writer.write([Data(index, 1, 0, index * 30_000, bytes(30_000))]), flush=True)
    index += 1
"""


@pytest.mark.parametrize("segments", [False, True])
def test_a_killed_writer_leaves_every_flush_it_answered(tmp_path: Path, segments: bool) -> None:
    path = tmp_path / "killed"
    with subprocess.Popen([sys.executable, "-c", _WRITE, str(path), str(segments)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        answered = [int(process.stdout.readline()) for _ in range(100)]
        process.kill()
        answered += [int(line) for line in process.stdout.read().split(b"\n")[:-1]]
    with CaptureReader(path) as reader:
        found: list[Record] = []
        while blocks := reader.read():
            found += [record for block in blocks for record in block.records]
        assert reader.position >= answered[-1]
        assert [record.time_ns for record in found] == list(range(len(found)))
        assert len(found) >= len(answered)
        assert not reader.ended
        assert not reader.complete
        assert reader.damaged == 0
        assert not segments or len(segment_files(path)) > 1
