"""A pcap, a compressed one or a stream in place of a capture, in every reading command; and `import`."""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgtrace.cli import progress
from pgtrace.protocol import startup
from tests import commands
from tests.capture import packet_forge as forge

SAMPLES = Path(__file__).parent.parent / "data" / "packets"
SAMPLE = SAMPLES / "psycopg_text.pcap"
OTHER = SAMPLES / "pg8000.pcap"
PATIENCE_S = 30
STARTUP = startup.StartupMessage(3 << 16, (("user", "app"),)).wire()


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary captures go; there is none left at the end."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    monkeypatch.setattr("tempfile.tempdir", str(directory))
    yield directory
    assert list(directory.iterdir()) == []


def command(*args: str | Path, data: bytes | None = None) -> subprocess.CompletedProcess[str]:
    return commands.call(*args, input=data)


def statistics(*args: str | Path, data: bytes | None = None) -> dict:
    found = command("stats", "--json", *args, data=data)
    assert (found.returncode, found.stderr) == (0, "")
    told = json.loads(found.stdout)
    assert isinstance(told, dict)
    return told


def unnamed(told: dict) -> dict:
    """Without the names of the files."""
    del told["capture"]["files"]
    for connection in told["connections"]:
        del connection["file"]
    return told


def test_import_and_what_it_says(tmp_path: Path) -> None:
    found = command("import", SAMPLE, "-o", tmp_path / "out.pgtrace")
    assert (found.returncode, found.stdout) == (0, "")
    assert "1 connection written to" in found.stderr
    assert f"pgtrace open {tmp_path}/out.pgtrace" in found.stderr
    assert command("import", "-q", SAMPLE, "-o", tmp_path / "quiet.pgtrace").stderr == ""
    assert unnamed(statistics(tmp_path / "out.pgtrace")) == unnamed(statistics(SAMPLE))


def test_every_form_counts_the_same(tmp_path: Path, scratch: Path) -> None:
    (tmp_path / "sample.gz").write_bytes(gzip.compress(SAMPLE.read_bytes()))
    expected = statistics(SAMPLE)
    assert expected["capture"]["files"] == [str(SAMPLE)]
    assert expected["connections"][0]["file"] == str(SAMPLE)
    unnamed(expected)
    streamed = statistics("-", data=SAMPLE.read_bytes())
    assert streamed["capture"]["files"] == ["-"]
    assert unnamed(streamed) == expected
    assert unnamed(statistics("-", data=gzip.compress(SAMPLE.read_bytes()))) == expected
    assert unnamed(statistics(tmp_path / "sample.gz")) == expected


def test_a_capture_through_a_pipe(scratch: Path) -> None:
    capture = SAMPLE.with_suffix(".pgtrace")
    assert unnamed(statistics("-", data=capture.read_bytes())) == unnamed(statistics(capture))


def test_several_files_on_one_axis_of_time(scratch: Path) -> None:
    """A pcap, a capture and another pcap: each connection keeps its file."""
    told = statistics(SAMPLE, OTHER.with_suffix(".pgtrace"), OTHER)
    files = [str(SAMPLE), str(OTHER.with_suffix(".pgtrace")), str(OTHER)]
    assert told["capture"]["files"] == files
    assert [(one["file"], one["driver"]) for one in sorted(told["connections"], key=lambda one: files.index(one["file"]))] == [
        (files[0], "psycopg"),
        (files[1], "pg8000"),
        (files[2], "pg8000"),
    ]


def test_show_reads_it_like_its_capture(tmp_path: Path, scratch: Path) -> None:
    command("import", SAMPLE, "-o", tmp_path / "out.pgtrace")
    expected = command("show", tmp_path / "out.pgtrace")
    assert "Parse" in expected.stdout
    for found in (command("show", SAMPLE), command("show", "-", data=SAMPLE.read_bytes())):
        assert (found.returncode, found.stdout, found.stderr) == (0, expected.stdout, "")
    lines = command("show", "--json", "-", data=SAMPLE.read_bytes()).stdout.splitlines()
    assert {json.loads(line)["file"] for line in lines} == {"-"}


def test_keep_bounds_the_disk_and_not_the_counts(tmp_path: Path, scratch: Path) -> None:
    """Three megabytes of rows; the smallest bound keeps two segments of half a megabyte."""
    made = forge.Talk().open().send(0, STARTUP).send(1, b"R\0\0\0\x08\0\0\0\0Z\0\0\0\5I")
    for _ in range(150):
        made.send(0, b"Q\0\0\0\x0dselect 1\0").send(1, b"D" + (20_014).to_bytes(4, "big") + b"\0\1\0\0\x4e\x24" + b"x" * 20_004)
        made.send(1, b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\5I")
    path = tmp_path / "rows.pcap"
    path.write_bytes(forge.pcap(forge.frames(made.sent)))
    told = statistics("--keep", "1MiB", path)
    assert told["totals"]["rows"] == told["totals"]["round_trips"] == 150
    assert told["capture"]["complete"]
    found = command("show", "--keep", "1MiB", path)
    assert (found.stdout.count("DataRow"), found.stdout.count("bytes no longer kept")) == (150, 0)  # each is printed before it goes
    waiting = dataclasses.replace(forge.Talk(), client=("10.0.0.1", 40002), sent=[]).open()
    waiting.send(0, STARTUP).send(1, b"R\0\0\0\x08\0\0\0\0Z\0\0\0\5I").send(0, b"Q\0\0\0\x0dselect 1\0")
    path.write_bytes(forge.pcap(forge.frames(waiting.sent + made.sent)))
    found = command("show", "--keep", "1MiB", path)
    assert found.stdout.count("bytes no longer kept") in range(50, 150)  # rows wait for one before them that stays open
    assert found.stdout.count("DataRow") in range(20, 100)


# Streams that go on.


class Piped:
    """A command that reads a stream from us."""

    def __init__(self, *args: str) -> None:
        self.process = commands.Command(*args, "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def read_until(self, wanted: bytes) -> bytes:
        assert self.process.stdout is not None
        told = b""
        while wanted not in told:
            ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE_S)
            assert ready, told
            more = os.read(self.process.stdout.fileno(), 65536)
            assert more, told
            told += more
        return told

    def end(self) -> tuple[bytes, bytes, int]:
        out, errors = self.process.communicate(timeout=PATIENCE_S)
        return out, errors, self.process.returncode


def packets_before(text: bytes) -> int:
    """Where in the sample the packet ends in which that stands."""
    data = SAMPLE.read_bytes()
    place, position = data.index(text), 24
    while position < place:
        position += 16 + int.from_bytes(data[position + 8 : position + 12], "little")
    return position


def test_show_prints_what_is_complete_at_once(scratch: Path) -> None:
    piped = Piped("show")
    data = SAMPLE.read_bytes()
    half = packets_before(b"COMMIT")
    piped.send(data[:half])
    told = piped.read_until(b"BEGIN")
    assert b"COMMIT" not in told
    directories = list(scratch.iterdir())
    assert [directory.stat().st_mode & 0o777 for directory in directories] == [0o700]
    piped.send(data[half:])
    told += piped.read_until(b"Terminate")
    out, errors, code = piped.end()
    assert (code, errors) == (0, b"")
    assert (told + out).decode() == command("show", SAMPLE).stdout


@pytest.mark.parametrize("args", [("stats",), ("show",), ("import", "-q", "-o", "{out}")])
def test_ctrl_c_ends_the_stream_and_not_the_command(args: tuple[str, ...], scratch: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out.pgtrace")
    piped = Piped(*(arg.format(out=out) for arg in args))
    piped.send(SAMPLE.read_bytes())
    written = scratch if args[0] != "import" else tmp_path
    deadline = select.poll()
    while not any(path.stat().st_size > 2000 for path in written.rglob("*.pgtrace")):
        deadline.poll(10)
        assert piped.process.poll() is None
    piped.process.send_signal(signal.SIGINT)
    told, errors, code = piped.end()
    assert (code, errors) == (0, b"")
    if args[0] == "import":
        assert statistics(out)["capture"]["complete"]
    else:
        assert told.decode() == command(args[0], SAMPLE).stdout.replace(str(SAMPLE), "-")


def test_a_closed_stdout_ends_it(scratch: Path) -> None:
    piped = Piped("show")
    piped.send(SAMPLE.read_bytes())
    piped.read_until(b"Parse")
    assert piped.process.stdout is not None
    piped.process.stdout.close()
    assert piped.process.stdin is not None
    piped.process.stdin.close()
    assert piped.process.wait(PATIENCE_S) == 0
    assert piped.process.stderr is not None
    assert piped.process.stderr.read() == b""
    piped.process.stderr.close()


# What goes wrong.


def test_a_pcap_cut_off_is_read_and_the_loss_told(tmp_path: Path, scratch: Path) -> None:
    (tmp_path / "cut.pcap").write_bytes(SAMPLE.read_bytes()[:-30])
    for args in (("stats",), ("show",), ("import", "-o", str(tmp_path / "out"))):
        found = command(*args, tmp_path / "cut.pcap")
        assert found.returncode == 0
        assert "cut.pcap: cut off within a packet" in found.stderr
    assert json.loads(command("stats", "--json", tmp_path / "cut.pcap").stdout)["capture"]["complete"] is False


def test_no_postgresql_in_it(tmp_path: Path, scratch: Path) -> None:
    """Joined in the middle on a port nobody named: what to do is said. Among several files it is only told."""
    made = forge.Talk(server=("10.0.0.2", 6000))
    for _ in range(10):
        made.send(0, b"Q\0\0\0\x0dselect 1\0").send(1, b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\5I")
    path = tmp_path / "joined.pcap"
    path.write_bytes(forge.pcap(forge.frames(made.sent)))
    for args in (("stats",), ("show",), ("import", "-o", str(tmp_path / "out"))):
        found = command(*args, path)
        assert found.returncode == 4
        assert found.stdout == ""
        assert found.stderr.count("\n") == 1
        assert "no PostgreSQL traffic" in found.stderr
    assert not (tmp_path / "out").exists()
    assert found.stderr.endswith("--port 6000\n")
    assert statistics("--port", "6000", path)["totals"]["round_trips"] == 9
    among = command("stats", SAMPLE, path)
    assert among.returncode == 0
    assert "joined.pcap: no PostgreSQL traffic" in among.stderr


def test_standard_input_once() -> None:
    found = command("stats", "-", "-", data=SAMPLE.read_bytes())
    assert (found.returncode, found.stdout) == (4, "")
    assert "named twice" in found.stderr


def test_open_needs_a_terminal(scratch: Path) -> None:
    found = command("open", "-", data=SAMPLE.read_bytes())
    assert found.returncode == 2
    assert "needs a terminal" in found.stderr


# The bar.


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_where_it_takes_long_and_somebody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    def turns(stderr: io.StringIO, *, patience_s: float = -1.0, quiet: bool = False, fraction: float | None = 0.5) -> str:
        monkeypatch.setattr(sys, "stderr", stderr)
        monkeypatch.setattr(progress, "_PATIENCE_S", patience_s)
        left = iter([True] * 5 + [False])
        progress.turns(lambda: next(left), lambda: fraction, "importing", quiet=quiet)
        assert list(left) == []
        return stderr.getvalue()

    assert "importing" in turns(_Terminal())
    assert "50%" in turns(_Terminal())
    assert turns(io.StringIO()) == ""
    assert turns(_Terminal(), patience_s=60.0) == ""
    assert turns(_Terminal(), quiet=True) == ""
    assert turns(_Terminal(), fraction=None) == ""
