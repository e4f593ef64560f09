"""The reader: following, random access, and everything that a torn, damaged or foreign file can be."""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrace import errors
from pgtrace.capture.blocks import BLOCK, HEAD_SIZE, Block, BlockFile, Damage
from pgtrace.capture.checksums import of_stretch
from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.record import LONGEST, NEITHER, Data, End, Gap, Record, encode_parts
from pgtrace.capture.versions import Header
from pgtrace.capture.writer import CaptureWriter, encode_blocks
from tests.capture.capture_sample_v1 import BLOCKS, HEADER
from tests.corpus import NIGHTLY

TAIL = 64 * 1024


def blocks_of(reader: CaptureReader, max_bytes: int = 4 << 20) -> list[Block]:
    found = []
    while blocks := reader.read(max_bytes):
        found += blocks
    return found


def records_of(reader: CaptureReader) -> list[Record]:
    return [record for block in blocks_of(reader) for record in block.records]


def payload(index: int) -> bytes:
    return random.Random(index).randbytes(900)


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[int]]:
    """A capture of 100 KiB in blocks of about 1 KiB, and where its blocks begin, the end of the file last."""
    path = tmp_path_factory.mktemp("capture") / "a.pgtrace"
    with CaptureWriter(path, header=HEADER) as writer:
        starts = [writer.offset]
        offset = 0
        for index in range(100):
            records: list[Record] = [Data(1000 + index, 1, 0, offset, payload(index))]
            offset += 900
            starts.append(writer.write([*records, End(2000)] if index == 99 else records))
    return path.read_bytes(), starts


def test_a_finished_capture_is_complete(capture: tuple[bytes, list[int]], tmp_path: Path) -> None:
    data, starts = capture
    path = tmp_path / "a"
    path.write_bytes(data)
    with CaptureReader(path) as reader:
        assert not reader.complete
        assert (reader.read_bytes, reader.size_bytes) == (starts[0], len(data))
        blocks = blocks_of(reader)
        assert [block.position for block in blocks] == starts[:-1]
        assert reader.complete
        assert reader.ended
        assert reader.at_end
        assert (reader.torn_bytes, reader.damaged) == (0, 0)
        assert reader.position == reader.read_bytes == reader.size_bytes == len(data)
        assert reader.header == HEADER


@pytest.mark.parametrize("max_bytes", [1, 36, 1000, 5000, 1 << 20])
def test_any_read_size_gives_the_same_blocks(capture: tuple[bytes, list[int]], tmp_path: Path, max_bytes: int) -> None:
    data, starts = capture
    (tmp_path / "a").write_bytes(data)
    with CaptureReader(tmp_path / "a") as reader:
        assert [block.position for block in blocks_of(reader, max_bytes)] == starts[:-1]


def test_a_growing_file_is_followed(capture: tuple[bytes, list[int]], tmp_path: Path) -> None:
    data, starts = capture
    with (tmp_path / "a").open("wb", buffering=0) as file:
        file.write(data[: starts[0]])
        with CaptureReader(tmp_path / "a") as reader:
            assert reader.read() == []
            assert reader.at_end
            written = starts[0]
            for size in (1, 2, 35, 36, 900, 936, 10_000, 7, 20_000, len(data)):
                file.write(data[written : written + size])
                written = min(written + size, len(data))
                whole = max(start for start in starts if start <= written)
                blocks_of(reader)
                assert reader.position == whole
                assert reader.torn_bytes == written - whole
                assert reader.damaged == 0
                assert reader.complete == (written == len(data))


def test_blocks_are_found_again_by_position(capture: tuple[bytes, list[int]], tmp_path: Path) -> None:
    data, starts = capture
    (tmp_path / "a").write_bytes(data)
    with CaptureReader(tmp_path / "a") as reader:
        for index in (99, 0, 42):
            block = reader.block(starts[index])
            assert block is not None
            assert block.records[0] == Data(1000 + index, 1, 0, index * 900, payload(index))
            assert block.position == starts[index]
        assert reader.block(len(data)) is None
        assert reader.block((7 << 50) + starts[1]) is None
        assert reader.position == starts[0], "random access does not move the reading"


def test_a_torn_tail_is_told_and_loses_nothing_before_it(capture: tuple[bytes, list[int]], tmp_path: Path) -> None:
    """Cut at every byte of the last block (of the last three at night), and at every 61st of the last 64 KiB."""
    data, starts = capture
    path = tmp_path / "a"
    path.write_bytes(data)
    lengths = set(range(len(data) - TAIL, len(data), 61)) | set(range(starts[97 if NIGHTLY else 99] - 40, len(data)))
    for length in sorted(lengths, reverse=True):
        os.truncate(path, length)
        whole = [start for start in starts if start <= length]
        with CaptureReader(path) as reader:
            assert [block.position for block in blocks_of(reader)] == whole[:-1]
            assert reader.torn_bytes == length - whole[-1]
            assert reader.damaged == 0
            assert not reader.complete
            assert not reader.ended


def check_flipped(path: Path, data: bytes, starts: list[int], position: int, flip: int) -> None:
    """Everything but the block around `position` is read; that block is a Gap, or the torn tail where it is the last."""
    hit = max(index for index, start in enumerate(starts) if start <= position)
    with path.open("r+b", buffering=0) as file:
        file.seek(position)
        file.write(bytes((data[position] ^ flip,)))
        with CaptureReader(path) as reader:
            blocks = blocks_of(reader)
            last = hit == len(starts) - 2
            assert [block.position for block in blocks] == (starts[:-2] if last else starts[:-1])
            assert reader.torn_bytes == (starts[-1] - starts[-2] if last else 0)
            assert reader.damaged == (not last)
            assert not reader.complete
            if not last:
                size = starts[hit + 1] - starts[hit]
                assert blocks[hit].records == [Gap(1000 + hit + 1, 0, NEITHER, size, 0)]
                again = reader.block(starts[hit])
                assert again is not None
                assert again.records == blocks[hit].records
        file.seek(position)
        file.write(data[position : position + 1])


def test_a_flipped_byte_costs_its_own_block_only(capture: tuple[bytes, list[int]], tmp_path: Path) -> None:
    """Every byte of two block heads and of the last block's, and every 127th of the last 64 KiB (every 61st at night)."""
    data, starts = capture
    path = tmp_path / "a"
    path.write_bytes(data)
    positions = set(range(len(data) - TAIL, len(data), 61 if NIGHTLY else 127))
    for index in (50, 98, 99):
        positions |= set(range(starts[index] - 8, starts[index] + HEAD_SIZE + 30))
    for position in sorted(positions):
        check_flipped(path, data, starts, position, 0x01 if position & 1 else 0x80)


def test_damage_of_several_blocks_is_one_gap(capture: tuple[bytes, list[int]], tmp_path: Path) -> None:
    data, starts = capture
    path = tmp_path / "a"
    path.write_bytes(data[: starts[10]] + bytes(starts[20] - starts[10]) + data[starts[20] :])
    with CaptureReader(path) as reader:
        blocks = blocks_of(reader)
        assert [block.position for block in blocks] == starts[:11] + starts[20:-1]
        assert blocks[10].records == [Gap(1020, 0, NEITHER, starts[20] - starts[10], 0)]
        assert reader.damaged == 1


def test_damage_at_the_end_becomes_a_gap_when_the_file_grows(capture: tuple[bytes, list[int]], tmp_path: Path) -> None:
    data, starts = capture
    path = tmp_path / "a"
    path.write_bytes(data[: starts[5]] + b"garbage" * 400_000)
    with CaptureReader(path) as reader, path.open("ab", buffering=0) as file:
        assert len(blocks_of(reader)) == 5
        assert reader.torn_bytes == 2_800_000
        file.write(data[starts[5] : starts[5] + 500])
        assert reader.read() == []
        assert reader.torn_bytes == 2_800_500
        file.write(data[starts[5] + 500 : starts[6]])
        assert records_of(reader) == [Gap(1005, 0, NEITHER, 2_800_000, 0), Data(1005, 1, 0, 4500, payload(5))]
        assert (reader.torn_bytes, reader.damaged) == (0, 1)


def test_a_length_that_lies_is_not_believed(capture: tuple[bytes, list[int]], tmp_path: Path) -> None:
    data, starts = capture
    path = tmp_path / "a"
    for length in (0, 1, 5000, 1 << 20, 1 << 24, 0xFFFFFFFF):
        path.write_bytes(data[: starts[3] + 12] + length.to_bytes(4, "big") + data[starts[3] + 16 :])
        with CaptureReader(path) as reader:
            assert [block.position for block in blocks_of(reader)] == starts[:-1]
            assert reader.damaged == 1


def test_blocks_of_another_capture_inside_this_one_are_no_blocks(capture: tuple[bytes, list[int]], tmp_path: Path) -> None:
    """A capture that went through COPY and was recorded: its blocks stay content even where the block around them is damaged."""
    inner, _ = capture
    path = tmp_path / "a"
    header = Header((1, 0), b"\1\2\3\4", 1, 1, "0.1.0", "here")
    with CaptureWriter(path, header=header) as writer:
        start = writer.offset
        behind = writer.write([Data(1, 1, 0, 0, inner)])
        writer.write([End(2)])
    data = path.read_bytes()
    path.write_bytes(data[: start + 20] + b"\xff" + data[start + 21 :])
    with CaptureReader(path) as reader:
        assert records_of(reader) == [Gap(2, 0, NEITHER, behind - start, 0), End(2)]


def test_a_follower_survives_a_block_that_was_taken_back(capture: tuple[bytes, list[int]], tmp_path: Path) -> None:
    data, starts = capture
    path = tmp_path / "a"
    path.write_bytes(data[: starts[3] + 700])
    with CaptureReader(path) as reader:
        assert len(blocks_of(reader)) == 3
        assert reader.torn_bytes == 700
        os.truncate(path, starts[3])
        assert reader.read() == []
        assert reader.torn_bytes == 0
        path.write_bytes(data[: starts[3]] + data[starts[4] :])
        assert len(blocks_of(reader)) == 96
        assert reader.complete


def refused() -> Iterator[tuple[str, bytes, str]]:
    yield "empty", b"", "empty"
    yield "header only begun", HEADER.encode()[:30], "within its header"
    yield "foreign", b"PK\3\4", "not a pgtrace capture"
    yield "newer", HEADER.encode()[:8] + b"\0\2" + HEADER.encode()[10:], "version 2"


@pytest.mark.parametrize(("what", "content", "words"), list(refused()))
def test_what_is_no_capture_is_refused_in_one_line(tmp_path: Path, what: str, content: bytes, words: str) -> None:
    path = tmp_path / f"{what}.pgtrace"
    path.write_bytes(content)
    with pytest.raises(errors.CaptureError, match=words) as error:
        CaptureReader(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 4


def test_a_file_that_is_not_there_or_not_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.CaptureError, match="no such file"):
        CaptureReader(tmp_path / "none")

    def denied(*_arguments: object) -> int:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a").write_bytes(HEADER.encode())
    monkeypatch.setattr("pgtrace.capture.blocks.os.open", denied)
    with pytest.raises(errors.CaptureError, match="permission denied"):
        CaptureReader(tmp_path / "a")


@given(
    content=st.lists(st.one_of(st.binary(max_size=60), st.just(BLOCK + HEADER.mark), st.sampled_from(BLOCKS))),
    max_bytes=st.integers(1, 200),
)
def test_no_content_behind_a_header_makes_reading_raise(
    tmp_path_factory: pytest.TempPathFactory, content: list[bytes | list[Record]], max_bytes: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "mutant.pgtrace"
    path.write_bytes(HEADER.encode() + b"".join(_encoded(item) for item in content))
    with CaptureReader(path) as reader:
        blocks = blocks_of(reader, max_bytes)
        found = [block.records for block in blocks if type(block) is not Damage]
        assert found == [item for item in content if isinstance(item, list)]
        assert reader.read_bytes + reader.torn_bytes == reader.size_bytes == path.stat().st_size


def _encoded(item: bytes | list[Record]) -> bytes:
    return item if isinstance(item, bytes) else b"".join(block for block, _ in encode_blocks(HEADER.mark, encode_parts(item)))


class Counting(BlockFile):
    """A file that counts the bytes that are read of it."""

    read_bytes = 0

    def read_at(self, offset: int, size: int) -> bytes:
        data = super().read_at(offset, size)
        self.read_bytes += len(data)
        return data


@pytest.mark.parametrize("claimed", [100, 1 << 20, LONGEST])
def test_the_search_is_linear_whatever_looks_like_a_block(tmp_path: Path, claimed: int) -> None:
    """Heads of blocks as dense as they can be, each of which claims what it may; the block behind them is found."""
    head = BLOCK + HEADER.mark + bytes(4) + claimed.to_bytes(4, "big")
    read = []
    for size in (256 * 1024, 1024 * 1024):
        path = tmp_path / str(size)
        path.write_bytes(HEADER.encode() + head * (size // len(head)) + _encoded([End(2)]))
        file = Counting(os.fspath(path))
        blocks, end = file.scan(file.start, 4 << 20)
        assert [block.records for block in blocks] == [[Gap(2, 0, NEITHER, size, 0)]]
        assert [block.records for block in file.scan(end, 4 << 20)[0]] == [[End(2)]]
        read.append(file.read_bytes)
    assert read[1] < 5 * read[0]
    assert read[1] < 12 * (1 << 20)


@given(st.binary(max_size=3000), st.binary(max_size=3000))
def test_the_checksum_of_a_stretch_follows_from_those_before_and_behind_it(before: bytes, stretch: bytes) -> None:
    assert of_stretch(zlib.crc32(before), zlib.crc32(before + stretch), len(stretch)) == zlib.crc32(stretch)
