"""The writer: private files, whole blocks, and what a failing disk leaves behind."""

from __future__ import annotations

import errno
import itertools
import os
import stat
from pathlib import Path

import pytest

from pgtrace import errors
from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.record import Data, End, Record
from pgtrace.capture.writer import BLOCK_BYTES, CaptureWriter


def data(index: int, size: int = 100) -> Data:
    return Data(1000 + index, 1, index & 1, index * size, bytes((index & 255,)) * size)


def records_in(path: Path) -> list[Record]:
    with CaptureReader(path) as reader:
        found = []
        while blocks := reader.read():
            found += [record for block in blocks for record in block.records]
        return found


def test_the_file_is_private_whatever_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        CaptureWriter(tmp_path / "a").close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    with pytest.raises(errors.OutputExists) as refused:
        CaptureWriter(tmp_path / "a")
    assert refused.value.exit_code == 2
    assert (tmp_path / "a").read_text() == "mine"


@pytest.mark.parametrize("exclusive", [True, False])
def test_symbolic_links_are_not_followed(tmp_path: Path, exclusive: bool) -> None:
    (tmp_path / "target").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(errors.PgTraceError):
        CaptureWriter(tmp_path / "link", exclusive=exclusive)
    assert (tmp_path / "target").read_text() == "mine"


def test_a_file_may_be_written_anew_on_request(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    with CaptureWriter(tmp_path / "a", exclusive=False) as writer:
        writer.write([End(1)])
    assert records_in(tmp_path / "a") == [End(1)]


def test_a_directory_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(errors.CaptureError, match="cannot be created: no such file"):
        CaptureWriter(tmp_path / "none" / "a")


def test_one_write_is_one_block_and_returns_its_end(tmp_path: Path) -> None:
    with CaptureWriter(tmp_path / "a") as writer, CaptureReader(tmp_path / "a") as reader:
        for flush in range(3):
            records: list[Record] = [data(flush * 10 + index) for index in range(10)]
            offset = writer.write(records)
            assert offset == (tmp_path / "a").stat().st_size
            (block,) = reader.read()
            assert block.records == records
            assert (block.first_ns, block.last_ns) == (records[0].time_ns, records[-1].time_ns)
            assert reader.position == offset
        assert writer.records == 30
        assert writer.write([]) == offset


def test_blocks_stay_within_a_mebibyte(tmp_path: Path) -> None:
    records: list[Record] = [data(index, 60_000) for index in range(50)]
    with CaptureWriter(tmp_path / "a") as writer, CaptureReader(tmp_path / "a") as reader:
        writer.write(records)
        blocks = reader.read()
        assert [record for block in blocks for record in block.records] == records
        starts = [block.position for block in blocks] + [writer.offset]
        sizes = [stop - start for start, stop in itertools.pairwise(starts)]
        assert len(sizes) == 3
        assert max(sizes) <= BLOCK_BYTES + 36


def test_a_record_larger_than_that_has_a_block_of_its_own(tmp_path: Path) -> None:
    records: list[Record] = [data(1), data(2, 5_000_000), data(3)]
    with CaptureWriter(tmp_path / "a") as writer, CaptureReader(tmp_path / "a") as reader:
        writer.write(records)
        blocks = reader.read() + reader.read() + reader.read()
        assert [block.records for block in blocks] == [[record] for record in records]


def test_a_full_disk_leaves_whole_blocks_and_says_how_many_records_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = CaptureWriter(tmp_path / "a")
    first = writer.write([data(1)])
    real, room = os.write, [1_500_000]

    def write(descriptor: int, content: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = real(descriptor, bytes(content[: min(room[0], 300_000)]))
        room[0] -= written
        return written

    monkeypatch.setattr("pgtrace.capture.writer.os.write", write)
    with pytest.raises(OSError, match="No space left"):
        writer.write([data(index, 60_000) for index in range(50)])
    assert writer.records == 1 + 17
    assert writer.offset == (tmp_path / "a").stat().st_size > first
    monkeypatch.undo()
    writer.write([End(9)])
    writer.close()
    assert records_in(tmp_path / "a") == [data(1), *(data(index, 60_000) for index in range(17)), End(9)]


def test_a_block_that_cannot_be_taken_back_is_skipped_by_readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = CaptureWriter(tmp_path / "a")
    writer.write([data(1)])
    real = os.write

    def write(descriptor: int, content: bytes) -> int:
        if len(content) < 100:
            raise OSError(errno.EIO, "Input/output error")
        return real(descriptor, bytes(content[:-50]))

    def ftruncate(_descriptor: int, _length: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("pgtrace.capture.writer.os.write", write)
    monkeypatch.setattr("pgtrace.capture.writer.os.ftruncate", ftruncate)
    with pytest.raises(OSError, match="Input/output"):
        writer.write([data(2)])
    monkeypatch.undo()
    writer.write([data(3)])
    writer.close()
    found = records_in(tmp_path / "a")
    assert [type(record).__name__ for record in found] == ["Data", "Gap", "Data"]
    assert found[0] == data(1)
    assert found[2] == data(3)


def test_no_header_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(_descriptor: int, _content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pgtrace.capture.writer.os.write", write)
    with pytest.raises(errors.CaptureError, match="cannot be written: no space left"):
        CaptureWriter(tmp_path / "a")
    assert not (tmp_path / "a").exists()
