"""`pgtrace open -` on a real terminal: packets come through standard input, keys from the terminal."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from captures.recording.packets import LOOPBACK
from pgtrace.demo.embedded import EmbeddedServer
from tests.tui.terminal import WITHIN_S, Terminal

SAMPLE = Path(__file__).parent.parent / "data" / "packets" / "psycopg_text.pcap"
TMPDIR = "temporary"


@contextmanager
def opened(tmp_path: Path, *args: str, stdin: int | None = None) -> Iterator[tuple[Terminal, Callable[[bytes], None], Callable[[], None]]]:
    """`open -`, what sends to its standard input, and what ends that. No temporary capture is left behind."""
    reading, writing = os.pipe()
    scratch = tmp_path / TMPDIR
    scratch.mkdir()
    ended = threading.Event()

    def send(data: bytes) -> None:
        while data:
            data = data[os.write(writing, data) :]

    def end() -> None:
        if not ended.is_set():
            ended.set()
            os.close(writing)

    try:
        with Terminal("open", *args, "-", stdin=stdin if stdin is not None else reading, TMPDIR=str(scratch)) as terminal:
            os.close(reading)
            yield terminal, send, end
    finally:
        end()
    assert list(scratch.iterdir()) == []


def given_back(terminal: Terminal, code: int = 0) -> None:
    """It ended with that code, and the terminal is as it was."""
    assert terminal.ended() == code
    assert terminal.attributes == terminal.before


def test_rows_come_while_the_stream_goes_on(tmp_path: Path) -> None:
    """It is live though nothing comes; keys are taken meanwhile; then more comes, and at its end
    the stream is told as ended, all of it there."""
    data = SAMPLE.read_bytes()
    half = data.index(b"COMMIT") - 200
    with opened(tmp_path) as (terminal, send, end):
        send(data[:24])
        terminal.wait_for("nothing in this capture yet")
        assert "● live" in terminal.text()
        send(data[24:half])
        terminal.wait_for("BEGIN")
        terminal.after("?", "what a row says")
        begin = terminal.type("\x1b")
        terminal.wait_for("inspect", begin)
        begin = len(terminal.written)
        send(data[half:])
        terminal.wait_for("COMMIT", begin)
        terminal.wait_for("Terminate", begin)
        assert "■" not in terminal.text()
        begin = len(terminal.written)
        end()
        terminal.wait_for("■ ", begin)
        assert "end record" not in terminal.text()
        terminal.type("q")
        given_back(terminal)


@pytest.mark.parametrize("key", ["q", "\x03"])
def test_leaving_while_the_stream_goes_on(key: str, tmp_path: Path) -> None:
    """`q` or Ctrl-C: nobody waits for a stream that has no end."""
    with opened(tmp_path) as (terminal, send, _):
        send(SAMPLE.read_bytes())
        terminal.wait_for("Terminate")
        terminal.type(key)
        given_back(terminal)


def test_ctrl_c_before_anything_has_come(tmp_path: Path) -> None:
    with opened(tmp_path) as (terminal, _, _):
        until_a_child(terminal)
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.process.wait(WITHIN_S) == 130
        assert terminal.attributes == terminal.before


def until_a_child(terminal: Terminal) -> None:
    children = Path(f"/proc/{terminal.process.pid}/task/{terminal.process.pid}/children")
    waited = threading.Event()
    while not children.read_text():
        assert terminal.process.poll() is None
        waited.wait(0.01)


def test_gzip(tmp_path: Path) -> None:
    with opened(tmp_path) as (terminal, send, end):
        send(gzip.compress(SAMPLE.read_bytes()))
        end()
        terminal.wait_for("Terminate")
        terminal.type("q")
        given_back(terminal)


def test_a_capture(tmp_path: Path) -> None:
    with opened(tmp_path) as (terminal, send, end):
        send(SAMPLE.with_suffix(".pgtrace").read_bytes())
        end()
        terminal.wait_for("Terminate")
        terminal.type("q")
        given_back(terminal)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            b"GET / HTTP/1.1\r\n\r\n" * 100,
            "pgtrace: -: unknown file type: not a capture, pcap, jsonl or golden",
        ),
        (b"", "pgtrace: -: empty: nothing was recorded"),
    ],
)
def test_nothing_that_can_be_shown(data: bytes, said: str, tmp_path: Path) -> None:
    """One line, no screen, and the exit code of what cannot be read."""
    with opened(tmp_path) as (terminal, send, end):
        send(data)
        end()
        terminal.wait_for(said)
        assert terminal.process.wait(WITHIN_S) == 4
        assert terminal.attributes == terminal.before


def test_a_stream_that_ends_without_a_packet(tmp_path: Path) -> None:
    """The screen is there by then, so it is told behind it."""
    with opened(tmp_path) as (terminal, send, end):
        send(SAMPLE.read_bytes()[:24])
        terminal.wait_for("nothing in this capture yet")
        end()
        terminal.wait_for("■ ")
        terminal.type("q")
        given_back(terminal, 4)
        terminal.wait_for("pgtrace: -: contains no packets", terminal.written.rindex(b"\x1b[?1049l"))


def test_what_was_lost_is_told_when_the_screen_is_gone(tmp_path: Path) -> None:
    with opened(tmp_path) as (terminal, send, end):
        send(SAMPLE.read_bytes()[:-10])
        end()
        terminal.wait_for("COMMIT")
        terminal.type("q")
        given_back(terminal)
        terminal.wait_for("cut off within a packet", terminal.written.rindex(b"\x1b[?1049l"))


@pytest.mark.skipif(shutil.which("tcpdump") is None, reason="tcpdump is not installed")
def test_tcpdump_into_open(server: EmbeddedServer, tmp_path: Path) -> None:
    """`tcpdump -U -w - | pgtrace open -`: a real driver's work is on the screen while it goes on."""
    import psycopg

    line = ["tcpdump", "-i", LOOPBACK, "-n", "-U", "--immediate-mode", "-s", "0", "-w", "-", "port", str(server.port)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tcpdump:
        assert tcpdump.stdout is not None
        assert tcpdump.stderr is not None
        try:
            told = ""
            while "listening on" not in told:
                told = tcpdump.stderr.readline()
                if not told:
                    pytest.skip("tcpdump may not capture on the loopback here")
            with opened(tmp_path, "--port", str(server.port), stdin=tcpdump.stdout.fileno()) as (terminal, _, _):
                terminal.wait_for("nothing in this capture yet")
                with psycopg.connect(server.url(), autocommit=True) as connection:
                    for number in range(3):
                        begin = len(terminal.written)
                        connection.execute(f"select {number} as seen")
                        terminal.wait_for(f"select {number} as seen", begin)
                terminal.wait_for("Terminate")
                tcpdump.send_signal(signal.SIGINT)
                terminal.wait_for("■ ")
                terminal.type("q")
                given_back(terminal)
        finally:
            tcpdump.kill()
