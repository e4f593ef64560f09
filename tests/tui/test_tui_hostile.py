"""Text that means harm, in every pane, the inspector, the help, the details and the copy menu:
shown escaped, measured right, and nothing raises."""

from __future__ import annotations

import asyncio
import unicodedata
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.corpus import NIGHTLY
from tests.hostile import HARM, hostile
from tests.tui.driving import Driven, opened
from tests.wire_recording import Recording

SIZES = [(60, 12), (80, 24), (120, 40), (250, 70)]


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recording = Recording(tmp_path_factory.mktemp("hostile") / f"file{HARM.replace('/', '')}.pgtrace")
    hostile(recording)
    return recording.end()


async def safe(driven: Driven, *keys: str) -> str:
    """What is shown after the keys; nothing of it is anything a terminal would obey, and each line has its width."""
    lines = await driven.press(*keys)
    size = driven.app.size
    assert len(lines) == size.height, keys
    assert {cell_len(line) for line in lines} == {size.width}, keys
    text = "".join(lines)
    assert not {character for character in set(text) if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")}, keys
    return text


@pytest.mark.sampled(2)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_every_pane_and_every_item_of_it(captured: Path, size: tuple[int, int]) -> None:
    async with opened([captured], size) as driven:
        panes = driven.areas.panes
        for key, pane in zip("123456", panes, strict=False):
            await safe(driven, key, "g")
            seen = panes[pane].count()
            assert seen > 1, pane
            for _ in range(seen - 1):
                await safe(driven, "j")
            await safe(driven, "l", "l")
            await safe(driven, "h", "h", "question_mark")
            await safe(driven, "escape", "y")
            for offer in driven.areas.copy_menu.offers if driven.areas.copy_menu.display else ():
                assert "\x1b" not in offer.text()
                assert "\u202e" not in offer.text()
            await safe(driven, "escape")


@pytest.mark.sampled(2)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_two_captures_compared(captured: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    other = tmp_path / "\x1b[2J\u202eother.pgtrace"
    other.write_bytes(captured.read_bytes()[: captured.stat().st_size * 2 // 3])
    async with opened([captured, other], size) as driven:
        pane = driven.areas.differences
        await driven.lines()
        while pane.compared is None:
            driven.areas.advance(0.0)
            await asyncio.sleep(0.01)
            await driven.settle()
        await safe(driven, "7", "g")
        assert pane.differences
        for _ in range(pane.count() - 1):
            await safe(driven, "j")
        await safe(driven, "l", "n", "enter")
        await safe(driven, "escape", "7", "y")
        for offer in driven.areas.copy_menu.offers:
            assert not {"\x1b", "\u202e"} & set(offer.text())


@pytest.mark.sampled(2)
@pytest.mark.parametrize("odd", [False, True], ids=["even rows", "odd rows"])
@pytest.mark.parametrize("size", [(80, 24), (200, 60)] if NIGHTLY else [(80, 24)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_every_message_and_every_field(captured: Path, size: tuple[int, int], *, odd: bool) -> None:
    async with opened([captured], size) as driven:
        await safe(driven, "X", "g", "enter")
        main, fields = driven.main, 0
        for number in range(main.areas.timeline.count()):
            if number % 2 == odd:
                fields += await every_field(driven)
                await safe(driven, "r")
                await safe(driven, "escape", "R")
            main.areas.inspecting = True
            main.areas.timeline.action_move(1)
            main.areas.lay_out()
            await driven.settle()
        assert fields > 100


async def every_field(driven: Driven) -> int:
    """Look at each message of the row and its last field, of two messages one by its types and one as
    bytes, and the other way round when it is scrolled. How many fields they have."""
    main, inspector, found = driven.main, driven.areas.inspector, 0
    for _ in range(inspector.messages.count()):
        count = inspector.fields.count()
        found += count
        main.set_focus(inspector.fields)
        inspector.fields.go(count - 1)
        await safe(driven)
        await safe(driven, "u", "l")
        main.set_focus(inspector.messages)
        inspector.messages.action_move(1)
    return found


async def test_a_line_of_ten_megabytes_is_drawn_in_no_time(captured: Path) -> None:
    """Whatever its length, a text is looked at as far as it is seen."""
    async with opened([captured], (120, 40)) as driven:
        await driven.type("n", "n", "n", "n")
        place = next(place for place, one in enumerate(driven.app.view.trace.rows) if one.label.sql.startswith("SELECT 'xxxxxxxx"))
        driven.areas.timeline.go_to_place(place)
        await safe(driven, "enter", "tab", "j")
        for _ in range(30):
            await safe(driven, "l")
        field = driven.areas.inspector.fields.field
        assert field is not None
        assert field.value.startswith("SELECT 'xxxx")
        assert "9 738 " in driven.areas.inspector.fields.fields[-1].value
        assert driven.areas.inspector.fields.fields[-1].name == "cut"
