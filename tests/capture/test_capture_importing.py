"""FILEs of every kind become captures: compressed or not, cut off, from a pipe; and what is none of them is refused in one line."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgtrace.capture import inputs
from pgtrace.capture.importing import Import, is_capture
from pgtrace.capture.inputs import Input
from pgtrace.capture.reader import CaptureReader
from pgtrace.errors import CaptureError, MissingExtra, NewerCapture, OutputExists
from tests.capture import packet_forge as forge
from tests.capture.packet_forge import BACKEND, FRONTEND, Talk
from tests.capture.packet_reading import SAMPLES, counted_capture
from tests.capture.test_capture_redact import STARTUP
from tests.playbook import write

zstd = inputs._zstd()
PACKED = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress, "zstd": zstd.compress}
SAMPLE = SAMPLES / "psycopg_text.pcap"
SCRIPT = "F Query SELECT 1\nB CommandComplete SELECT 1 | ReadyForQuery I\n" * 50 + "end"


def imported(path: Path | str, out: Path, **options) -> Import:
    with Import(str(path), str(out), **options) as one:
        while one.step():
            continue
    return one


def packed(kind: str, data: bytes) -> bytes:
    """The data, compressed in two members or frames, as concatenated files are."""
    half = len(data) // 2
    pack = PACKED[kind]
    return pack(data[:half]) + pack(data[half:])


def test_a_pcap(tmp_path: Path) -> None:
    one = imported(SAMPLE, tmp_path / "out")
    assert (one.connections, one.notes()) == (1, [])
    assert counted_capture(tmp_path / "out") == counted_capture(SAMPLE.with_suffix(".pgtrace"))
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", PACKED)
def test_compressed(tmp_path: Path, kind: str) -> None:
    (tmp_path / "in").write_bytes(packed(kind, SAMPLE.read_bytes()))
    one = imported(tmp_path / "in", tmp_path / "out")
    assert one.notes() == []
    assert counted_capture(tmp_path / "out") == counted_capture(SAMPLE.with_suffix(".pgtrace"))


@pytest.mark.parametrize("kind", ["gzip", "xz", "zstd"])
def test_compressed_and_cut_off_or_damaged(tmp_path: Path, kind: str) -> None:
    """What can be read is read, and the loss is told."""
    data = packed(kind, SAMPLE.read_bytes())
    for size in (len(data) - 1, len(data) * 3 // 4, len(data) // 2 + 20):
        (tmp_path / "in").write_bytes(data[:size])
        one = imported(tmp_path / "in", tmp_path / f"out{size}")
        assert any("cut off" in note for note in one.notes())
        assert one.connections == 1
        with CaptureReader(tmp_path / f"out{size}") as reader:
            reader.read()
            assert not reader.ended
    damaged = bytearray(data)
    damaged[len(data) * 3 // 4 :] = random.Random(1).randbytes(len(data) - len(data) * 3 // 4)
    (tmp_path / "in").write_bytes(damaged)
    one = imported(tmp_path / "in", tmp_path / "out")
    assert any("damaged" in note for note in one.notes())


@pytest.mark.parametrize("kind", PACKED)
def test_in_several_members_with_padding(tmp_path: Path, kind: str) -> None:
    """As pigz, pbzip2 and `cat a.xz b.xz` make them."""
    data = SAMPLE.read_bytes()
    members = [packed(kind, data[start : start + 5000]) + (bytes(8) if kind != "zstd" else b"") for start in range(0, len(data), 5000)]
    (tmp_path / "in").write_bytes(b"".join(members))
    one = imported(tmp_path / "in", tmp_path / "out")
    assert one.notes() == []
    assert counted_capture(tmp_path / "out") == counted_capture(SAMPLE.with_suffix(".pgtrace"))


def test_bzip2_is_read_by_blocks(tmp_path: Path) -> None:
    """Of a block that is cut off nothing can be read."""
    data = bz2.compress(SAMPLE.read_bytes() + random.Random(1).randbytes(500_000), 1)
    (tmp_path / "in").write_bytes(data[:-1000])
    one = imported(tmp_path / "in", tmp_path / "out")
    assert (one.connections, any("cut off" in note for note in one.notes())) == (1, True)
    (tmp_path / "small").write_bytes(bz2.compress(SAMPLE.read_bytes())[:-100])
    with pytest.raises(CaptureError, match="cut off"):
        imported(tmp_path / "small", tmp_path / "none")


def test_xz_that_wants_too_much_memory(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 28}]
    (tmp_path / "in").write_bytes(lzma.compress(SAMPLE.read_bytes(), filters=filters))
    with pytest.raises(CaptureError, match="more than 80 MiB of memory to unpack"):
        imported(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize("kind", PACKED)
def test_what_was_compressed_well_is_taken_off_in_bounded_pieces(tmp_path: Path, kind: str) -> None:
    (tmp_path / "bomb").write_bytes(packed(kind, forge.pcap([]) + bytes(6 * 1024 * 1024)))
    bomb = Input(str(tmp_path / "bomb"))
    sizes = []
    while piece := bomb.read():
        sizes.append(len(piece))
    bomb.close()
    assert sum(sizes) == 24 + 6 * 1024 * 1024
    assert max(sizes) <= 1024 * 1024


def test_gzip_gives_the_same_in_whatever_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = random.Random(2).randbytes(3000) + bytes(200_000) + random.Random(3).randbytes(5000)
    (tmp_path / "in").write_bytes(packed("gzip", data))
    for read, piece in ((1, 64), (17, 1), (262_144, 1000)):
        monkeypatch.setattr(inputs, "READ_BYTES", max(read, 8))
        monkeypatch.setattr(inputs, "_PIECE_BYTES", piece)
        one = Input(str(tmp_path / "in"))
        assert b"".join(iter(one.read, b"")) == data
        assert one.trouble == ""
        one.close()


def test_zstd_without_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").write_bytes(packed("zstd", SAMPLE.read_bytes()))
    monkeypatch.setattr(inputs, "_ZSTD_MODULES", ("no.such.module",))
    with pytest.raises(MissingExtra, match=r"pgtrace\[zstd\]"):
        Import(str(tmp_path / "in"), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


REFUSED = {
    "text": (b"select 1;\n" * 100, "not a capture, pcap, jsonl or golden"),
    "empty": (b"", "empty"),
    "a few bytes": (b"\xd4\xc3", "not a capture, pcap, jsonl or golden"),
    "gzip of text": (gzip.compress(b"hello" * 100), "not a capture, pcap, jsonl or golden"),
    "gzip of nothing": (gzip.compress(b""), "empty"),
    "gzip cut off at once": (gzip.compress(b"hello")[:9], "cut off"),
    "no gzip behind its magic": (b"\x1f\x8b" + bytes(100), "damaged"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_none_is_refused_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    data, reason = REFUSED[name]
    (tmp_path / "in").write_bytes(data)
    with pytest.raises(CaptureError, match=reason) as caught:
        Import(str(tmp_path / "in"), str(tmp_path / "out"))
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(CaptureError):
            Import(str(path), str(tmp_path / "out"))


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"precious")
    with pytest.raises(OutputExists):
        Import(str(SAMPLE), str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == b"precious"


def test_what_is_a_capture_already(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"text")
    (tmp_path / "segments").mkdir()
    paths = (SAMPLE.with_suffix(".pgtrace"), tmp_path / "segments", tmp_path / "none", SAMPLE, tmp_path / "text")
    assert [is_capture(str(path)) for path in paths] == [True, True, True, False, False]


# What is to be said.


def told(data: bytes, tmp_path: Path, **options) -> Import:
    (tmp_path / "in").write_bytes(data)
    return imported(tmp_path / "in", tmp_path / "out", **options)


def test_a_pcap_cut_off(tmp_path: Path) -> None:
    one = told(SAMPLE.read_bytes()[:-5], tmp_path)
    assert len(one.notes()) == 1
    assert "cut off within a packet" in one.notes()[0]
    assert counted_capture(tmp_path / "out")["capture"]["complete"] is False


def test_a_pcap_damaged(tmp_path: Path) -> None:
    one = told(SAMPLE.read_bytes() + b"\xff" * 100, tmp_path)
    assert "damaged" in one.notes()[0]
    assert "100 bytes" in one.notes()[0]


def test_a_link_type_that_cannot_be_read(tmp_path: Path) -> None:
    one = told(forge.pcap([(1, b"a frame")] * 3, 105), tmp_path)
    assert one.notes() == ["3 packets of link type 105 cannot be read"]


def test_dropped_packets(tmp_path: Path) -> None:
    file = forge.pcapng([]) + forge.block(5, bytes(12) + forge.options([(5, (7).to_bytes(8, "little"))]))
    assert "7 packets were dropped" in told(file, tmp_path).notes()[0]


def test_no_postgresql_in_it(tmp_path: Path) -> None:
    web = Talk(server=("10.0.0.2", 8080)).open().send(FRONTEND, b"GET / HTTP/1.1").send(BACKEND, b"HTTP/1.1 200").close()
    one = told(forge.pcap(forge.frames(web.sent)), tmp_path)
    assert "8080 (8 packets)" in one.nothing_found()
    assert "--port 8080" in one.nothing_found()


def test_nothing_in_it(tmp_path: Path) -> None:
    assert told(forge.pcap([]), tmp_path).nothing_found() == "contains no packets"


def test_no_tcp_in_it(tmp_path: Path) -> None:
    one = told(forge.pcap([(1, forge.ethernet(bytes(40)))] * 3), tmp_path)
    assert "3 packets, none from a TCP connection" in one.nothing_found()


def test_segments_bound_it(tmp_path: Path) -> None:
    """A whole is kept while it is small; of a large one the newest."""
    made = Talk().open().send(FRONTEND, STARTUP).send(BACKEND, b"R\0\0\0\x08\0\0\0\0Z\0\0\0\5I")
    for _ in range(200):
        made.send(FRONTEND, b"Q\0\0\0\x0dselect 1\0").send(BACKEND, b"d" + (30_004).to_bytes(4, "big") + bytes(30_000) + b"Z\0\0\0\5I")
    one = told(forge.pcap(forge.frames(made.sent)), tmp_path, keep_bytes=2_000_000)
    kept = list((tmp_path / "out").iterdir())
    assert len(kept) >= 2
    assert sum(path.stat().st_size for path in kept) < 3_500_000
    assert one.connections == 1


# Pipes.


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The writing end of a pipe that is standard input."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as file:
        monkeypatch.setattr(sys, "stdin", file)
        yield writing


def test_standard_input_in_small_pieces(tmp_path: Path, stdin: int) -> None:
    def feed() -> None:
        data = SAMPLE.read_bytes()
        for start in range(0, len(data), 999):
            os.write(stdin, data[start : start + 999])
        os.close(stdin)

    writer = threading.Thread(target=feed)
    writer.start()
    imported("-", tmp_path / "out")
    writer.join()
    assert counted_capture(tmp_path / "out") == counted_capture(SAMPLE.with_suffix(".pgtrace"))


def test_an_interrupted_stream_ends_with_what_was_on_its_way(tmp_path: Path, stdin: int) -> None:
    """The other end stays open."""
    data = SAMPLE.read_bytes()
    os.write(stdin, data[:50])
    with Import("-", str(tmp_path / "out")) as one:
        os.write(stdin, data[50:])
        one.interrupt()
        while one.step():
            continue
    os.close(stdin)
    assert one.notes() == []
    assert counted_capture(tmp_path / "out") == counted_capture(SAMPLE.with_suffix(".pgtrace"))


def test_a_stream_without_an_end_is_ended(tmp_path: Path, stdin: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "_LAST_S", 0.05)
    os.write(stdin, forge.pcap([]))
    os.set_blocking(stdin, False)
    stop = threading.Event()

    def feed() -> None:
        packet = forge.pcap([(1, b"x")])[24:]
        while not stop.is_set():
            try:
                os.write(stdin, packet)
            except BlockingIOError:  # the pipe is full: nobody reads any more, or not yet
                stop.wait(0.001)

    writer = threading.Thread(target=feed)
    with Import("-", str(tmp_path / "out")) as one:
        writer.start()
        one.interrupt()
        while one.step():
            continue
    stop.set()
    writer.join()
    os.close(stdin)


# Captures that come through a pipe, or compressed.


def streamed(data: bytes, tmp_path: Path) -> Import:
    (tmp_path / "in.gz").write_bytes(gzip.compress(data))
    return imported(tmp_path / "in.gz", tmp_path / "out")


def test_a_capture(tmp_path: Path) -> None:
    path = write(tmp_path / "script", SCRIPT)
    one = streamed(path.read_bytes(), tmp_path)
    assert (one.notes(), one.nothing_found(), one.connections) == ([], "", 1)
    with CaptureReader(tmp_path / "out") as copy, CaptureReader(path) as original:
        assert [record for block in copy.read() for record in block.records] == [
            record for block in original.read() for record in block.records
        ]
        assert (copy.header.wall_ns, copy.header.monotonic_ns) == (original.header.wall_ns, original.header.monotonic_ns)
        copy.read()
        assert copy.complete


def test_a_capture_cut_off(tmp_path: Path) -> None:
    data = write(tmp_path / "script", SCRIPT).read_bytes()
    one = streamed(data[:-10], tmp_path)
    assert "its last block is cut off" in one.notes()[0]
    assert counted_capture(tmp_path / "out")["capture"]["complete"] is False


def test_a_capture_damaged_in_the_middle(tmp_path: Path) -> None:
    data = bytearray(write(tmp_path / "script", SCRIPT).read_bytes())
    data[len(data) // 2] ^= 1
    streamed(bytes(data), tmp_path)
    assert counted_capture(tmp_path / "out")["capture"]["gaps"] == 1


def test_a_capture_that_is_only_a_beginning(tmp_path: Path) -> None:
    data = write(tmp_path / "script", SCRIPT).read_bytes()
    for size in (8, 15, 30):
        with pytest.raises(CaptureError, match="header"):
            streamed(data[:size], tmp_path)
        assert not (tmp_path / "out").exists()


def test_a_newer_capture(tmp_path: Path) -> None:
    data = bytearray(write(tmp_path / "script", SCRIPT).read_bytes())
    data[9] = 9
    with pytest.raises(NewerCapture):
        streamed(bytes(data), tmp_path)


def test_a_capture_that_ends_in_nonsense_takes_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgtrace.capture.streamed._MOST_BYTES", 100_000)
    data = write(tmp_path / "script", SCRIPT).read_bytes()
    one = streamed(data + zlib.compress(random.Random(4).randbytes(3_000_000)), tmp_path)
    assert one._converter._window.left_bytes <= 1_000_000
    told = counted_capture(tmp_path / "out")
    assert told["capture"]["gaps"] >= 1
    assert told["totals"]["queries"] == 50
