"""`export` as a user types it: where it writes, what it refuses, and how it ends; what it writes is for tests/export."""

from __future__ import annotations

import base64
import gzip
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from pgtrace.capture.packets import PacketReader
from pgtrace.export import FORMATS
from tests import commands, playbook
from tests.playbook import SECRET, SECRET_SAID

CAPTURES = Path(__file__).parents[2] / "captures"
CAPTURE = CAPTURES / "psycopg" / "failure.pgtrace"
PCAP = Path(__file__).parents[1] / "data" / "packets" / "pg8000.pcap"


def export(*args: str | Path, **given: bytes) -> subprocess.CompletedProcess[bytes]:
    return commands.call("export", *args, text=False, **given)


def test_a_file_or_stdout(tmp_path: Path) -> None:
    """The same bytes; the file is its owner's alone, and nothing is overwritten."""
    out = tmp_path / "out.pcapng"
    found = export(CAPTURE, "--to", "pcapng", "-o", out)
    assert (found.returncode, found.stdout, found.stderr) == (0, b"", b"")
    assert out.stat().st_mode & 0o777 == 0o600
    data = out.read_bytes()
    assert len(PacketReader().feed(data)) > 10
    for words in ((), ("-o", "-")):
        assert export(CAPTURE, "--to", "pcapng", *words).stdout == data
    again = export(CAPTURE, "--to", "pcapng", "-o", out)
    assert again.returncode == 2
    assert again.stderr.decode() == f"pgtrace: {out} already exists: choose another name or remove it\n"
    assert out.read_bytes() == data


def test_every_form_of_input(tmp_path: Path) -> None:
    """Several files, packets, and standard input."""
    several = PacketReader().feed(export(CAPTURE, PCAP, "--to", "pcapng").stdout)
    one = PacketReader().feed(export(CAPTURE, "--to", "pcapng").stdout)
    other = PacketReader().feed(export("-", "--to", "pcapng", input=PCAP.read_bytes()).stdout)
    assert len(several) == len(one) + len(other)
    assert len(other) > 100


def test_a_filter(tmp_path: Path) -> None:
    both = (CAPTURE, CAPTURES / "asyncpg" / "failure.pgtrace")
    found = export(*both, "--to", "pcapng", "--filter", "driver:asyncpg")
    assert len(PacketReader().feed(found.stdout)) == len(PacketReader().feed(export(both[1], "--to", "pcapng").stdout))
    wrong = export(CAPTURE, "--to", "pcapng", "--filter", "no such ( thing")
    assert wrong.returncode == 2


def unpacked(text: bytes) -> bytes:
    """A page with what is compressed in it."""
    packed = re.findall(rb'<script type="application/octet-stream" id="\w+">([^<]*)<', text)
    return text + b"".join(gzip.decompress(base64.b64decode(one)) for one in packed)


@pytest.mark.parametrize("to", sorted(FORMATS))
def test_what_is_redacted_is_in_no_format(to: str, tmp_path: Path) -> None:
    path = playbook.write(tmp_path / "said.pgtrace", SECRET_SAID)
    options = ["--plain"] if to == "pqtrace" else ["--literals"] if to == "otlp" else []
    plain, blank = export(path, "--to", to, *options), export(path, "--to", to, *options, "--redact", "all")
    assert (plain.returncode, blank.returncode, blank.stderr) == (0, 0, b"")
    assert SECRET.encode() not in unpacked(blank.stdout)
    if to not in ("chrome", "markdown"):  # which show no values
        assert SECRET.encode() in unpacked(plain.stdout)
    if to == "html":
        assert b"Blanked: literals, params, rows." in blank.stdout
        assert path.name.encode() in blank.stdout


@pytest.mark.parametrize("to", ["html", "markdown"])
def test_a_report_of_what_a_filter_selects(to: str) -> None:
    both = (CAPTURE, CAPTURES / "asyncpg" / "failure.pgtrace")
    found = export(*both, "--to", to, "--filter", "driver:asyncpg")
    text = unpacked(found.stdout).decode()
    assert "asyncpg" in text
    assert "psycopg" not in text.replace(str(CAPTURE), "")
    assert "driver:asyncpg" in text
    nothing = export(*both, "--to", to, "--filter", "driver:nobody")
    assert (nothing.returncode, nothing.stderr) == (0, b"")


def test_every_format_is_there_and_says_what_it_takes() -> None:
    found = export("--help").stdout.decode()
    for one in FORMATS.values():
        assert f"{one.name:<10}{one.what}" in found
        code = one.load().__code__
        assert set(one.options) == set(code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount])


def test_what_is_no_text_does_not_go_to_a_terminal() -> None:
    controller, worker = pty.openpty()
    found = commands.run("export", CAPTURE, "--to", "pcapng", stdout=worker, text=False)
    os.close(worker)
    os.close(controller)
    assert found.returncode == 2
    assert b"-o FILE" in found.stderr


def test_a_reader_that_has_seen_enough(tmp_path: Path) -> None:
    """The pipe is closed before the first byte; nobody complains."""
    reading, writing = os.pipe()
    os.close(reading)
    found = commands.run("export", CAPTURE, "--to", "pcapng", stdout=writing, text=False)
    os.close(writing)
    assert (found.returncode, found.stderr) == (0, b"")


def test_what_was_not_finished_is_not_left_behind(tmp_path: Path) -> None:
    (tmp_path / "none").write_bytes(b"no capture")
    found = export(tmp_path / "none", "--to", "pcapng", "-o", tmp_path / "out")
    assert found.returncode == 4
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_is_told_in_one_line() -> None:
    with open("/dev/full", "wb") as full:
        found = commands.run("export", CAPTURE, "--to", "pcapng", stdout=full, text=False)
    assert found.returncode == 4
    assert found.stderr == b"pgtrace: -: cannot be written: no space left on device\n"


def test_wrong_uses(tmp_path: Path) -> None:
    assert export(CAPTURE).returncode == 2
    assert export(CAPTURE, "--to", "nothing").returncode == 2
    assert export("--to", "pcapng").returncode == 2
    there = export(CAPTURE, "--to", "pcapng", "-o", tmp_path / "no" / "such")
    assert there.returncode == 4
    assert b"cannot be created" in there.stderr
