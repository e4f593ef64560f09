"""Whatever is open, the screen is filled exactly, and each cell is on a ground of the palette: the terminal's own colour shows nowhere."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from rich.style import Style
from textual.strip import Strip

from pgtrace.tui.model.theme import LIGHT, ROLES
from tests.tui.driving import Drive
from tests.wire_recording import Recording

WALK = tuple(
    tuple(keys.split())
    for keys in (
        "", "n", "enter", "tab", "j j", "u", "escape escape", "k k k enter", "tab G", "escape escape", "w", "w", "X X",
        "2", "s", "S", "j", "3", "4", "l", "a", "5", "6", "1", "question_mark", "escape", "/ c o n n : 2 space d", "escape",
        "/ u s e r s enter", "\\", "escape", "= j =", "escape", "y", "escape", "e", "escape", ":", "escape",
        "home", "X", "l", "c enter",
    )
)  # fmt: skip
"""Keys that lead to every area of the screen."""


def unpainted(strips: list[Strip], grounds: set[object]) -> list[tuple[int, str]]:
    """Lines and texts whose ground is none of the palette's."""
    return [(y, part.text) for y, strip in enumerate(strips) for part in strip if part.style is None or part.style.bgcolor not in grounds]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("size", [(60, 12), (80, 24), (100, 30), (120, 40), (200, 60), (260, 70)])
async def test_nothing_of_the_screen_is_left_to_the_terminal(shop: Recording, drive: Drive, size: tuple[int, int]) -> None:
    shop.end()
    grounds = {Style.parse(ground).bgcolor for ground in LIGHT.grounds.values()}
    grounds |= {style.bgcolor for style in (Style.parse(LIGHT.roles[role]) for role in ROLES) if style.bgcolor is not None}
    async with drive(shop, size, palette=LIGHT) as driven:
        for keys in WALK:
            await driven.type(*keys)
            strips = driven.app.screen._compositor.render_strips()
            lines = [strip.text for strip in strips]
            assert len(lines) == size[1], keys
            assert {cell_len(line) for line in lines} == {size[0]}, keys
            assert "pgtrace" in lines[0], keys
            assert lines[-1].strip(), keys
            assert unpainted(strips, grounds) == [], keys
