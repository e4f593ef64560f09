"""What a replay sends, and what it waits for: the two halves of one recording play each other, and servers that answer otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgtrace.protocol.codes import BACKEND
from pgtrace.replay.plan import Plan, is_playable
from pgtrace.replay.player import Player
from pgtrace.serve.replies import AwaitCancel
from tests.corpus import CAPTURES, NIGHTLY, name
from tests.playbook import wire, write
from tests.serve.served import Served, recording_of
from tests.serve.test_serve_corpus import start

EVER = 1 << 62


@pytest.mark.parametrize("path", CAPTURES[:: 1 if NIGHTLY else 2], ids=name)
def test_a_replay_against_its_own_recording_ends(path: Path) -> None:
    """Nothing is sent too early, and it never waits for what does not come."""
    served = Served(recording_of(path))
    for script in served.recording.scripts:
        if not is_playable(script):
            continue
        driver = served.socket()
        driver.session.receive(start(script))
        driver.read()
        player = Player(Plan(served.recording.store, script))
        turns = 0
        while not player.done:
            driver.session.receive(player.feed(b"", EVER))
            answer = driver.read()
            if driver.session.replies.outputs and isinstance(driver.session.replies.outputs[0], AwaitCancel):
                assert player.cancels
                player.cancels.clear()
                driver.session.cancelled()
                answer += driver.read()
            assert player.feed(answer) == b""
            turns += 1
            assert turns < 10_000, "it waits for what does not come"
        driver.session.disconnected()
    assert [mismatch.lines() for mismatch in served.mismatches] == []


def player_of(path: Path, script: str) -> Player:
    recording = recording_of(write(path / "recorded.pgtrace", script))
    return Player(Plan(recording.store, recording.scripts[0]))


def says(player: Player, line: str) -> bytes:
    return player.feed(wire(BACKEND, line) if "|" not in line else b"".join(wire(BACKEND, one.strip()) for one in line.split("|")))


def codes(data: bytes) -> str:
    """The messages in letters."""
    letters, at = "", 0
    while at < len(data):
        letters += chr(data[at])
        at += 1 + int.from_bytes(data[at + 1 : at + 5], "big")
    return letters


def test_it_waits_as_the_driver_did(tmp_path: Path) -> None:
    script = """
    F Parse s SELECT 1 | Describe S s | Flush
    B ParseComplete | ParameterDescription | NoData
    F Bind - s | Execute - | Sync
    B BindComplete | CommandComplete SELECT 1 | ReadyForQuery I
    F Bind - s | Execute - | Sync | Bind - s | Execute - | Sync
    B BindComplete | CommandComplete SELECT 1 | ReadyForQuery I | BindComplete | CommandComplete SELECT 1 | ReadyForQuery I
    F Terminate
    close F
    """
    player = player_of(tmp_path, script)
    assert codes(player.feed(b"", EVER)) == "PDH"
    assert player.feed(b"", EVER) == b""
    says(player, "ParseComplete | ParameterDescription")
    assert player.feed(b"", EVER) == b""
    says(player, "NoData")
    assert codes(player.feed(b"", EVER)) == "BES"
    says(player, "BindComplete | CommandComplete SELECT 1 | ReadyForQuery I")
    assert codes(player.feed(b"", EVER)) == "BESBES"
    says(player, "BindComplete | CommandComplete SELECT 1 | ReadyForQuery I")
    assert not player.done
    says(player, "BindComplete | CommandComplete SELECT 1 | ReadyForQuery I")
    assert player.done


def test_an_error_that_was_not_recorded_holds_up_nothing(tmp_path: Path) -> None:
    script = """
    F Parse s SELECT 1 | Flush
    B ParseComplete
    F Bind - s | Execute - | Flush
    B BindComplete | CommandComplete SELECT 1
    F Sync
    B ReadyForQuery I
    F Terminate
    close F
    """
    player = player_of(tmp_path, script)
    player.feed(b"", EVER)
    says(player, "ErrorResponse 42601 no")
    assert codes(player.feed(b"", EVER)) == "BEHS"
    says(player, "ReadyForQuery I")
    assert player.done


def test_a_copy_that_is_refused_gets_no_data(tmp_path: Path) -> None:
    script = """
    F Query COPY t FROM STDIN
    B CopyInResponse
    F CopyData a | CopyDone
    B CommandComplete COPY 1 | ReadyForQuery I
    F Query SELECT 1
    B CommandComplete SELECT 1 | ReadyForQuery I
    F Terminate
    close F
    """
    player = player_of(tmp_path, script)
    assert codes(player.feed(b"", EVER)) == "Q"
    says(player, "ErrorResponse 42P01 no table | ReadyForQuery I")
    assert codes(player.feed(b"", EVER)) == "Q"
    says(player, "CommandComplete SELECT 1 | ReadyForQuery I")
    assert player.done


def test_a_copy_by_execute_and_flush(tmp_path: Path) -> None:
    """CopyInResponse answers the Execute. If it is refused, ReadyForQuery comes with the Sync."""
    script = """
    F Parse - COPY t FROM STDIN | Bind - - | Flush
    B ParseComplete | BindComplete
    F Execute - | Flush
    B CopyInResponse
    F CopyData a | CopyDone | Sync
    B CommandComplete COPY 1 | ReadyForQuery I
    F Terminate
    close F
    """
    for refused in (False, True):
        (tmp_path / "recorded.pgtrace").unlink(missing_ok=True)
        player = player_of(tmp_path, script)
        player.feed(b"", EVER)
        says(player, "ParseComplete | BindComplete")
        assert codes(player.feed(b"", EVER)) == "EH"
        says(player, "ErrorResponse 42501 no" if refused else "CopyInResponse")
        assert codes(player.feed(b"", EVER)) == ("S" if refused else "dcS")
        says(player, "ReadyForQuery I")
        assert player.done


def test_a_copy_that_nobody_has_data_for_is_failed(tmp_path: Path) -> None:
    script = """
    F Query COPY t FROM STDIN
    B ErrorResponse 42P01 no table | ReadyForQuery I
    F Terminate
    close F
    """
    player = player_of(tmp_path, script)
    player.feed(b"", EVER)
    assert codes(says(player, "CopyInResponse")) == "f"
    says(player, "ErrorResponse 57014 not recorded | ReadyForQuery I")
    assert player.done


def test_rows_cut_anywhere_are_passed_over(tmp_path: Path) -> None:
    player = player_of(tmp_path, "F Query SELECT 1\nB DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I\nF Terminate\nclose F")
    player.feed(b"", EVER)
    answer = b"D" + (100_004).to_bytes(4, "big") + b"Z\0\0\0\5I" * 16_666 + bytes(4) + wire(BACKEND, "CommandComplete SELECT 1")
    for at in range(0, len(answer), 1001):
        player.feed(answer[at : at + 1001])
        assert not player.done
    for byte in b"Z\0\0\0\5I":
        player.feed(bytes([byte]))
    assert player.done


def test_a_clock_holds_back_what_comes_later(tmp_path: Path) -> None:
    script = """
    0  F Query SELECT 1
    1  B CommandComplete SELECT 1 | ReadyForQuery I
    50 F Query SELECT 2
    51 B CommandComplete SELECT 1 | ReadyForQuery I
    52 F Terminate
    52 close F
    """
    recording = recording_of(write(tmp_path / "recorded.pgtrace", script))
    player = Player(Plan(recording.store, recording.scripts[0]))
    begun = recording.scripts[0].steps[0].sent_ns
    assert codes(player.feed(b"", begun)) == "Q"
    says(player, "CommandComplete SELECT 1 | ReadyForQuery I")
    assert player.feed(b"", begun + 49_000_000) == b""
    assert codes(player.feed(b"", begun + 50_000_000)) == "Q"


def test_replication_and_refused_connections_are_left_out(tmp_path: Path) -> None:
    script = """
    c1 F StartupMessage user=app database=shop replication=database
    c1 B AuthenticationOk | ReadyForQuery I
    c2 F StartupMessage user=app database=nowhere
    c2 B ErrorResponse FATAL 3D000 no
    c3 F StartupMessage user=app database=shop
    c3 B AuthenticationOk | ReadyForQuery I
    c1 close F
    c2 close B
    c3 close F
    """
    recording = recording_of(write(tmp_path / "recorded.pgtrace", script))
    assert [is_playable(one) for one in recording.scripts] == [False, False, True]
