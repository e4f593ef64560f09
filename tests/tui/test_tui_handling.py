"""The screen among other programs, on real terminals: what it leaves behind, job control, sizes that change, a terminal that vanishes."""

from __future__ import annotations

import os
import random
import re
import signal
import threading
from pathlib import Path

import pytest
from rich.cells import cell_len

from pgtrace.demo.embedded import EmbeddedServer
from tests.tui.driving import Drive
from tests.tui.terminal import FRESH, WITHIN_S, Terminal, modes
from tests.wire_recording import Recording, done, query, ready

_COLOUR = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;[0-9;]*)?m")


def given_back(written: str) -> None:
    """Every mode that was set is reset, but for the cursor and the wrapping of lines, which are back; and the keyboard is as it was."""
    left = modes(written)
    assert {"1049", "25", "1000", "1003", "1006", "2004"} <= set(left)
    assert {mode for mode, on in left.items() if on} == {"25", "7"}
    assert len(re.findall("\x1b\\[>[0-9]+u", written)) == written.count("\x1b[<u")
    assert written.rindex("\x1b[?1049l") > written.rindex("\x1b[?1049h")


@pytest.mark.parametrize("end", ["q", "\x03", signal.SIGTERM])
def test_the_terminal_is_given_back_to_the_last_mode(shop: Recording, end: str | signal.Signals) -> None:
    shop.end()
    with Terminal("open", str(shop.path)) as terminal:
        terminal.wait_for("■ ")
        terminal.after("n\r", "ErrorResponse")
        if isinstance(end, str):
            terminal.type(end)
        else:
            terminal.process.send_signal(end)
        assert terminal.ended() == (0 if isinstance(end, str) else 128 + end)
        assert terminal.attributes == terminal.before
        given_back(terminal.written.decode())


def test_stopped_and_brought_back_by_a_shell(shop: Recording, tmp_path: Path) -> None:
    """Ctrl-Z gives the shell its terminal, `fg` brings the screen back where it was, `q` ends it, and the shell goes on."""
    shop.end()
    (tmp_path / "inputrc").write_text("set enable-bracketed-paste off\n")  # that the shell's own would be taken for ours
    shell = ["bash", "--norc", "--noprofile", "-i"]
    with Terminal(program=shell, PS1="ready> ", INPUTRC=str(tmp_path / "inputrc")) as terminal:
        terminal.wait_for("ready> ")
        before = len(terminal.written)
        terminal.type(f"{' '.join(FRESH)} open '{shop.path}'\r")
        terminal.wait_for("■ ", before)
        terminal.after("n\r", "ErrorResponse")
        stopped = terminal.type("\x1a")
        terminal.wait_for("Stopped", stopped)
        terminal.wait_for("ready> ", stopped)
        given_back(terminal.written[before:].decode())
        terminal.after("echo a$((6 * 7))b\r", "a42b")
        back = terminal.type("fg\r")
        terminal.wait_for("ErrorResponse", back)
        terminal.after("\x1b", "inspect")
        ended = terminal.type("q")
        terminal.wait_for("ready> ", ended)
        given_back(terminal.written[before:].decode())
        terminal.after("echo c$((6 * 7))d\r", "c42d")
        terminal.type("exit\r")
        assert terminal.process.wait(WITHIN_S) == 0


@pytest.mark.parametrize("ignored", [False, True], ids=["hangs up", "hang-up ignored"])
def test_a_terminal_that_vanishes(server: EmbeddedServer, tmp_path: Path, *, ignored: bool) -> None:
    """The screen goes without a word and leaves nothing; who works through the recorder works on; the capture has all of it."""
    import psycopg

    written = tmp_path / "kept.pgtrace"
    program = ("sh", "-c", 'trap "" HUP; exec "$@"', "sh", *FRESH) if ignored else FRESH
    with Terminal("listen", "127.0.0.1:0", "--upstream", f"{server.host}:{server.port}", "-w", str(written), program=program) as terminal:
        terminal.wait_for("psql -h 127.0.0.1 -p ")
        port = int(re.search(r"PGPORT=(\d+)", terminal.text())[1])  # type: ignore[index]
        with psycopg.connect(server.url("127.0.0.1", port), autocommit=True) as connection:
            begin = len(terminal.written)
            connection.execute("select 'before it vanished'")
            terminal.wait_for("before it vanished", begin)
            terminal.vanish()
            for number in range(20):
                assert connection.execute(f"select {number} as behind_it").fetchone() == (number,)
            assert terminal.process.wait(WITHIN_S) == -signal.SIGHUP
            assert connection.execute("select 'after it was gone'").fetchone() == ("after it was gone",)
    waited, patience = threading.Event(), 200
    while b"after it was gone" not in written.read_bytes():
        patience -= 1
        assert patience, "the recorder did not go on recording"
        waited.wait(0.05)
    assert b"19 as behind_it" in written.read_bytes()


async def test_sizes_that_change_all_the_time(shop: Recording, drive: Drive) -> None:
    """From 60x12 to 250x70 and back, with everything open in turn: each screen is whole, and the cursor stays on its row."""
    chance = random.Random(4)
    async with drive(shop, live=True) as driven:
        await driven.type("N", "enter")
        place = driven.areas.timeline.place
        for key in ("escape", "2", "3", "4", "5", "6", "question_mark", "1", "enter"):
            await driven.type(key)
            for _ in range(3):
                width, height = chance.randint(60, 250), chance.randint(12, 70)
                lines = await driven.resize(width, height)
                assert {cell_len(line) for line in lines} == {width}
                assert len(lines) == height
                assert lines[-1].strip()
        assert driven.areas.timeline.place == place
        for size in ((10, 3), (59, 12), (60, 11), (1, 1)):
            await driven.resize(*size)
        assert "round trip 17" in "\n".join(await driven.resize(120, 40))


def test_a_storm_of_sizes_on_a_terminal(shop: Recording) -> None:
    shop.end()
    chance = random.Random(5)
    with Terminal("open", str(shop.path)) as terminal:
        terminal.wait_for("■ ")
        for number in range(200):
            terminal.resize(chance.randint(20, 250), chance.randint(5, 70))
            terminal.type("njk123456"[number % 9])
        begin = terminal.resize(120, 40)
        terminal.after("1", "1 Timeline   2 Statements")
        terminal.wait_for("sent → back", begin)
        terminal.type("q")
        assert terminal.ended() == 0
        given_back(terminal.written.decode(errors="replace"))  # on a busy machine a frame may be cut within a character, and is drawn again
        assert "Traceback" not in terminal.text()


def test_no_color_sends_none(shop: Recording) -> None:
    shop.end()
    with Terminal("open", str(shop.path), NO_COLOR="1") as terminal:
        terminal.wait_for("■ ")
        terminal.after("n\r", "ErrorResponse")
        terminal.after("\t", "list")
        terminal.after("2", "all ms")
        terminal.type("q")
        assert terminal.ended() == 0
        assert _COLOUR.findall(terminal.written.decode()) == []
    with Terminal("open", str(shop.path)) as terminal:
        terminal.wait_for("■ ")
        terminal.type("q")
        assert terminal.ended() == 0
        assert _COLOUR.findall(terminal.written.decode())


async def test_wide_and_combining_text_keeps_every_column(recording: Recording, drive: Drive) -> None:
    connection = recording.connect(user="Ünïcödé", database="日本語データベース", application_name="e\u0301" * 40)
    for sql in (
        "SELECT '漢字' || name FROM 顧客 WHERE 名前 = 'あ'",
        "SELECT 'e\u0301\u0323' FROM t" * 9,
        "SELECT '👩‍👩‍👧‍👦🇩🇪' FROM 👍",
        "한국어 " * 60,
    ):
        recording.trip(connection, query(sql), done("SELECT 1") + ready())
    recording.end()
    async with drive(recording, (60, 12)) as driven:
        for width in (60, 61, 79, 80, 111, 120, 163, 200, 250):
            await driven.resize(width, 30)
            for key in ("1", "enter", "escape", "2", "3", "6"):
                assert {cell_len(line) for line in await driven.press(key)} == {width}, (width, key)
        assert "日本語" in "\n".join(await driven.press("3"))


def test_what_is_remembered_is_private(shop: Recording, tmp_path: Path) -> None:
    """It is written when the screen ends, also by a hang-up, and the next one begins there."""
    shop.end()
    state = tmp_path / "state"
    with Terminal("open", str(shop.path), XDG_STATE_HOME=str(state)) as terminal:
        terminal.wait_for("■ ")
        terminal.after("5", "idle %")
        terminal.process.send_signal(signal.SIGHUP)
        assert terminal.process.wait(WITHIN_S) == -signal.SIGHUP
        assert terminal.attributes == terminal.before  # it was not the terminal that hung up
    (kept,) = (state / "pgtrace").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert b"shop" not in kept.read_bytes()
    with Terminal("open", str(shop.path), XDG_STATE_HOME=str(state)) as terminal:
        terminal.wait_for("idle %")
        terminal.type("q")
        assert terminal.ended() == 0
    assert os.listdir(state) == ["pgtrace"]
