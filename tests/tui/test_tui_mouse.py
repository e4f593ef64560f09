"""The mouse does what keys do."""

from __future__ import annotations

from textual import events

from tests.tui.driving import Drive, Driven
from tests.wire_recording import Recording


async def wheel(driven: Driven, kind: type[events.MouseEvent], *, shift: bool = False) -> None:
    timeline = driven.areas.timeline
    timeline.post_message(kind(timeline, 30, 5, 0, 0, 0, shift, False, False, 30, 12))
    await driven.settle()


async def test_a_click_selects_and_a_double_click_inspects(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        await driven.pilot.click("#timeline", offset=(30, 5))
        assert driven.areas.timeline.cursor == 4
        await driven.pilot.click("#timeline", offset=(30, 5), times=2)
        assert driven.areas.inspecting
        await driven.pilot.click("#tabs", offset=(52, 0))
        assert driven.areas.pane == "drivers"


async def test_a_click_on_a_connection_shows_it_alone(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        assert driven.areas.timeline._columns(120)[2].name == "cn"
        await driven.pilot.click("#timeline", offset=(11, 6))
        assert "/ conn:1  " in (await driven.lines())[6]
        await driven.pilot.click("#timeline", offset=(12, 2))
        assert driven.app.view.listing.filtering.everything


async def test_a_click_on_a_mark_is_a_click_on_a_row(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        row = next(number for number, line in enumerate(await driven.lines()) if "── test_profile ─" in line) - 7
        await driven.pilot.click("#timeline", offset=(11, row))
        assert driven.app.view.listing.filtering.everything
        assert driven.areas.timeline.cursor == row - 1


async def test_a_click_on_a_fold_unfolds_it(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        column = next(column.start for column in driven.areas.timeline._columns(120) if column.name == "flight")
        assert (await driven.lines())[8][column] == "▸"
        await driven.pilot.click("#timeline", offset=(column, 1))
        assert "▸" not in (await driven.lines())[8]
        assert driven.areas.timeline.cursor == 0


async def test_the_right_button_is_one_step_back(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        await driven.type("j", "enter")
        cursor = driven.areas.timeline.cursor
        await driven.pilot.click("#timeline", offset=(30, 5), button=3)
        assert not driven.areas.inspecting
        assert driven.areas.timeline.cursor == cursor


async def test_the_wheel_moves_and_with_shift_it_goes_sideways(shop: Recording, drive: Drive) -> None:
    async with drive(shop) as driven:
        timeline = driven.areas.timeline
        await wheel(driven, events.MouseScrollDown)
        assert (timeline.cursor, timeline.sideways) == (3, 0)
        await wheel(driven, events.MouseScrollUp)
        assert (timeline.cursor, timeline.sideways) == (0, 0)
        await wheel(driven, events.MouseScrollDown, shift=True)
        assert (timeline.cursor, timeline.sideways) == (0, 16)
        await wheel(driven, events.MouseScrollUp, shift=True)
        assert (timeline.cursor, timeline.sideways) == (0, 0)


async def test_the_mouse_takes_a_notice_back_as_a_key_does(shop: Recording, drive: Drive) -> None:
    """But not the one that it causes itself."""
    async with drive(shop) as driven:
        footer = driven.areas.footer
        for turn in ("click", "wheel", "right"):
            await driven.type("D")
            assert footer.notice.startswith("D does nothing here")
            if turn == "wheel":
                await wheel(driven, events.MouseScrollDown)
            else:
                await driven.pilot.click("#timeline", offset=(30, 5), button=3 if turn == "right" else 1)
            await driven.settle()
            assert not footer.notice, turn
        await driven.type("D")
        await driven.pilot.click("#tabs", offset=(30, 0))
        assert "does nothing" not in (await driven.lines())[-1]


async def test_a_click_on_the_state_pauses_what_is_live(shop: Recording, drive: Drive) -> None:
    async with drive(shop, live=True) as driven:
        await driven.pilot.click("#status", offset=(30, 0))
        assert "❚❚ paused" in (await driven.lines())[0]
    shop.end()
    async with drive(shop) as driven:
        await driven.pilot.click("#status", offset=(30, 0))
        assert not driven.app.view.reading.paused
