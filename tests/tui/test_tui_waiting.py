"""A connection that waits says what is owed, since when and by whom, in place; the journey to it has one key."""

from __future__ import annotations

import pytest

from pgtrace.capture.record import PEER, Pause
from pgtrace.protocol.codes import BACKEND
from pgtrace.tui.model.remembered import Remembered
from tests.tui.driving import Drive
from tests.wire_recording import FLUSH, MS, Recording, describe, done, parse, query, ready


@pytest.fixture
def hanging(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> Recording:
    """Two connections, one of which waits for 12.4 s."""
    first, second = recording.connect(), recording.connect()
    recording.trip(first, query("SELECT 1"), done("SELECT 1") + ready())
    recording.send(second, parse("s", "SELECT name FROM users WHERE id = $1", 20) + describe("S", "s") + FLUSH)
    at = recording.now
    recording._put(Pause(recording._time(), second, BACKEND, True, PEER))
    recording.flush()
    monkeypatch.setattr("pgtrace.tui.model.reading.time.time_ns", lambda: recording.header.wall_ns + at + 12_400 * MS)
    return recording


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_it_says_what_is_owed_and_since_when(hanging: Recording, drive: Drive, size: tuple[int, int]) -> None:
    async with drive(hanging, size, live=True) as driven:
        lines = await driven.arrived(hanging)
        row = next(line for line in lines if line.startswith("▌"))
        assert "waits 12.4 s" in row
        spelled = lines[-2]
        assert "waits 12.4 s, server owes ParseComplete; the driver has not read" in spelled
        if size[0] == 200:
            assert "SELECT name FROM users" in row
            assert "server owes ParseComplete" in row
        text = "\n".join(await driven.press("3"))
        assert "waits 12.4 s" in text


async def test_what_has_just_begun_does_not_wait_yet(hanging: Recording, drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgtrace.tui.model.reading.time.time_ns", lambda: hanging.header.wall_ns + hanging.now + 500 * MS)
    async with drive(hanging, live=True) as driven:
        assert "owes" not in "\n".join(await driven.arrived(hanging))


async def test_a_live_screen_opens_in_the_timeline(hanging: Recording, drive: Drive) -> None:
    remembered = Remembered()
    remembered.put("pane", "findings")
    async with drive(hanging, live=True) as driven:
        driven.areas.restore(remembered)
        assert driven.areas.pane == "timeline"
    async with drive(hanging) as driven:
        driven.areas.restore(remembered)
        assert driven.areas.pane == "findings"
