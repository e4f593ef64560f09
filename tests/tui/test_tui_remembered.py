"""What the screen remembers: written privately, read with suspicion, and what the application makes of it."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.color import ColorType

from pgtrace.tui.app import PgTraceApp
from pgtrace.tui.model.definitions import DEFINITIONS
from pgtrace.tui.model.remembered import Remembered, place
from pgtrace.tui.model.theme import ANSI, DARK, LIGHT, MONO, THEMES, choose_palette
from pgtrace.tui.model.view import View
from pgtrace.tui.panes.connections import Connections
from pgtrace.tui.panes.drivers import Drivers
from pgtrace.tui.panes.statements import Statements
from pgtrace.tui.panes.transactions import Transactions
from tests.tui.driving import Drive, Driven, shown
from tests.wire_recording import PARSED, SYNC, Recording, parse, ready

ViewOf = Callable[..., View]


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({"XDG_STATE_HOME": "/state", "HOME": "/h"}, "/state/pgtrace/screen.json"),
        ({"HOME": "/h"}, "/h/.local/state/pgtrace/screen.json"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, "/h/.local/state/pgtrace/screen.json"),
        ({"XDG_STATE_HOME": "", "HOME": ""}, None),
        ({}, None),
    ],
)
def test_where_it_is_kept(environ: dict[str, str], path: str | None) -> None:
    assert place(environ) == (Path(path) if path else None)


def test_it_is_private_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "state" / "pgtrace" / "screen.json"
    one = Remembered(path)
    one.put("theme", "light")
    one.save()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["screen.json"]
    assert Remembered(path).get("theme", THEMES, "dark") == "light"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"theme": 3}', '{"theme": "\x1b[31m"}', "\xff\xfe", "null", '{"theme": "light"' + " " * 70_000 + "}"]
)
def test_what_cannot_be_read_is_as_if_it_were_not_there(tmp_path: Path, text: str) -> None:
    path = tmp_path / "screen.json"
    path.write_text(text, encoding="latin-1")
    assert Remembered(path).get("theme", THEMES, "dark") == "dark"


def test_what_cannot_be_written_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "pgtrace").write_text("a file where a directory should be")
    one = Remembered(tmp_path / "pgtrace" / "screen.json")
    one.put("theme", "light")
    one.save()
    assert one.get("theme", THEMES, "dark") == "light"


def test_nothing_is_written_where_nothing_changed(tmp_path: Path) -> None:
    path = tmp_path / "screen.json"
    path.write_text(json.dumps({"theme": "light"}))
    one = Remembered(path)
    path.unlink()
    one.put("theme", "light")
    one.save()
    assert not path.exists()


def test_what_was_chosen_goes_before_the_background_and_behind_no_color() -> None:
    assert choose_palette({"COLORFGBG": "0;15"}, "dark") is DARK
    assert choose_palette({}, "ansi") is ANSI
    assert choose_palette({"NO_COLOR": "1"}, "light") is MONO
    assert choose_palette({"TERM": "linux"}, "light") is ANSI
    assert choose_palette({}, "no such theme") is DARK


def grounds(driven: Driven) -> set[str]:
    """What the lines of the screen stand on."""
    found = set()
    for strip in driven.app.screen._compositor.render_strips():
        for segment in strip:
            color = segment.style.bgcolor if segment.style is not None else None
            found.add("default" if color is None or color.type is ColorType.DEFAULT else color.name)
    return found


async def test_T_changes_the_theme_of_everything(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        await driven.type("n", "enter")
        assert "#12161c" in grounds(driven)
        assert "theme light" in (await driven.press("T"))[-1]
        assert {ground for ground in grounds(driven) if ground.startswith("#")} <= {"#fbfaf7", "#dde8f6", "#f1f0ea", "#8a5a00"}
        await driven.type("2", "T")
        assert grounds(driven) == {"default"}
        assert "light" in (await driven.press("T"))[-1]
        assert grounds(driven) == {"default"}
        await driven.type("T")
        assert grounds(driven) <= {"#12161c", "#222c3a", "#181e26"}


async def test_without_colour_there_is_no_theme(shop: Recording, drive: Drive) -> None:
    async with drive(shop, palette=MONO) as driven:
        assert "T does nothing here" in (await driven.press("T"))[-1]
        assert driven.app.view.pen.palette is MONO


async def test_the_screen_is_as_it_was_left(shop: Recording, view_of: ViewOf, tmp_path: Path) -> None:
    path = tmp_path / "screen.json"
    app = PgTraceApp(view_of(shop), remembered=Remembered(path))
    async with shown(app) as driven:
        await driven.type("t", "t", "X", "d", "T", "5")
    assert set(json.loads(path.read_text()).values()) == {"transactions", "no", "above", app.view.listing.fold, "light"}
    remembered = Remembered(path)
    app = PgTraceApp(view_of(shop), remembered=remembered)
    async with shown(app) as driven:
        lines = await driven.lines()
        assert any("idle %" in line for line in lines)
        assert driven.app.focused is driven.areas.panes["transactions"]
        lines = await driven.press("1")
        assert lines[3].startswith(" 1 Timeline"), "no driver rows"
        assert lines[4].split()[0] == "above"
        assert app.view.listing.fold == "none" or "fold" in lines[3]
    assert LIGHT.name == remembered.get("theme", THEMES, "")


async def test_each_column_that_can_be_looked_at_is_defined(shop: Recording, drive: Drive) -> None:
    for name, pane in (("statements", Statements), ("connections", Connections), ("transactions", Transactions)):
        assert set(DEFINITIONS[name]) == set(pane.SORTS), f"{name}: tui/model/definitions.py defines each column"
    for variant in ("psycopg text", "psycopg pipeline"):
        shop.mark(variant)
        number = shop.connect("psycopg")
        shop.trip(number, parse("_pg3_0", "SELECT 1") + SYNC, PARSED + ready())
        shop.mark(variant, begin=False)
    shop.flush()
    async with drive(shop) as driven:
        await driven.type("4")
        drivers = driven.areas.panes["drivers"]
        assert isinstance(drivers, Drivers)
        titles = {entry.title for entry in drivers._entries if entry.cells and entry.title}
        assert set(DEFINITIONS["drivers"]) == titles, "tui/model/definitions.py defines each row"


async def test_the_help_defines_the_column_that_is_looked_at_and_shows_a_real_row(shop: Recording, drive: Drive) -> None:
    async with drive(shop, (120, 60)) as driven:
        await driven.type("n")
        text = "\n".join(await driven.press("question_mark"))
        assert "sent → back" in text
        assert "Bind Flush Execute Flush Sync → BindComplete DataRow×20 CommandComplete ReadyForQuery(T)" in text
        text = "\n".join(await driven.press("escape", "2", "s", "s", "question_mark"))
        assert " exec  statements run: an Execute, a statement of a simple Query, a FunctionCall" in text
        await driven.type("escape", "4")
        text = "\n".join(await driven.press(*"jjjj", "question_mark"))
        assert " round trips  how often the driver had to wait for the network, after set-up" in text
        text = "\n".join(await driven.press("escape", "6", "question_mark"))
        assert " exec  statements" not in text
