"""The file's header: what is accepted, what is refused and in which words, and the kept sample of each version."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from pgtrace import errors
from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.versions import READERS, VERSION, Header, parse_header
from tests.capture import capture_sample_v1, capture_sample_v1_1, capture_sample_v1_2

DATA = Path(__file__).parent.parent / "data"
HEADER = Header((1, 0), b"mark", 17, 4, "0.1.0", "höst")


def test_there_and_back() -> None:
    data = HEADER.encode()
    assert parse_header("f", data) == (HEADER, len(data))
    assert parse_header("f", data + b"PGTB") == (HEADER, len(data))


@pytest.mark.parametrize("length", range(len(HEADER.encode())))
def test_a_header_that_is_not_written_to_its_end_is_none_yet(length: int) -> None:
    assert parse_header("f", HEADER.encode()[:length]) is None


def test_a_newer_major_version_is_refused_by_name() -> None:
    newer = bytearray(HEADER.encode())
    newer[8:10] = b"\0\7"
    with pytest.raises(errors.NewerCapture, match=r"^f\.pgtrace: .*version 7 .*upgrade") as refused:
        parse_header("f.pgtrace", bytes(newer))
    assert refused.value.exit_code == 4
    with pytest.raises(errors.NewerCapture):
        parse_header("f", bytes(newer[:20]))


def test_a_newer_minor_version_is_read_and_its_fields_are_skipped() -> None:
    rest = HEADER.encode()[20:] + b"a field of version 1.9"
    data = HEADER.encode()[:8] + b"\0\1\0\x09" + (20 + len(rest)).to_bytes(4, "big") + zlib.crc32(rest).to_bytes(4, "big") + rest
    header, length = parse_header("f", data) or (None, 0)
    assert header == Header((1, 9), b"mark", 17, 4, "0.1.0", "höst")
    assert length == len(data)


@pytest.mark.parametrize("data", [b"\xd4\xc3\xb2\xa1\2\0\4\0", b"{}", b"\n", b"\x1f\x8b\x08", HEADER.encode().replace(b"\r\n", b"\n")])
def test_foreign_files_are_refused(data: bytes) -> None:
    with pytest.raises(errors.CaptureError, match="not a pgtrace capture"):
        parse_header("f", data)


def test_every_flipped_byte_of_a_header_is_noticed() -> None:
    data = HEADER.encode()
    for position in range(len(data)):
        if position in (10, 11):
            continue  # the minor version does not change what is read
        flipped = bytearray(data)
        flipped[position] ^= 0x41
        with pytest.raises(errors.CaptureError):
            parse_header("f", bytes(flipped) + bytes(65536))


def test_now_is_this_machine_and_this_version() -> None:
    one, two = Header.now(), Header.now()
    assert one.version == VERSION
    assert one.monotonic_ns <= two.monotonic_ns
    assert one.mark != two.mark or one.mark != Header.now().mark


def test_every_version_has_a_reader_and_a_sample() -> None:
    assert VERSION[0] in READERS
    assert sorted(READERS) == [VERSION[0]]
    assert sorted(path.name for path in DATA.glob("v*.pgtrace")) == sorted(SAMPLES)
    assert max(sample.HEADER.version for sample in SAMPLES.values()) == VERSION, "the newest version has a sample"


SAMPLES = {"v1.pgtrace": capture_sample_v1, "v1.1.pgtrace": capture_sample_v1_1, "v1.2.pgtrace": capture_sample_v1_2}


@pytest.mark.parametrize("name", SAMPLES)
def test_the_samples_are_read(name: str) -> None:
    with CaptureReader(DATA / name) as reader:
        blocks = reader.read()
        assert [block.records for block in blocks] == SAMPLES[name].BLOCKS
        assert reader.header == SAMPLES[name].HEADER
        assert reader.read() == []
        assert reader.complete


@pytest.mark.parametrize("name", SAMPLES)
def test_the_writer_still_writes_the_samples(name: str, tmp_path: Path) -> None:
    SAMPLES[name].write(str(tmp_path / "again.pgtrace"))
    assert (tmp_path / "again.pgtrace").read_bytes() == (DATA / name).read_bytes()
