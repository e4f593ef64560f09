"""A line that is typed: what the keys do to it, what it offers, what it says is wrong, and that it
is drawn within its width whatever is in it."""

from __future__ import annotations

import random
from itertools import product
from pathlib import Path
from typing import Final

import pytest
from rich.cells import cell_len
from textual import events

from pgtrace.tui.model.asking import LONGEST, Asking, Choice, Choices, Fault
from pgtrace.tui.model.theme import MONO
from pgtrace.tui.widgets.entry import EDITING, characters
from tests.corpus import NIGHTLY
from tests.tui.driving import Drive, Driven
from tests.tui.multiplexer import THERE, Multiplexer
from tests.wire_recording import Recording


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
    driven.areas.ask(asking, text)
    await driven.settle()
    return asking


async def typed(driven: Driven, text: str) -> list[str]:
    return await driven.press(*("space" if one == " " else one for one in text))


def at_cursor(driven: Driven, role: str = "caret") -> str:
    style = driven.app.view.pen.on("background")[role]
    return "".join(segment.text for segment in driven.app.screen._compositor.render_strips()[-1] if segment.style == style)


TERMINALS: Final = [*product([(60, 12), (80, 24), (120, 40)], [False, True])]
"""Sizes, and whether only ASCII can be shown: the first and the last have both of both."""
EDITED: Final = [
    ("ab", ("left",), "a|b"),
    ("ab", ("left", "left", "left", "right"), "a|b"),
    ("ab", ("right", "ctrl+b", "ctrl+f"), "ab|"),
    ("abc", ("ctrl+a",), "|abc"),
    ("abc", ("home",), "|abc"),
    ("abc", ("home", "end"), "abc|"),
    ("abc", ("home", "ctrl+e"), "abc|"),
    ("abc", ("backspace",), "ab|"),
    ("abc", ("home", "backspace"), "|abc"),
    ("abc", ("home", "delete", "ctrl+d"), "|c"),
    ("abc", ("delete",), "abc|"),
    ("one two  ", ("ctrl+w",), "one |"),
    ("ms > 10", ("ctrl+w",), "ms > |"),
    ("ms > 10", ("ctrl+w", "ctrl+w"), "ms |"),
    ("driver:a-b", ("ctrl+w",), "|"),
    ("one two", ("ctrl+w", "ctrl+w", "ctrl+w"), "|"),
    ("one two", (*["left"] * 3, "ctrl+u"), "|two"),
    ("one two", (*["left"] * 4, "ctrl+k"), "one|"),
    ("one two", ("ctrl+left", "ctrl+left"), "|one two"),
    ("one two", ("home", "ctrl+right"), "one |two"),
    ("one two", ("home", "ctrl+right", "ctrl+right"), "one two|"),
    ("abc", ("shift+left", "shift+left", "x"), "ax|"),
    ("abc", ("shift+home", "delete"), "|"),
    # What is seen as one character is one: a letter with its accent, a wide one.
    ("e\u0301界", ("left",), "e\u0301|界"),
    ("e\u0301界", ("left", "left"), "|e\u0301界"),
    ("e\u0301界", ("home", "right"), "e\u0301|界"),
    ("e\u0301界", ("left", "backspace"), "|界"),
    ("e\u0301界", ("home", "delete"), "|界"),
    ("e\u0301界", ("home", "shift+right", "delete"), "|界"),
    ("界界 e\u0301e\u0301", ("ctrl+w",), "界界 |"),
]
"""A text, keys, and what is left of it, with the cursor."""


async def test_keys_edit_as_in_a_shell(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        for text, keys, left in EDITED:
            await asked(driven, text=text)
            await driven.type(*keys)
            prompt = driven.areas.prompt
            assert (text, keys, prompt.value[: prompt.cursor_position] + "|" + prompt.value[prompt.cursor_position :]) == (text, keys, left)
            await driven.type("escape")


async def test_every_key_of_the_library_leaves_a_text_that_can_be_shown(shop: Recording, drive: Drive) -> None:
    """Whatever is pressed in whatever order, the cursor is between two characters as they are seen,
    and what is not a key of the line stays one of ours."""
    made = random.Random(14)
    pressed = [*sorted({*EDITING} - {"enter"}), "a", "界", "\u0301", "space"]
    async with drive(shop) as driven:
        asking = await asked(driven, text="one e\u0301界\U0001f468\u200d\U0001f469 two")
        for _ in range(60):
            await driven.type(*made.choices(pressed, k=5))
            prompt = driven.areas.prompt
            edges = {0, len(prompt.value), *(start for start, _ in characters(prompt.value))}
            assert set(prompt.selection) <= edges, (prompt.value, prompt.selection)
            assert driven.areas.prompt.asking is asking
            assert at_cursor(driven)


async def test_nothing_that_a_terminal_obeys_can_be_typed(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        await asked(driven, text="ad")
        await driven.type("left")
        prompt = driven.areas.prompt
        prompt.paste("b\n\tc\x1b]52;\x9b\u202e\u200b\udcff")
        assert prompt.value == "ab  c]52;d"
        assert prompt.cursor_position == len(prompt.value) - 1
        driven.app.copy_to_clipboard("\x1b[2Jx")
        await driven.type("ctrl+v")
        assert prompt.value == "ab  c]52;[2Jxd"
        prompt.paste("x" * LONGEST)
        assert len(prompt.value) == LONGEST


async def test_the_terminals_own_cursor_is_where_one_types(shop: Recording, drive: Drive) -> None:
    """An input method opens its window there."""
    async with drive(shop, (80, 24)) as driven:
        await asked(driven, room=4, text="界b")
        await driven.lines()
        assert driven.app.cursor_position == (len(" colour 界b") + 1, 23)
        await driven.type("left")
        assert driven.app.cursor_position == (len(" colour 界") + 1, 23)


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
        await driven.type("left")
        assert at_cursor(driven) == "?"
        assert await driven.press("escape") == before
        assert asking.told[-1] == "nothing"
        assert driven.app.focused is driven.areas.timeline


async def test_keys_typed_ahead_go_where_they_belong(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        asking = await asked(driven)
        for key in ("r", "e", "d", "enter", "j"):
            driven.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await driven.settle()
        assert asking.told[-1] == "took red"
        assert driven.areas.prompt.asking is None
        assert driven.areas.timeline.cursor == 1


async def test_what_is_wrong_is_underlined_and_said(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        asking = await asked(driven)
        lines = await typed(driven, "a?b")
        assert at_cursor(driven, "wrong") == ""
        lines = await driven.press("enter")
        assert lines[-1].rstrip() == " colour a?b   no colour has a question mark"
        assert at_cursor(driven, "wrong") == "?"
        assert not asking.told[-1].startswith("took")
        await driven.type("left", "backspace")
        assert at_cursor(driven, "wrong") == ""
        await driven.type("enter")
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
        await driven.type("ctrl+u")
        await typed(driven, "l")
        lines = await driven.press("tab")
        assert lines[-1].startswith(" colour light-  ")
        assert lines[-5].strip() == ""
        await driven.type("escape")
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


REACHED: Final = [
    (("down",), "rose"),
    (("down", "down"), "ruby"),
    (("down", "down", "down", "down"), "ruby"),
    (("down", "down", "up"), "rose"),
    (("down", "up"), "red"),
    (("pagedown",), "ruby"),
    (("pagedown", "pageup"), "red"),
    (("ctrl+n",), "rose"),
    (("ctrl+p",), "ruby"),
    (("tab", "down"), "rose"),
    (("tab", "down", "down", "tab"), "ruby"),
    (("tab", "tab", "up"), "red"),
    (("up", "down", "down"), "rose"),
]
"""Keys after `r`, and the choice that `enter` then takes."""


@pytest.mark.parametrize(("keys", "taken"), REACHED)
async def test_the_cursor_of_the_list_is_moved_and_enter_takes_it(shop: Recording, drive: Drive, keys: tuple[str, ...], taken: str) -> None:
    async with drive(shop) as driven:
        asking = await asked(driven, room=2)
        await typed(driven, "x r")
        lines = await driven.press(*keys)
        assert any(line.startswith(f"   {taken} ") for line in lines[-3:-1])
        await driven.type("enter")
        assert asking.told[-1] == f"took x {taken}"
        assert driven.areas.prompt.asking is None


async def test_enter_stays_where_more_is_typed_and_takes_nothing_that_was_not_marked(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        asking = await asked(driven, room=2)
        lines = await driven.press("down", "up", "enter")
        assert lines[-1].startswith(" colour light-  ")
        assert driven.areas.prompt.asking is asking
        await driven.type("ctrl+u", "r", "down", "o", "enter")
        assert asking.told[-1] == "took ro"


async def test_where_no_list_is_in_sight_arrows_are_for_the_history(shop: Recording, drive: Drive) -> None:
    """And at the first of a list, `up` is; the way back comes first on the way down."""
    async with drive(shop) as driven:
        asking = await asked(driven, text="r")
        await driven.type("down", "pagedown", "enter")
        assert asking.told[-1] == "took r"
        await asked(driven, room=2, text="r")
        for keys, value in ((("down", "up", "up"), "black"), (("up",), "brown"), (("down", "down"), "r"), (("down",), "r")):
            await driven.type(*keys)
            assert driven.areas.prompt.value == value, keys


async def test_a_marked_choice_stays_marked_when_others_come(shop: Recording, drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    """The values of a capture that grows are offered again, in another order."""
    async with drive(shop) as driven:
        asking = await asked(driven, room=2)
        await driven.type("r", "down")
        for offered, taken in ((["ruby", "red", "rose"], "rose"), (["red"], "r")):
            monkeypatch.setattr(asking, "choices", lambda *_, offered=offered: Choices(0, [Choice(one) for one in offered]))
            driven.areas.prompt.refresh_choices()
            prompt = driven.areas.prompt
            assert (prompt._shown[prompt._marked].text if prompt._chosen else prompt.value) == taken


async def test_the_wheel_moves_the_cursor_of_the_list(shop: Recording, drive: Drive) -> None:
    async with drive(shop, (80, 24)) as driven:
        asking = await asked(driven, room=2)
        for kind in (events.MouseScrollDown, events.MouseScrollDown, events.MouseScrollDown, events.MouseScrollUp):
            prompt = driven.areas.prompt
            prompt.post_message(kind(prompt, 4, 0, 0, 0, 0, shift=False, meta=False, ctrl=False))
            await driven.settle()
        await driven.type("enter")
        assert asking.told[-1] == "took rose"


@pytest.mark.parametrize("key", ["slash", "colon"])
@pytest.mark.parametrize("size", [(60, 12), (80, 24), (120, 40)])
async def test_every_entry_of_a_list_can_be_reached(shop: Recording, drive: Drive, key: str, size: tuple[int, int]) -> None:
    """What `:` and `/` show: every entry comes in sight, and nothing is left below the last. Arrows typed ahead count."""
    async with drive(shop, size) as driven:
        lines = await driven.press(key)
        prompt = driven.areas.prompt
        wanted = [choice.text.strip() for choice in prompt._shown]
        room = prompt.room(size[1])
        assert len(wanted) > room
        assert lines[-2].rstrip().endswith(f"+ {len(wanted) - room} more")
        seen = [line.split()[0] for line in lines[-1 - room : -1]]
        for _ in range(len(wanted)):
            lines = await driven.press("down")
            seen += [word for word in (line.split()[0] for line in lines[-1 - room : -1]) if word not in seen]
        assert seen == [text.split()[0] for text in wanted]
        assert "more" not in lines[-2][-10:]
        paged = await driven.press(*["pageup"] * len(wanted))
        assert paged[-1 - room].split()[0] == seen[0]
        assert await driven.press(*["pagedown"] * len(wanted)) == lines
        await driven.type("escape")
        for ahead in (key, "down", "pagedown", "up"):
            driven.app.post_message(events.Key(ahead, {"slash": "/", "colon": ":"}.get(ahead)))
        await driven.settle()
        assert prompt._marked == room


async def test_history_comes_back_to_what_was_being_typed(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        asking = await asked(driven, text="gre")
        for key, shown in (("up", "black"), ("up", "brown"), ("up", "brown"), ("down", "black"), ("down", "gre"), ("down", "gre")):
            assert (await driven.press(key))[-1].startswith(f" colour {shown}  "), key
        assert asking.told == ["black", "brown", "black", "gre"]
        await driven.type("up", "backspace", "down")
        assert (await driven.lines())[-1].startswith(" colour blac  ")


async def test_paste_and_clicks(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        driven.app.post_message(events.Paste("j"))
        await driven.settle()
        assert driven.areas.timeline.cursor == 0
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
        assert driven.areas.footer.display


@pytest.mark.parametrize(("size", "ascii_only"), TERMINALS if NIGHTLY else TERMINALS[::5])
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
            if driven.areas.prompt.asking is not None:
                assert at_cursor(driven), keys
                assert "\x1b" not in "".join(lines)
                assert not ascii_only or "".join(lines).isascii()


@pytest.mark.skipif(not THERE, reason="needs tmux")
def test_in_tmux(shop: Recording, tmp_path: Path) -> None:
    """The keys as a real terminal sends them: editing, completion, history, what is wrong, and the step back."""
    shop.end()
    with Multiplexer(tmp_path, "open", str(shop.path), size=(80, 24)) as window:

        def typed_line(*keys: str, shows: str) -> list[str]:
            window.press(*keys)
            return window.wait_for_last(f" / {shows}  ")

        window.wait_for("1 Time")
        typed_line("/", *"dept", "Space", *">1", "C-w", "C-w", "C-w", shows="")
        typed_line(*"onn:9", "C-a", "c", "C-e", "BSpace", "2", shows="conn:2")
        typed_line("C-Left", "Right", "C-f", "C-b", "C-d", "C-k", "C-u", *"conn:2", shows="conn:2")
        typed_line("Space", *"dept>1", shows="conn:2 dept>1")
        window.press("Enter")
        window.wait_for("unknown filter word 'dept'")
        typed_line("C-w", *"dr", "Tab", "Tab", shows="conn:2 driver:asyncpg")
        typed_line("C-w", shows="conn:2")
        window.press("Enter")
        window.wait_for("y copy")
        window.press("Escape")
        window.wait_for("fold set-up")
        typed_line("/", "Up", shows="conn:2")
        typed_line("Down", shows="")
        typed_line("Down", "Down", "Up", "Enter", shows="conn:")
        window.press("Down", "Enter")
        window.wait_for("y copy")
        window.wait_for("/ conn:3")
        window.press("Escape")
        window.wait_for("y copy")
        window.press("q")
        assert window.ended() == 0
