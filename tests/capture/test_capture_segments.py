"""Segments: a bounded directory, what each of them repeats, and readers that keep up, start late or fall behind."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from pgtrace import errors
from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.record import (
    DISK,
    FIN,
    NEITHER,
    PEER,
    RST,
    Close,
    Data,
    End,
    Ended,
    Fact,
    Gap,
    Mark,
    Opaque,
    Open,
    Pause,
    Record,
    Resume,
    Rewrite,
    Setting,
)  # fmt: skip
from pgtrace.capture.segments import SHIFT, SegmentWriter, segment_files
from pgtrace.protocol.codes import BACKEND, FRONTEND
from tests.capture.capture_sample_v1 import GREETING, QUERY, STARTUP

OPEN = Open(10, 1, "127.0.0.1:6433", "db:5432", "127.0.0.1:40112", "10.0.0.5:5432", 99)
FACT = Fact(11, 1, "tls.backend", "TLSv1.3")
START: list[Record] = [
    Setting(9, "rtt", "0"),
    OPEN,
    FACT,
    Data(12, 1, FRONTEND, 0, STARTUP),
    Data(13, 1, BACKEND, 0, GREETING),
    Mark(14, True, "outer", 1),
]


def chunk(index: int, size: int = 500) -> Data:
    return Data(100 + index, 1, BACKEND, len(GREETING) + index * size, bytes((index & 255,)) * size)


def read_all(reader: CaptureReader) -> list[Record]:
    found: list[Record] = []
    while blocks := reader.read():
        found += [record for block in blocks for record in block.records]
    return found


def numbers(directory: Path) -> list[int]:
    return [number for number, _ in segment_files(directory)]


def test_the_directory_is_private_and_bounded(tmp_path: Path) -> None:
    directory = tmp_path / "kept"
    writer = SegmentWriter(directory, 100_000, segment_bytes=20_000)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    writer.write(START)
    largest = 0
    for index in range(1000):
        writer.write([chunk(index)])
        largest = max(largest, sum(path.stat().st_size for _, path in segment_files(directory)))
    writer.close()
    assert 80_000 < largest <= 100_000 + 600
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for _, path in segment_files(directory))
    assert len(numbers(directory)) == 4
    assert numbers(directory)[0] > 20
    assert writer.records == 1000 + len(START)


def test_a_small_bound_makes_small_segments_and_keeps_two(tmp_path: Path) -> None:
    with_little = SegmentWriter(tmp_path / "little", 30_000)
    assert with_little.segment_bytes == 15_000
    assert SegmentWriter(tmp_path / "much", 1 << 30).segment_bytes == 64 * 1024 * 1024
    for index in range(200):
        with_little.write([chunk(index)])
    assert len(numbers(tmp_path / "little")) == 2


def test_an_occupied_directory_is_refused(tmp_path: Path) -> None:
    SegmentWriter(tmp_path, 1000).close()
    with pytest.raises(errors.OutputExists):
        SegmentWriter(tmp_path, 1000)


def test_a_follower_sees_every_record_once(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, 60_000, segment_bytes=10_000)
    position = writer.write(START)
    with CaptureReader(tmp_path) as reader:
        found = read_all(reader)
        written = list(START)
        for index in range(300):
            before, position = position, writer.write([chunk(index)])
            assert position > before
            written.append(chunk(index))
            found += read_all(reader)
            assert reader.position == position
        writer.write([End(9999)])
        found += read_all(reader)
        assert found == [*written, End(9999)]
        assert reader.complete, "it saw everything, whatever is gone since"
        assert reader.read_bytes == reader.size_bytes
        assert reader.damaged == 0
    assert numbers(tmp_path)[0] > 1


def test_a_follower_may_read_several_segments_at_once(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, 1 << 20, segment_bytes=10_000)
    writer.write(START)
    with CaptureReader(tmp_path) as reader:
        for index in range(300):
            writer.write([chunk(index)])
        assert len(numbers(tmp_path)) > 10
        assert reader.size_bytes == sum(path.stat().st_size for _, path in segment_files(tmp_path))
        assert read_all(reader) == [*START, *(chunk(index) for index in range(300))]


def test_a_late_reader_starts_with_what_still_holds(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, 30_000, segment_bytes=10_000)
    writer.write(START)
    writer.write([Open(20, 2, "l", "u", "c", "s", 1), Data(21, 2, FRONTEND, 0, STARTUP), Close(22, 2, FRONTEND, "FIN")])
    writer.write([Mark(23, True, "inner", 2), Mark(24, False, "inner", 2), Setting(25, "rtt", "20000000")])
    for index in range(300):
        writer.write([chunk(index)])
    writer.write([End(9999)])
    writer.close()
    with CaptureReader(tmp_path) as reader:
        found = read_all(reader)
        assert found[:4] == [Setting(25, "rtt", "20000000"), Mark(14, True, "outer", 1), OPEN, FACT]
        resume = found[4]
        assert isinstance(resume, Resume)
        first = found[5]
        assert isinstance(first, Data)
        assert resume == Resume(first.time_ns, 1, STARTUP, (len(STARTUP), first.offset), GREETING)
        assert [type(record) for record in found[5:-1]] == [Data] * (len(found) - 6)
        assert found[-2] == chunk(299)
        assert reader.ended
        assert not reader.complete


def test_ends_and_pauses_that_last_are_repeated(tmp_path: Path) -> None:
    """Those of connections that are still there, behind their Resume; a pause of all connections once, in front of them."""
    writer = SegmentWriter(tmp_path, 1 << 20, segment_bytes=2000)
    writer.write(START)
    ends = [Ended(20, 1, FRONTEND, FIN), Ended(31, 1, FRONTEND, RST)]
    lasting = [Pause(22, 1, BACKEND, True, PEER), Pause(23, 0, NEITHER, True, DISK)]
    writer.write([ends[0], *lasting, Pause(21, 1, FRONTEND, True, PEER), Pause(24, 1, FRONTEND, False, PEER), ends[1]])
    gone: list[Record] = [Ended(26, 2, FRONTEND, FIN), Pause(26, 2, BACKEND, True, PEER), Close(27, 2, FRONTEND, FIN)]
    writer.write([Open(25, 2, "l", "u", "c", "s", 1), *gone])
    for index in range(8):
        writer.write([chunk(index)])
    second = segment_files(tmp_path)[1][1]
    with CaptureReader(second) as reader:
        carried = next(block.records for block in reader.read())
    assert [type(record) for record in carried] == [Setting, Mark, Pause, Open, Fact, Resume, Ended, Ended, Pause]
    assert [carried[2], carried[-1]] == [lasting[1], lasting[0]]
    assert carried[-3:-1] == ends
    writer.write([Pause(90, 0, NEITHER, False, DISK), Pause(91, 1, BACKEND, False, PEER)])
    for index in range(8):
        writer.write([chunk(index)])
    with CaptureReader(segment_files(tmp_path)[-1][1]) as reader:
        assert not [record for record in read_all(reader) if isinstance(record, Pause)]


def test_one_segment_alone_is_a_capture(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, 1 << 20, segment_bytes=10_000)
    writer.write(START)
    for index in range(30):
        writer.write([chunk(index)])
    writer.write([End(9999)])
    writer.close()
    first, second = segment_files(tmp_path)
    with CaptureReader(second[1]) as reader:
        assert sum(type(record) is Resume for record in read_all(reader)) == 1
        assert not reader.complete
    with CaptureReader(first[1]) as reader:
        assert read_all(reader)[: len(START)] == START
        assert not reader.ended


def test_a_reader_that_falls_behind_is_told(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, 30_000, segment_bytes=10_000)
    writer.write(START)
    with CaptureReader(tmp_path) as reader:
        assert read_all(reader) == START
        for index in range(300):
            writer.write([chunk(index)])
        found = read_all(reader)
        jump = next(index for index, record in enumerate(found) if not isinstance(record, Data))
        assert found[:jump] == [chunk(index) for index in range(jump)], "the open segment is still read to its end"
        last = found[jump - 1]
        assert found[jump] == Gap(last.time_ns, 0, NEITHER, 0, 0)
        assert [type(record) for record in found[jump + 1 : jump + 5]] == [Setting, Mark, Open, Fact]
        assert isinstance(found[jump + 5], Resume)
        assert found[-1] == chunk(299)
        writer.write([End(9999)])
        assert read_all(reader) == [End(9999)]
        assert not reader.complete
        assert reader.damaged == 0


def test_blocks_are_found_while_they_are_kept(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, 30_000, segment_bytes=10_000)
    writer.write(START)
    positions: list[int] = []
    with CaptureReader(tmp_path) as reader:
        for index in range(100):
            writer.write([chunk(index)])
            positions += [block.position for block in reader.read()]
        kept = {number << SHIFT for number in numbers(tmp_path)}
        for index, position in enumerate(positions[1:]):
            block = reader.block(position)
            if position >> SHIFT << SHIFT in kept:
                assert block is not None
                assert block.records == [chunk(index)]
            else:
                assert block is None
        assert {position >> SHIFT << SHIFT for position in positions} > kept


def test_the_end_of_the_directory_ends_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "kept"
    writer = SegmentWriter(directory, 1 << 20)
    writer.write(START)
    with CaptureReader(directory) as reader:
        writer.close()
        for _, path in segment_files(directory):
            path.unlink()
        directory.rmdir()
        assert read_all(reader) == START
        assert reader.size_bytes == reader.read_bytes


def test_a_segment_whose_header_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, 1 << 20, segment_bytes=1)
    writer.write(START)
    writer.write([chunk(0)])
    second = segment_files(tmp_path)[1][1]
    content = second.read_bytes()
    second.write_bytes(b"")
    with CaptureReader(tmp_path) as reader:
        assert read_all(reader) == START
        assert reader.at_end
        for length in (10, 50):
            second.write_bytes(content[:length])
            assert read_all(reader) == []
        second.write_bytes(content)
        assert read_all(reader) == [chunk(0)]


def test_a_torn_end_of_a_finished_segment_is_damage(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, 1 << 20, segment_bytes=1)
    writer.write(START)
    writer.write([chunk(0)])
    with segment_files(tmp_path)[0][1].open("ab") as file:
        file.write(b"PGTB torn")
    with CaptureReader(tmp_path) as reader:
        assert read_all(reader) == [*START, Gap(14, 0, NEITHER, 9, 0), chunk(0)]
        assert reader.damaged == 1


def test_start_up_is_followed_through_refusals_rewrites_and_opaque_bytes(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, 1 << 20, segment_bytes=2000)
    ask = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"
    writer.write(
        [
            OPEN,
            Data(12, 1, FRONTEND, 0, b"\0\0\0\x08\x04\xd2\x16\x2f"),
            Data(13, 1, BACKEND, 0, b"N"),
            Data(14, 1, FRONTEND, 8, STARTUP + QUERY),
            Rewrite(15, 1, BACKEND, 1, b"longer", ask),
            Data(16, 1, BACKEND, 1 + len(ask), GREETING + b"T\0\0"),
            Open(17, 2, "l", "u", "c", "s", 1),
            Data(18, 2, FRONTEND, 0, b"\0\0\0\x08\x04\xd2\x16\x2f"),
            Data(19, 2, BACKEND, 0, b"S"),
            Opaque(20, 2, FRONTEND, 8, 517),
            Data(21, 3, FRONTEND, 0, bytes(2000)),
        ]
    )
    writer.write([End(30)])
    with CaptureReader(segment_files(tmp_path)[1][1]) as reader:
        resumes = [record for record in read_all(reader) if isinstance(record, Resume)]
    assert resumes == [
        Resume(30, 1, STARTUP, (8 + len(STARTUP + QUERY), 1 + len(ask + GREETING) + 3), ask + GREETING),
        Resume(30, 2, b"", (525, 1), b""),
    ]


def test_a_disk_that_is_full_at_a_new_segment_loses_no_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SegmentWriter(tmp_path, 1 << 20, segment_bytes=1000)
    writer.write(START)
    writer.write([chunk(0), chunk(1)])
    before = writer.offset
    real, calls = os.write, [0]

    def write(descriptor: int, content: bytes) -> int:
        calls[0] += 1
        if calls[0] == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, content)

    monkeypatch.setattr("pgtrace.capture.writer.os.write", write)
    with pytest.raises(OSError, match="No space left"):
        writer.write([chunk(2)])
    assert numbers(tmp_path) == [1]
    assert writer.offset == before
    monkeypatch.undo()
    writer.write([chunk(2)])
    assert numbers(tmp_path) == [1, 2]
    with CaptureReader(tmp_path) as reader:
        assert read_all(reader) == [*START, chunk(0), chunk(1), chunk(2)]


def test_a_number_is_a_segments_once_and_only_as_the_recorder_writes_it(tmp_path: Path) -> None:
    """Whatever else somebody has put into the directory: nothing is read twice, nothing is waited for."""
    others = ["000000", "0000001", "01", "1", "-00001", "+00001", "00_001", "٠٠٠٠٠١", "9999999999", "8388608", "000001 "]
    for name in ("000001", "1000000", *others):
        (tmp_path / f"{name}.pgtrace").write_bytes(b"")
    (tmp_path / "000002.pgtrace").mkdir()
    os.mkfifo(tmp_path / "000003.pgtrace")
    (tmp_path / "000004.pgtrace").symlink_to(tmp_path / "000003.pgtrace")
    assert segment_files(tmp_path) == [(number, tmp_path / f"{number:06}.pgtrace") for number in (1, 1_000_000)]


def test_a_directory_without_segments_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.CaptureError, match="has no segments"):
        CaptureReader(tmp_path)


def test_a_newer_segment_is_refused_by_name(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, 1000)
    writer.close()
    path = segment_files(tmp_path)[0][1]
    path.write_bytes(path.read_bytes()[:8] + b"\0\5" + path.read_bytes()[10:])
    with pytest.raises(errors.NewerCapture):
        CaptureReader(tmp_path)
