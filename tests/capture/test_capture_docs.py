"""docs/captures.md says what the code does: tables, bounds and the worked example."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import pytest

from pgtrace.capture import blocks, redact, segments, versions, writer
from pgtrace.capture.reader import CaptureReader
from pgtrace.capture.record import FIN, LAYOUTS, LONGEST, Close, Data, End, Ended, Record
from pgtrace.capture.versions import Header

PAGE = (Path(__file__).parent.parent.parent / "docs" / "captures.md").read_text(encoding="utf-8")
TYPES = {"Q": "u64", "I": "u32", "B": "u8", "?": "u8", "s": "string", "S": "string", "y": "bytes", "p": "u64 u64", "r": "rest"}
HEADER = Header(versions.VERSION, bytes.fromhex("a1b2c3d4"), 1_760_000_000_000_000_000, 5_000_000_000, "0.1.0", "db1")
RECORDS: list[list[Record]] = [
    [Data(5_001_000_000, 1, 0, 42, b"Q\0\0\0\x0dselect 1\0"), Ended(5_001_500_000, 1, 0, FIN), Close(5_001_600_000, 1, 0, FIN)],
    [End(5_002_000_000)],
]


def example() -> bytes:
    listing = PAGE.split("```hex\n")[1].split("```")[0]
    return bytes.fromhex("".join(re.match(r"((?:[0-9a-f]{2} )*[0-9a-f]{2})\s{2}", line)[1] for line in listing.splitlines() if line))  # type: ignore[index]


def section(title: str) -> str:
    return re.split(r"\n#+ ", PAGE.split(f"# {title}\n")[1])[0]


def test_the_example_is_what_the_writer_writes(tmp_path: Path) -> None:
    with writer.CaptureWriter(tmp_path / "a", header=HEADER) as file:
        for records in RECORDS:
            file.write(records)
    assert example().hex(" ") == (tmp_path / "a").read_bytes().hex(" ")
    assert f"A capture of {len(example())} bytes" in PAGE


def test_the_example_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(example())
    with CaptureReader(tmp_path / "a") as reader:
        assert [block.records for block in reader.read()] == RECORDS
        assert reader.header == HEADER


def test_the_page_alone_is_enough_to_read_the_example() -> None:
    """A reader written from the page, with nothing of pgtrace in it."""
    data = example()
    assert data[:8] == b"\x89PGT\r\n\x1a\n"
    length = int.from_bytes(data[12:16], "big")
    assert zlib.crc32(data[20:length]) == int.from_bytes(data[16:20], "big")
    found = []
    position = length
    while position < len(data):
        assert data[position : position + 8] == b"PGTB" + data[20:24]
        stop = position + 36 + int.from_bytes(data[position + 12 : position + 16], "big")
        assert zlib.crc32(data[position + 12 : stop]) == int.from_bytes(data[position + 8 : position + 12], "big")
        position += 36
        while position < stop:
            size = int.from_bytes(data[position : position + 4], "big")
            found.append((data[position + 4], data[position + 5 : position + 4 + size]))
            position += 4 + size
    assert [kind for kind, _ in found] == [1, 14, 3, 13]
    assert found[0][1][21:] == b"Q\0\0\0\x0dselect 1\0"


def test_the_table_of_kinds_is_the_code() -> None:
    rows = re.findall(r"^\| (\d+) \| ([A-Z]\w+) \| (.*) \|$", section("Record"), re.MULTILINE)
    written = {int(kind): (name, re.findall(r"`(\w+) ([\w ]+)`", fields)) for kind, name, fields in rows}
    assert written == {
        kind: (cls.__name__, [(field, TYPES[letter]) for field, letter in zip(cls._fields, letters, strict=True)])
        for kind, (cls, letters) in LAYOUTS.items()
    }


@pytest.mark.parametrize(
    "words",
    [
        f"# The capture format, version {versions.VERSION[0]}",
        f"at most {versions.LONGEST_HEADER:,}",
        f"at most {LONGEST:,}",
        f"`{blocks.BLOCK.hex(' ').upper()}`",
        f"`{versions.MAGIC.hex(' ').upper()}`",
        f"exceed {writer.BLOCK_BYTES >> 20} MiB",
        f"Segments have {segments.SEGMENT_BYTES >> 20} MiB",
        f"shifted left by {segments.SHIFT} bits",
        f"at most {segments.STARTUP_BYTES >> 10} KiB of them",
        f"blanked byte is `{redact.BLANK.hex().upper()}`",
    ],
)
def test_numbers_on_the_page_are_those_of_the_code(words: str) -> None:
    assert words in PAGE


def test_the_offsets_of_the_page_are_those_of_the_code() -> None:
    assert re.findall(r"^\| (\d+) \|", section("Block"), re.MULTILINE)[-1] == str(blocks.HEAD_SIZE)
    assert re.findall(r"^\| (\d+) \|", section("Header"), re.MULTILINE)[-1] == "40"
    assert HEADER.encode()[40:] == b"\0\0\0\x050.1.0\0\0\0\x03db1"
