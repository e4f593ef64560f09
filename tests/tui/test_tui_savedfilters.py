"""Filters outlive the screen: the latest ones and those with a name, in a private file that is never in the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pgtrace.tui.app import PgTraceApp
from pgtrace.tui.model.remembered import LONGEST, Remembered
from pgtrace.tui.model.savedfilters import SavedFilters, parted
from pgtrace.tui.model.view import View
from tests.tui.driving import shown
from tests.tui.terminal import Terminal
from tests.wire_recording import Recording


def test_a_name_stands_behind_its_filter() -> None:
    assert parted("ms > 100 @slow") == ("ms > 100", "slow")
    assert parted(" @slow ") == ("", "slow")
    assert parted("sql:a@b") == ("sql:a@b", "")
    assert parted('"x @slow"') == ('"x @slow"', "")
    assert parted("@slow error") == ("@slow error", "")
    assert parted("") == ("", "")


def test_the_latest_come_first_and_all_fit(tmp_path: Path) -> None:
    path = tmp_path / "filters.json"
    filters = SavedFilters(Remembered(path))
    for number in range(200):
        filters.note(f"rt:{number} " + '\udcff"界' * 100)
    filters.note("error")
    filters.note("rt:1")
    filters.note("error")
    filters.note("x" * 2000)
    assert filters.save("slow", "ms > 100") == ""
    assert filters.save("slow", "ms > 200") == ""
    refused = [filters.save(f"n{number}", "x" * 1000) for number in range(100)]
    assert refused[0] == ""
    assert "no room" in refused[-1]
    assert path.stat().st_size <= LONGEST
    assert path.stat().st_mode & 0o777 == 0o600
    again = SavedFilters(Remembered(path))
    assert again.history == filters.history
    assert again.history[-2:] == ["rt:1", "error"]
    assert again.named == filters.named
    assert again.named["slow"] == "ms > 200"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 50_000,
        b'{"history": 7}',
        b'{"history": "[[[["}',
        b'{"history": "{}"}',
        b'{"history": "[7, null]"}',
        b"\xff",
    ],
    ids=range(9),
)
def test_a_damaged_file_is_an_empty_one(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "filters.json"
    path.write_bytes(data)
    filters = SavedFilters(Remembered(path))
    assert filters.history == []
    assert filters.named == {}
    filters.note("error")
    assert SavedFilters(Remembered(path)).history == ["error"]


async def test_a_filter_is_named_and_recalled(shop: Recording, view_of: Callable[..., View], tmp_path: Path) -> None:
    path = tmp_path / "state" / "filters.json"
    for first in (True, False):
        app = PgTraceApp(view_of(shop), filters=Remembered(path))
        async with shown(app) as driven:
            filtering = app.view.listing.filtering
            if first:
                await driven.type("slash", *"error", "space", "@", *"bad")
                assert "this filter is now @bad" in (await driven.press("enter"))[-1]
                assert filtering.text == "error"
                assert (await driven.press("slash"))[-1].startswith(" / error ")
                continue
            lines = await driven.press("slash", "@")
            assert lines[-5].split() == ["error", "@bad"]
            await driven.type("tab", "enter")
            assert filtering.text == "error"
            await driven.type("escape", "slash", "up")
            assert (await driven.lines())[-1].startswith(" / error ")
            await driven.type("ctrl+u", *"@bad", "enter")
            assert filtering.text == "error"
            lines = await driven.press("slash", "ctrl+u", *"@good", "enter")
            assert "there is no filter @good yet" in lines[-2]


async def test_what_is_in_the_file_is_only_text(shop: Recording, view_of: Callable[..., View], tmp_path: Path) -> None:
    path = tmp_path / "filters.json"
    hostile = "\x1b]0;x\x07\x9b31m\u202e[bold]"
    path.write_text(json.dumps({"history": json.dumps([hostile]), "@evil": hostile, "@no name": "error", "@" + hostile: "error"}))
    app = PgTraceApp(view_of(shop), filters=Remembered(path))
    async with shown(app, (80, 24)) as driven:
        for keys in (("slash", "@"), ("tab",), ("ctrl+u", "up"), ("enter",)):
            text = "".join(await driven.press(*keys))
            assert not any(one in text for one in "\x1b\x07\x9b\u202e"), keys
        assert r"\x1b]0;x" in text
        assert list(app.main.narrowing.filters.named) == ["evil"]


def test_a_journey_on_a_terminal(shop: Recording, tmp_path: Path) -> None:
    """Type, keep, edit, leave; the next time the filter is the latest of the history."""
    path = shop.end()
    state = tmp_path / "state"
    with Terminal("open", str(path), XDG_STATE_HOME=str(state)) as terminal:
        terminal.wait_for("fold set-up")
        terminal.after("/conn:2", "6 of ")
        terminal.after(" dept", "dept")
        terminal.after("\x17\r", "filtered")
        terminal.after("\x1b", "fold set-up")
        terminal.type("q")
        assert terminal.ended() == 0
    assert (state / "pgtrace" / "filters.json").stat().st_mode & 0o777 == 0o600
    with Terminal("open", str(path), XDG_STATE_HOME=str(state)) as terminal:
        terminal.wait_for("fold set-up")
        terminal.after("/\x1b[A", "conn:2")
        terminal.after("\r", "6 of ")
        terminal.type("q")
        assert terminal.ended() == 0
