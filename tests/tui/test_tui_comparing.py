"""Two round trips side by side."""

from __future__ import annotations

import pytest

from tests.tui.driving import Drive
from tests.wire_recording import BOUND, EXECUTE, SYNC, TEXT, Recording, bind, columns, describe, done, error, parse, ready, row


def two(recording: Recording) -> None:
    one, other = recording.connect("asyncpg"), recording.connect("psycopg")
    sent = parse("", "SELECT 1") + bind("", b"\0\0\0\1") + describe("P") + EXECUTE + SYNC
    recording.trip(one, sent, b"1\0\0\0\4" + BOUND + columns(("v", TEXT)) + row(b"a\x1bb") + done("SELECT 1") + ready())
    recording.trip(other, bind("", b"\0\0\0\2") + EXECUTE + SYNC, BOUND + error("22012", "division by zero") + ready())
    recording.end()


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
@pytest.mark.parametrize("ascii_only", [False, True])
async def test_messages_are_aligned_and_what_differs_is_marked(
    recording: Recording, drive: Drive, size: tuple[int, int], ascii_only: bool
) -> None:
    two(recording)
    async with drive(recording, size, ascii_only=ascii_only) as driven:
        await driven.type("n", "k")
        assert "= on another row" in (await driven.press("="))[-1]
        lines = await driven.press("j", "=")
        sheet = driven.areas.sheet
        assert driven.app.focused is sheet
        assert all(strip.cell_length == size[0] for strip in sheet._lines)
        drawn = [strip.text for strip in sheet._lines]
        assert "c1 asyncpg" in drawn[0]
        assert "c2 unknown" in drawn[0]
        half = 1 + (size[0] - 5) // 2
        found = {
            (drawn_line[4:half].split() or [""])[0] + "/" + (drawn_line[half + 6 :].split() or [""])[0]: drawn_line[half + 1]
            for drawn_line in drawn[1:]
            if drawn_line.strip()
        }
        rule = "|" if ascii_only else "│"
        assert found["Sync/Sync"] == rule
        assert found["Bind/Bind"] == "~"
        assert found["Parse/"] == "<"
        assert found["/ErrorResponse"] == ">" or size == (80, 24)
        assert "\x1b" not in "\n".join(lines)
        await driven.type("y", "p")
        assert "> " in driven.app.clipboard
        await driven.type("escape")
        assert not sheet.display
        assert driven.app.focused is driven.areas.timeline


async def test_the_same_row_again_is_not_picked_any_more(recording: Recording, drive: Drive) -> None:
    two(recording)
    async with drive(recording) as driven:
        assert "no longer picked" in (await driven.press("=", "="))[-1]
        await driven.type("=", "j", "=")
        assert driven.areas.sheet.display
        await driven.type("escape", "2")
        assert "= does nothing here" in (await driven.press("="))[-1]
