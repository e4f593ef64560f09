"""A line that is typed: what the keys do to it, what it offers, what it says is wrong, and that it is drawn within its width whatever is in it."""

from __future__ import annotations

import pytest
from driving import Drive, Driven
from rich.cells import cell_len
from textual import events
from wire_recording import Recording

from pgtrace.tui.entry import EDITING, LONGEST, Entry
from pgtrace.tui.prompt import Asking, Choice, Choices, Fault
from pgtrace.tui.theme import MONO


def edited(text: str, *keys: str, cursor: int | None = None) -> tuple[str, int]:
    entry = Entry()
    entry.set(text, cursor)
    for key in keys:
        EDITING[key](entry)
    return entry.text, entry.cursor


def test_keys_edit_as_in_a_shell() -> None:
    assert edited("ab", "left") == ("ab", 1)
    assert edited("ab", "left", "left", "left", "right") == ("ab", 1)
    assert edited("ab", "right", "ctrl+b", "ctrl+f") == ("ab", 2)
    assert edited("abc", "ctrl+a") == ("abc", 0) == edited("abc", "home")
    assert edited("abc", "home", "end") == ("abc", 3) == edited("abc", "home", "ctrl+e")
    assert edited("abc", "backspace") == ("ab", 2)
    assert edited("abc", "home", "backspace") == ("abc", 0)
    assert edited("abc", "home", "delete", "ctrl+d") == ("c", 0)
    assert edited("abc", "delete") == ("abc", 3)
    assert edited("one two  ", "ctrl+w") == ("one ", 4)
    assert edited("one two", "ctrl+w", "ctrl+w", "ctrl+w") == ("", 0)
    assert edited("one two", "ctrl+u", cursor=4) == ("two", 0)
    assert edited("one two", "ctrl+k", cursor=3) == ("one", 3)
    assert edited("one two", "ctrl+left", "ctrl+left") == ("one two", 0)
    assert edited("one two", "ctrl+right", "ctrl+right", cursor=0) == ("one two", 7)


def test_what_is_seen_as_one_character_is_one() -> None:
    accented, wide = "e\u0301", "界"
    assert edited(accented + wide, "left") == (accented + wide, 2)
    assert edited(accented + wide, "left", "left") == (accented + wide, 0)
    assert edited(accented + wide, "home", "right") == (accented + wide, 2)
    assert edited(accented + wide, "left", "backspace") == (wide, 0)
    assert edited(accented + wide, "home", "delete") == (wide, 0)


def test_nothing_that_a_terminal_obeys_can_be_typed() -> None:
    entry = Entry("ad")
    entry.cursor = 1
    entry.insert("b\n\tc\x1b]52;\x9b\u202e\u200b\udcff")
    assert entry.text == "ab  c]52;d"
    assert entry.cursor == len(entry.text) - 1
    entry.insert("x" * LONGEST)
    assert len(entry.text) == LONGEST


class Colour(Asking):
    """A question with words to choose from; `?` is wrong in an answer."""

    label = "colour"
    history = ("brown", "black")

    def __init__(self, room: int = 0) -> None:
        self.room = room
        self.told: list[str] = []

    def changed(self, text: str, cursor: int) -> None:
        self.told.append(text)

    def choices(self, text: str, cursor: int) -> Choices:
        start = text.rfind(" ", 0, cursor) + 1
        known = [Choice("light-", "more", opens=True), Choice("red", "3"), Choice("rose", "1"), Choice("ruby", "\x1b[31m")]
        return Choices(start, [one for one in known if one.text.startswith(text[start:cursor]) and one.text != text[start:cursor]])

    def accepted(self, text: str) -> Fault | None:
        at = text.find("?")
        if at >= 0:
            return Fault(at, at + 1, "no colour has a question mark")
        self.told.append(f"took {text}")
        return None

    def dismissed(self) -> None:
        self.told.append("nothing")


async def asked(driven: Driven, room: int = 0, text: str = "") -> Colour:
    asking = Colour(room)
    driven.main.ask(asking, text)
    await driven.settle()
    return asking


async def typed(driven: Driven, text: str) -> list[str]:
    return await driven.press(*("space" if one == " " else one for one in text))


def at_cursor(driven: Driven, role: str = "caret") -> str:
    style = driven.app.view.pen.style(role)
    return "".join(segment.text for segment in driven.app.screen._compositor.render_strips()[-1] if segment.style == style)


async def test_it_takes_the_footers_place_and_every_key(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        before = await driven.lines()
        asking = await asked(driven)
        lines = await typed(driven, "q2 n?")
        assert lines[-1].startswith(" colour q2 n? ")
        assert lines[-1].rstrip().endswith("enter done  esc back")
        assert lines[:-1] == before[:-1]
        assert asking.told == ["q", "q2", "q2 ", "q2 n", "q2 n?"]
        assert at_cursor(driven) == " "
        await driven.press("left")
        assert at_cursor(driven) == "?"
        assert await driven.press("escape") == before
        assert asking.told[-1] == "nothing"
        assert driven.app.focused is driven.main.timeline


async def test_keys_typed_ahead_go_where_they_belong(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        asking = await asked(driven)
        for key in ("r", "e", "d", "enter", "j"):
            driven.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await driven.settle()
        assert asking.told[-1] == "took red"
        assert driven.main.prompt.asking is None
        assert driven.main.timeline.cursor == 1


async def test_what_is_wrong_is_underlined_and_said(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        asking = await asked(driven)
        lines = await typed(driven, "a?b")
        assert at_cursor(driven, "wrong") == ""
        lines = await driven.press("enter")
        assert lines[-1].rstrip() == " colour a?b   no colour has a question mark"
        assert at_cursor(driven, "wrong") == "?"
        assert not asking.told[-1].startswith("took")
        await driven.press("left", "backspace")
        assert at_cursor(driven, "wrong") == ""
        await driven.press("enter")
        assert asking.told[-1] == "took ab"


async def test_choices_stand_above_and_tab_puts_them_in(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        before = await driven.lines()
        await asked(driven, room=4)
        lines = await typed(driven, "x r")
        assert [line.rstrip() for line in lines[-5:]] == [
            "   red           3", "   rose          1", r"   ruby          \x1b[31m", "", lines[-1].rstrip(),
        ]  # fmt: skip
        assert lines[:20] == before[:20]
        for shown in ("x red", "x rose", "x ruby", "x red"):
            assert (await driven.press("tab"))[-1].startswith(f" colour {shown}  ")
        assert (await driven.press("shift+tab"))[-1].startswith(" colour x ruby  ")
        lines = await typed(driven, " r")
        assert lines[-1].startswith(" colour x ruby r  ")
        assert (await driven.press("ctrl+n", "tab"))[-1].startswith(" colour x ruby rose  ")
        await driven.press("ctrl+u")
        await typed(driven, "l")
        lines = await driven.press("tab")
        assert lines[-1].startswith(" colour light-  ")
        assert lines[-5].strip() == ""
        await driven.press("escape")
        assert await driven.lines() == before


async def test_more_choices_than_lines_are_counted_and_reached(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        await asked(driven, room=2)
        lines = await driven.lines()
        assert lines[-2].startswith("   red ")
        assert lines[-2].rstrip().endswith("+ 2 more")
        lines = await driven.press("ctrl+p")
        assert lines[-2].startswith("   ruby ")
        await driven.pilot.click("#prompt", offset=(4, 0))
        assert (await driven.lines())[-1].startswith(" colour rose ")


async def test_history_comes_back_to_what_was_being_typed(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        asking = await asked(driven, text="gre")
        for key, shown in (("up", "black"), ("up", "brown"), ("up", "brown"), ("down", "black"), ("down", "gre"), ("down", "gre")):
            assert (await driven.press(key))[-1].startswith(f" colour {shown}  "), key
        assert asking.told == ["black", "brown", "black", "gre"]
        await driven.press("up", "backspace", "down")
        assert (await driven.lines())[-1].startswith(" colour blac  ")


async def test_paste_and_clicks(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        driven.app.post_message(events.Paste("j"))
        await driven.settle()
        assert driven.main.timeline.cursor == 0
        asking = await asked(driven)
        driven.app.post_message(events.Paste("two\nlines\x1b[2J"))
        await driven.lines()
        assert asking.told == ["two lines[2J"]
        await driven.pilot.click("#prompt", offset=(len(" colour tw"), 0))
        await driven.lines()
        assert at_cursor(driven) == "o"
        await driven.pilot.click("#timeline", button=3)
        await driven.settle()
        assert asking.told[-1] == "nothing"
        assert driven.main.footer.display


@pytest.mark.parametrize("size", [(60, 12), (80, 24), (120, 40)])
@pytest.mark.parametrize("ascii_only", [False, True])
async def test_any_text_fills_its_line_and_the_cursor_is_in_sight(
    shop: Recording, drive: Drive, size: tuple[int, int], ascii_only: bool
) -> None:
    """A long text scrolls as little as it has to, wide and combining characters are never split."""
    async with drive(shop, size, palette=MONO, ascii_only=ascii_only) as driven:
        await asked(driven, room=4, text="a界e\u0301\x1b" * 40)
        for keys in (["left"] * 3, ["home"], ["right"] * 60, ["end"], ["backspace"] * 70, ["a"], ["enter"], ["?"], ["enter"]):
            lines = await driven.press(*keys)
            assert len(lines) == size[1]
            assert {cell_len(line) for line in lines} == {size[0]}
            if driven.main.prompt.asking is not None:
                assert at_cursor(driven), keys
                assert "\x1b" not in "".join(lines)
                assert not ascii_only or "".join(lines).isascii()
