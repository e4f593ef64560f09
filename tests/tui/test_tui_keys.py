"""One table of keys: what is bound is in it, and what the help tells is bound."""

from __future__ import annotations

import re

import pytest
from textual.binding import Binding

from pgtrace.tui.app import PgTraceApp
from pgtrace.tui.model.keys import KEYS
from pgtrace.tui.panes.connections import Connections
from pgtrace.tui.panes.differences import Differences
from pgtrace.tui.panes.drivers import Drivers
from pgtrace.tui.panes.findings import Findings
from pgtrace.tui.panes.statements import Statements
from pgtrace.tui.panes.tabs import PANES
from pgtrace.tui.panes.timeline import Timeline
from pgtrace.tui.panes.transactions import Transactions
from pgtrace.tui.screen import MainScreen
from pgtrace.tui.widgets.base import ListWidget
from pgtrace.tui.widgets.help import Help
from pgtrace.tui.widgets.messages import Messages
from pgtrace.tui.widgets.table import TablePane
from tests.tui.driving import Drive, opened
from tests.wire_recording import Recording

OWNERS = {
    "app": PgTraceApp, "screen": MainScreen, "list": ListWidget, "table": TablePane, "timeline": Timeline, "messages": Messages,
    "drivers": Drivers, "connections": Connections, "transactions": Transactions, "statements": Statements, "findings": Findings,
    "differences": Differences,
}  # fmt: skip
_NAMES = {"esc": "escape", "+": "plus", "?": "question_mark", ":": "colon", "=": "equals_sign", "pgdn": "pagedown", "pgup": "pageup",
"↓": "down",
          "↑": "up", "←": "left", "→": "right",
          ">": "greater_than_sign", "<": "less_than_sign", ".": "full_stop", ",": "comma", "@": "at", "/": "slash",
          "\\": "backslash"}  # fmt: skip


def test_every_owner_binds_what_the_table_has_and_nothing_else() -> None:
    assert {key.owner for key in KEYS} == set(OWNERS)
    for owner, widget in OWNERS.items():
        own = widget.__dict__["BINDINGS"]
        assert [(one.key, one.action) for one in own if isinstance(one, Binding)] == [
            (key.keys, key.action) for key in KEYS if key.owner == owner
        ]


def test_no_key_means_two_things_to_one_owner() -> None:
    for owner in OWNERS:
        keys = [one for key in KEYS if key.owner == owner for one in key.keys.split(",")]
        assert len(keys) == len(set(keys)), owner


def test_what_the_help_names_is_bound() -> None:
    bound = {one for key in KEYS for one in key.keys.split(",")}
    for key in KEYS:
        for name in key.shown.replace("ctrl-", "ctrl+").split():
            single = _NAMES.get(name, name)
            assert name == "-" or single in bound or f"ctrl+{single}" in bound, key
        assert bool(key.shown) == bool(key.meaning) == (key.column in ("move", "look", "do")), key


def test_each_pane_has_its_key() -> None:
    assert [key.keys for key in KEYS if key.action.startswith("pane(")] == [pane.key for pane in PANES]
    first = next(key for key in KEYS if key.action.startswith("pane("))
    assert re.findall(r"\d", first.shown) == [PANES[0].key, PANES[-1].key]


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_the_help_lists_every_key(shop: Recording, drive: Drive, size: tuple[int, int]) -> None:
    async with drive(shop, size) as driven:
        await driven.type("question_mark")
        shown = driven.areas.help_screen
        assert isinstance(shown, Help)
        text = "\n".join(strip.text for strip in shown._text)
        for key in KEYS:
            keys, meaning = {"pane('1')": ("1 - 6", "pane"), "explain": ("E", "needs --explain-dsn")}.get(
                key.action, (key.shown, key.meaning)
            )
            assert re.search(rf"{re.escape(keys)} +{re.escape(meaning)}( |$)", text, re.M), key


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (120, 40)])
@pytest.mark.parametrize("explains", [False, True])
async def test_the_help_and_the_key_say_what_explain_needs(shop: Recording, drive: Drive, size: tuple[int, int], *, explains: bool) -> None:
    async with drive(shop, size, explain_dsn="host=nowhere.invalid" if explains else "") as driven:
        await driven.type("question_mark")
        text = "\n".join(strip.text for strip in driven.areas.help_screen._text)
        needs = re.search(r" E +needs --explain-dsn" if size[0] >= 80 else r" E +needs --expl", text)
        assert (re.search(r" E +EXPLAIN", text) is None, needs is None) == (not explains, explains)
        if not explains:
            assert (await driven.press("escape", "E"))[-1].startswith(" E needs --explain-dsn: ")


@pytest.mark.parametrize("captures", [1, 2])
async def test_the_help_names_the_panes_there_are(shop: Recording, captures: int) -> None:
    shop.end()
    other = shop.path.with_name("other.pgtrace")
    other.write_bytes(shop.path.read_bytes())
    async with opened([shop.path, other][:captures], (80, 24)) as driven:
        tabs = next(line for line in await driven.lines() if line.startswith(" 1 Time"))
        last = max(map(int, re.findall(r"(\d) [A-Z]", tabs)))
        assert last == 5 + captures
        text = "\n".join(await driven.press("question_mark"))
        assert re.findall(r"1 - (\d) +pane ", text) == [str(last)]


def test_each_key_alone_is_as_it_is_on_the_keyboard() -> None:
    own = {key.own for key in KEYS}
    assert {"j", "ctrl-d", "pgdn", "G", "esc", "?", "\\", "/", ">", "space", "tab", "+"} <= own
    assert not [one for one in own if "_" in one or one.startswith("ctrl+")]
    assert all(key.own in key.shown.split() for key in KEYS if key.shown and key.own not in ("1", "ctrl-d", "s"))
