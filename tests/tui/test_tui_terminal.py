"""On a real pseudo-terminal: nothing from the wire is obeyed, a row is there within a second, and the terminal is given back as it was."""

from __future__ import annotations

import base64
import os
import re
import signal
import sys
import unicodedata
from contextlib import closing
from pathlib import Path

import pytest

from pgtrace.demo.embedded import EmbeddedServer
from pgtrace.tui.app import NICE
from tests.hostile import HARM, hostile
from tests.traces import fully_read
from tests.tui.terminal import FRESH, WITHIN_S, Terminal, sequences
from tests.wire_recording import Recording

_POINTER = "\x1b]22;default\x07"
_CLIPBOARD = re.compile(r"\x1b\]52;c;[A-Za-z0-9+/=]*\x07")


def test_nothing_from_the_wire_reaches_the_terminal(tmp_path: Path) -> None:
    recording = Recording(tmp_path / f"file{HARM.replace('/', '')}.pgtrace")
    hostile(recording)
    recording.end()
    with Terminal("open", str(recording.path), size=(200, 60)) as terminal:
        terminal.wait_for("■ ")
        terminal.after("nn\r", "ErrorResponse")
        terminal.after("\tjjjjjlh", "[/bold]")
        terminal.after("u", "values as bytes")
        terminal.after("u", "values by their types")
        terminal.after("r", "what failed")
        terminal.after("R", "next problem")
        terminal.after("\x1b", "inspect")
        terminal.after("gjjjjjjj\r", "ParameterDescription")
        terminal.after("jjjjj", "RowDescription  backend")
        terminal.after("\x1b", "inspect")
        terminal.after("ys", "SQL copied")
        terminal.after("XXX", "encryption requested")
        terminal.after("c", "/ conn:1")
        terminal.after("c2jjjjG", "reverse")
        terminal.after("D", "each driver")
        terminal.after("ys", "SQL copied")
        terminal.after("3jj", "life")
        terminal.after("yr", "copied")
        terminal.after("4" + "j" * 40, "known by")
        terminal.after("5jj", "idle %")
        terminal.after("6jj", "remedy")
        terminal.after("yr", "remedy copied")
        terminal.after("\r", "esc back")
        terminal.after("T", "theme light")
        terminal.after("?", "what a row says")
        terminal.type("q")
        assert terminal.ended() == 0
        assert terminal.attributes == terminal.before
        written = terminal.written.decode()
    found = sequences(written)
    clipboard = _CLIPBOARD.findall(written)
    assert len(clipboard) == 4
    assert {sequence for sequence in found if not sequence.startswith("\x1b[")} == {_POINTER, *clipboard}
    copied = [base64.b64decode(one.split(";")[2][:-1]).decode() for one in clipboard]
    assert "[/bold]" in copied[0]
    assert "[/bold]" in terminal.text()
    for text in (*copied, terminal.text()):
        assert {character for character in text if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")} <= {"\n", "\r", "\t"}
    assert "\t" not in terminal.text()
    assert not [sequence for sequence in found if sequence.endswith(("97;7q", "[2J")) or "96m" in sequence]
    assert found.count("\x1b[?1049l") == 1


def test_what_passes_is_on_the_screen_within_a_second(server: EmbeddedServer) -> None:
    import psycopg

    with Terminal("listen", "127.0.0.1:0", "--upstream", f"{server.host}:{server.port}", program=FRESH) as terminal:
        terminal.wait_for("psql -h 127.0.0.1 -p ")
        assert os.getpriority(os.PRIO_PROCESS, terminal.process.pid) == NICE  # and not the recorder, its child, which was there before
        if sys.platform.startswith("linux"):
            (recorder,) = Path(f"/proc/{terminal.process.pid}/task/{terminal.process.pid}/children").read_text().split()
            assert os.getpriority(os.PRIO_PROCESS, int(recorder)) == os.getpriority(os.PRIO_PROCESS, 0)
        port = int(re.search(r"PGPORT=(\d+)", terminal.text())[1])  # type: ignore[index]
        with psycopg.connect(server.url("127.0.0.1", port), autocommit=True) as connection:
            took_s = []
            for number in range(5):
                begin = len(terminal.written)
                connection.execute(f"select {number} as seen")
                took_s.append(terminal.wait_for(f"select {number} as seen", begin))
            assert min(took_s) < 1.0  # it gives way to whatever else the machine does

            terminal.type("\x1a")
            assert os.WIFSTOPPED(os.waitpid(terminal.process.pid, os.WUNTRACED)[1])
            assert terminal.attributes == terminal.before
            connection.execute("select 'while it was away'")
            begin = len(terminal.written)
            terminal.process.send_signal(signal.SIGCONT)
            terminal.wait_for("round trips", begin)
            terminal.wait_for("while it was away", begin)

            terminal.process.send_signal(signal.SIGTERM)
            assert terminal.ended() == 0  # as a service is stopped
            assert terminal.attributes == terminal.before


def test_a_locale_without_utf8_gets_ascii_and_a_terminal_that_is_closed_leaves_nothing(shop: Recording) -> None:
    shop.end()
    with Terminal("open", str(shop.path), program=FRESH, LC_ALL="C") as terminal:
        terminal.wait_for("# 42 ms")
        terminal.after("n\r", "ErrorResponse")
        terminal.after("ys", "/copied")
        copied = Path(re.search(r"also in (\S+/copied)", terminal.text())[1])  # type: ignore[index]
        assert copied.read_text().startswith("INSERT INTO audit")
        terminal.process.send_signal(signal.SIGHUP)
        assert terminal.process.wait(WITHIN_S) == -signal.SIGHUP
        assert not copied.parent.exists()
        assert terminal.written.isascii()
        assert "-> " in terminal.text()


def test_a_row_is_read_in_the_pager_and_the_screen_comes_back(shop: Recording, tmp_path: Path) -> None:
    """And from there to another theme, by name, with keys typed ahead."""
    shop.end()
    script = tmp_path / "pager"
    script.write_text(f"#!/bin/sh\ncat > {tmp_path}/paged; echo PAGED; exit $(cat {tmp_path}/code)\n")
    script.chmod(0o700)
    (tmp_path / "code").write_text("0")
    with Terminal("open", str(shop.path), PAGER=f"{script} -x") as terminal:
        terminal.wait_for("\u25a0 42 ms")
        terminal.after("n", "ErrorResponse(23505)")
        terminal.after("v", "PAGED")
        terminal.taken(2)
        terminal.after("j", "12/19")
        paged = (tmp_path / "paged").read_text()
        assert "E ErrorResponse 23505" in paged
        assert "45 00 00 00" in paged
        (tmp_path / "code").write_text("3")
        terminal.after("v", "pager pager ended with code 3")
        terminal.taken(3)
        script.unlink()
        terminal.after("v", "pager pager cannot be started: no such file or directory")
        terminal.after(":theme light\r", "theme light")
        terminal.type("q")
        assert terminal.ended() == 0
        assert terminal.attributes == terminal.before


def test_a_live_recording_is_saved_up_to_the_moment_of_quitting(
    server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Typed ahead as a whole, from the question to the answer."""
    import psycopg

    monkeypatch.chdir(tmp_path)
    kept = Path("kept.pgtrace")
    with Terminal("listen", "127.0.0.1:0", "--upstream", f"{server.host}:{server.port}", program=FRESH) as terminal:
        terminal.wait_for("psql -h 127.0.0.1 -p ")
        port = int(re.search(r"PGPORT=(\d+)", terminal.text())[1])  # type: ignore[index]
        with psycopg.connect(server.url("127.0.0.1", port), autocommit=True) as connection:
            connection.execute("select 'before'")
            terminal.wait_for("select 'before'")
            terminal.after("q", "this recording is not saved: press again to quit")
            terminal.after(f"e\x15{kept}\r", "new traffic is added until you quit")
            terminal.after("minside\r", "mark inside begins")
            connection.execute("select 'after'")
            terminal.wait_for("select 'after'")
            terminal.type("q")
            assert terminal.ended() == 0
    with closing(fully_read(kept)) as trace:
        assert trace.ended
        assert {"select 'before'", "inside", "select 'after'"} <= {row.label.sql for row in trace.rows}
