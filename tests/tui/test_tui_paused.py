"""A paused screen stands still: every pane, whatever is recorded meanwhile and whatever the user looks at."""

from __future__ import annotations

import asyncio
import itertools
import math
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pgtrace.trace.trace import Trace
from pgtrace.tui.app import PgTraceApp
from pgtrace.tui.model.counted import LATE_S
from pgtrace.tui.model.reading import Reading
from pgtrace.tui.model.source import Source
from pgtrace.tui.model.theme import DARK, Pen
from pgtrace.tui.model.view import View
from pgtrace.tui.panes.tabs import PANES
from tests.tui.driving import Driven, shown
from tests.wire_recording import (
    EXECUTE,
    FLUSH,
    PARSED,
    SYNC,
    Recording,
    bind,
    checkout,
    describe,
    done,
    error,
    int8,
    parse,
    query,
    ready,
    row,
)

LOOKS: dict[str, tuple[str, ...]] = {
    "as it is": (),
    "at the last": ("G",),
    "sorted": ("s", "S"),
    "opened": ("enter",),
    "filtered": ("1", "c"),
    "folded": ("1", "X", "X"),
    "as one": ("D",),
}
_USERS = "SELECT id, email, name FROM users WHERE id = $1"


@pytest.fixture
def recordings(tmp_path: Path) -> Iterator[list[Recording]]:
    """Two captures that are being written; one or both are shown."""
    made = [Recording(tmp_path / f"{name}.pgtrace") for name in ("old", "new")]
    yield made
    for recording in made:
        recording.writer.close()


def begin(recording: Recording) -> int:
    """The shop, a loop, a transaction that is open, and a query that is not answered: the connection that asked it."""
    checkout(recording)
    for number in range(8):
        recording.trip(1, query(f"SELECT name FROM item WHERE id = {number}"), done("SELECT 0") + ready())
    recording.trip(2, query("BEGIN"), done("BEGIN") + ready("T"))
    waits = recording.connect("asyncpg")
    recording.send(waits, query("SELECT slow()"))
    return waits


def go_on(recording: Recording, waits: int) -> None:
    """More of everything: the same statements again and others, errors, an end, another connection."""
    recording.wait(1500)
    recording.answer(waits, done("SELECT 1") + ready())
    for user in range(5):
        recording.trip(
            1, bind("__asyncpg_stmt_1__", int8(user)) + EXECUTE + SYNC, b"2\0\0\0\4" + row(int8(user), b"") + done("SELECT 1") + ready()
        )
        recording.trip(1, query(f"SELECT name FROM item WHERE id = {user}"), done("SELECT 0") + ready())
    recording.trip(1, parse("other", _USERS) + describe("S", "other") + FLUSH, PARSED)
    recording.trip(2, query("SELECT wrong"), error("42703", "no such column") + ready("E"))
    recording.trip(2, query("ROLLBACK"), done("ROLLBACK") + ready())
    recording.mark("later")
    recording.close(3)
    checkout(recording)
    checkout(recording)


@asynccontextmanager
async def live(recordings: list[Recording]) -> AsyncIterator[Driven]:
    trace = Trace([recording.path for recording in recordings])
    try:
        source = Source(live=True, listener=":6433", upstream="db:5432")
        async with shown(PgTraceApp(View(trace, source, Pen(DARK)))) as driven:
            while not driven.app.view.reading.loaded or (len(recordings) > 1 and not driven.app.view.compares):
                driven.app.view.reading._next_draw_s = 0.0
                driven.app.tick()
            yield driven
    finally:
        trace.close()


async def later(driven: Driven, turns: Iterator[int]) -> list[str]:
    """The screen when there has been time for all that takes time."""
    view, areas = driven.app.view, driven.areas
    for _ in range(6):
        view.reading._next_draw_s = view.reading._ahead_until_s = 0.0
        now_s = 1e9 * next(turns)
        view.counted.advance(now_s, 1.0)
        areas.advance(now_s)
        driven.app.tick()
        await driven.settle()
        while areas.differences._began_s is not None:  # in a thread
            await asyncio.sleep(0.01)
            await driven.settle()
    return await driven.lines()


def body(lines: list[str]) -> list[str]:
    """All but the state, the rate and the number that is new."""
    return [re.sub(r"paused.*", "paused", lines[0]), *lines[1:]]


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("key", [pane.key for pane in PANES])
async def test_every_pane_stands_still(recordings: list[Recording], key: str, look: str) -> None:
    shows = recordings if key == "7" else recordings[:1]
    waits = [begin(recording) for recording in shows]
    for recording in shows:
        recording.flush()
    turns = itertools.count(1)
    async with live(shows) as driven:
        first = LOOKS[look][:1] == ("1",)
        await driven.type(*LOOKS[look] if first else (), *() if driven.areas.pane == "timeline" and key == "1" else (key,))
        await driven.type(*() if first else LOOKS[look])
        await later(driven, turns)
        before = await driven.press("space")
        assert "❚❚ paused" in before[0]
        assert body(await later(driven, turns)) == body(before)
        for recording, connection in zip(shows, waits, strict=True):
            go_on(recording, connection)
            await driven.arrived(recording)
        paused = await later(driven, turns)
        assert body(paused) == body(before)
        assert re.search(r"paused  \d+ new", paused[0])
        await driven.press("space")
        while driven.app.view.reading.catching_up or not driven.app.view.reading._fed:
            await later(driven, turns)
        assert body(await later(driven, turns))[1:] != body(before)[1:]


@pytest.mark.parametrize("key", [pane.key for pane in PANES if pane.key != "7"])
async def test_what_is_asked_while_paused_is_of_the_pause(recordings: list[Recording], monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """A pane that is opened, sorted or filtered while paused is as it is if nothing more is recorded."""
    monkeypatch.setattr(Reading, "_look_at_the_clock", lambda reading: setattr(reading, "now_ns", 5_000_000_000))
    answers = []
    for recording, grows in zip(recordings, (False, True), strict=True):
        waits = begin(recording)
        recording.flush()
        turns = itertools.count(1)
        async with live([recording]) as driven:
            await later(driven, turns)
            await driven.type("space")
            if grows:
                go_on(recording, waits)
                await driven.arrived(recording)
            told = []
            for keys in ((key,), ("j", "j"), ("s",), ("S",), ("G",), ("enter",), ("1", "c"), (key,), ("enter",)):
                await driven.type(*keys)
                told.append(body(await later(driven, turns))[1:])
            answers.append(told)
    assert answers[0] == answers[1]


@pytest.mark.parametrize("width", [60, 80, 120])
async def test_what_has_been_counted_is_no_bound(recordings: list[Recording], width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The totals of a filter are of a moment ago while more comes; late ones are bounds, and nothing never is."""
    recording = recordings[0]
    begin(recording)
    recording.flush()
    turns = itertools.count(1)
    async with live([recording]) as driven:
        await driven.resize(width, 40)
        driven.main.narrowing.choose("conn:1")
        await later(driven, turns)
        view = driven.app.view
        view.counted._next_s = math.inf
        recording.trip(1, query("SELECT 1"), done("SELECT 1") + ready())
        lines = await driven.arrived(recording)
        assert "≥" not in "".join(lines[1:4])
        view.counted.advance(1e9 * next(turns) + LATE_S)
        with monkeypatch.context() as patched:
            patched.setattr(type(view.counted), "advance", lambda *_: False)  # the screen's own ticks have another clock
            driven.areas.totals.redraw()
            late = "".join((await driven.painted())[1:4])
        assert "filtered" in late
        assert re.search("≥[1-9]", late)
        assert not re.search("≥[0·]", late)
        view.counted._next_s = 0.0
        assert "≥" not in "".join((await later(driven, turns))[1:4])


async def test_the_rate_is_that_of_the_traffic(recordings: list[Recording], monkeypatch: pytest.MonkeyPatch) -> None:
    """While paused and after it, whatever of it was set-up."""
    recording = recordings[0]
    begin(recording)
    recording.flush()
    async with live(recordings[:1]) as driven:
        view = driven.app.view
        noted = []
        monkeypatch.setattr(view.reading.rates, "note", lambda now_s, count, errors: noted.append(count), raising=False)
        await driven.arrived(recording)
        await driven.type("space")
        checkout(recording)
        await driven.arrived(recording)
        await driven.type("space")
        await driven.arrived(recording)
        recording.trip(1, query("SELECT 1"), done("SELECT 1") + ready())
        await driven.arrived(recording)
        steps = [second - first for first, second in itertools.pairwise(noted) if second != first]
        assert steps == [13 + 9, 1]


def test_a_screen_that_is_paused_while_it_catches_up_is_not_behind(
    shop: Recording, view_of: Callable[..., View], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would never come up: nothing is read. Once it goes on, it reads the rest."""
    view = view_of(shop, live=True)
    with monkeypatch.context() as patched:
        patched.setattr("pgtrace.tui.model.reading.READ_BUDGET_S", 0.0)
        view.reading.tick(0.0)
    assert view.reading.catching_up
    view.reading.pause()
    view.reading.tick(1.0)
    assert not view.reading.catching_up
    assert view.reading.behind_s == 0.0
    view.reading.pause()
    while view.reading.catching_up:
        view.reading.tick(2.0)
    assert len(view.trace.rows) == view.feed.seen
