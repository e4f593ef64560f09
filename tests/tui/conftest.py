"""A recorded little shop, read or shown."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pgtrace.trace.trace import Trace
from pgtrace.tui.app import PgTraceApp
from pgtrace.tui.model import pace
from pgtrace.tui.model.source import Source
from pgtrace.tui.model.theme import DARK, Palette, Pen
from pgtrace.tui.model.view import View
from tests.tui.driving import Drive, Driven, shown
from tests.wire_recording import Recording, checkout


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A screen does not rest because the machine is busy: a test's next tick reads what the test has recorded."""
    monkeypatch.setattr(pace, "CONTENDED", math.inf)


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    """A capture that is still being written."""
    made = Recording(tmp_path / "shop.pgtrace")
    yield made
    made.writer.close()


@pytest.fixture
def shop(recording: Recording) -> Recording:
    """The capture of the shop, flushed and not ended."""
    checkout(recording)
    recording.flush()
    return recording


ViewOf = Callable[..., View]


@pytest.fixture
def view_of() -> Iterator[ViewOf]:
    """Opens a view on a recording; the trace is closed at the end."""
    opened: list[Trace] = []

    def make(recording: Recording, *, live: bool = False, palette: Palette = DARK, ascii_only: bool = False, **source: object) -> View:
        trace = Trace.open([recording.path])
        opened.append(trace)
        told = {"listener": ":6433", "upstream": "db:5432"} if live else {"files": ("shop.pgtrace",)}
        return View(trace, Source(live=live, **(told | source)), Pen(palette, ascii_only=ascii_only))  # type: ignore[arg-type]

    yield make
    for trace in opened:
        trace.close()


@pytest.fixture
def view(shop: Recording, view_of: ViewOf) -> View:
    """The whole shop, read and listed."""
    made = view_of(shop)
    made.trace.update()
    made.reading.sync()
    made.reading.tick(0.0)
    return made


@pytest.fixture
def drive(view_of: Callable[..., View]) -> Drive:
    @asynccontextmanager
    async def run(recording: Recording, size: tuple[int, int] = (120, 40), **options: object) -> AsyncIterator[Driven]:
        app = PgTraceApp(view_of(recording, **options))
        async with shown(app, size) as driven:
            while not app.view.reading.loaded:  # on a busy machine the first tick does not read it all
                app.view.reading._next_draw_s = 0.0
                app.tick()
            yield driven

    return run
