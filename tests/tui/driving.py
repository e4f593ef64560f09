"""An application that is shown on a screen of lines, and its keys."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final

from textual import events
from textual.css.stylesheet import RuleSet, Stylesheet
from textual.drivers.headless_driver import HeadlessDriver
from textual.geometry import Size
from textual.keys import _character_to_key
from textual.message_pump import MessagePump
from textual.pilot import Pilot

from pgtrace.trace.trace import Trace
from pgtrace.tui.app import PgTraceApp
from pgtrace.tui.model.source import Source
from pgtrace.tui.model.theme import DARK, Palette, Pen
from pgtrace.tui.model.view import View
from tests.wire_recording import Recording

_TURNS: Final = 10
"""Turns of the loop in which nothing was left: what a message leads to is posted within one."""
_SETTLES_WITHIN_S: Final = 60.0
_CHARACTERS: Final = {"space": " ", "question_mark": "?"}

_RULES: Final[dict[object, list[RuleSet]]] = {}
_parse = Stylesheet.parse


def _parse_once(sheet: Stylesheet) -> None:
    """Every application has the same styles: to parse them twice for each is a fifth of what its start costs."""
    key = tuple(sheet.source.items()), tuple(sheet._variables.items())
    if key not in _RULES:
        _parse(sheet)
        _RULES[key] = sheet._rules
    sheet._rules, sheet._rules_map, sheet._require_parse = _RULES[key], None, False


Stylesheet.parse = _parse_once  # type: ignore[method-assign]


class Driven:
    """An application that is shown, and what it shows."""

    def __init__(self, app: PgTraceApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.main = app.main
        self.areas = app.main.areas
        self.pilot = pilot
        self._pumps: tuple[MessagePump, ...] = ()

    async def press(self, *keys: str) -> list[str]:
        """The screen after these keys."""
        await self.type(*keys)
        return screen_of(self.app)

    async def type(self, *keys: str) -> None:
        """Press keys, where nobody looks at the screen: to put it together is a quarter of what a key costs."""
        for key in keys:
            name = _character_to_key(key) if len(key) == 1 and not key.isalnum() else key
            self.app.post_message(events.Key(name, key if len(key) == 1 else _CHARACTERS.get(key)))
            await self.settle()
        await self._draw()

    async def resize(self, width: int, height: int) -> list[str]:
        """The screen at another size, without the time for which the toolkit waits for the next one."""
        driver, size = self.app._driver, Size(width, height)
        assert isinstance(driver, HeadlessDriver)
        driver._size = size
        self.app.post_message(events.Resize(size, size))
        await self.settle()
        self.app._check_resize()
        await self.settle()
        await self._draw()
        return screen_of(self.app)

    async def settle(self) -> None:
        """Until no widget has a message left. (The toolkit's own pause waits for an idle processor: ten times as long.)"""
        idle, until_s = 0, time.monotonic() + _SETTLES_WITHIN_S
        while idle < _TURNS:
            await asyncio.sleep(0)
            assert time.monotonic() < until_s, "a widget always has another message, or no longer takes any"
            idle = 0 if any(pump.message_queue_size for pump in self._pumps) else idle + 1

    async def begin(self) -> None:
        """Until the screen is there, with all the widgets that it will ever have."""
        while len(pumps := (self.app, *self.app.screen.walk_children(with_self=True))) != len(self._pumps):
            self._pumps = pumps
            await self.settle()

    async def lines(self) -> list[str]:
        """The screen with all that is there by now."""
        await self.settle()
        self.main.draw()
        return await self.painted()

    async def painted(self) -> list[str]:
        """The screen as it is before the next tick."""
        await self.settle()
        await self._draw()
        return screen_of(self.app)

    async def _draw(self) -> None:
        """Have drawn what has changed; on a machine that stalls, once it has read up. An application that has ended draws nothing."""
        view = self.app.view
        while self.app.is_running and (view.reading.catching_up or view.reading._stale):
            view.reading._next_draw_s = view.reading._ahead_until_s = 0.0
            self.app.tick()
            await self.settle()
        self.app.screen._on_timer_update()
        await self.settle()

    async def counted(self) -> list[str]:
        """Until what the filter selects is counted, and collected for the panes."""
        view = self.app.view
        while not view.listing.filtering.everything and (view.counted.sums is None or view.counted.sums.rows is None):
            view.counted.advance(0.0)
        view.reading._next_draw_s = 0.0
        self.app.tick()
        return await self.lines()

    async def text(self) -> str:
        return "\n".join(await self.lines())

    async def arrived(self, recording: Recording) -> list[str]:
        """What was recorded is on disk, and the next tick has read it."""
        recording.flush()
        self.app.view.reading._next_draw_s = self.app.view.reading._ahead_until_s = 0.0
        self.app.tick()
        return await self.lines()


@asynccontextmanager
async def shown(app: PgTraceApp, size: tuple[int, int] = (120, 40)) -> AsyncIterator[Driven]:
    """An application on a screen of that size. The updates for a terminal are not rendered: there is none, and lines() renders it all."""
    compositor = app.main._compositor
    compositor.render_update = lambda **_: compositor._dirty_regions.clear()  # type: ignore[method-assign]
    async with app.run_test(size=size) as pilot:
        driven = Driven(app, pilot)
        await driven.begin()
        yield driven


@asynccontextmanager
async def opened(
    paths: Sequence[Path], size: tuple[int, int] = (120, 40), palette: Palette = DARK, apart: Collection[int] = ()
) -> AsyncIterator[Driven]:
    """Captures opened as `pgtrace open` does, everything read and advised."""
    trace = Trace(paths, apart=apart)
    try:
        app = PgTraceApp(View(trace, Source(live=False, files=tuple(path.name for path in paths)), Pen(palette)))
        async with shown(app, size) as driven:
            while trace.update():
                pass
            while not app.view.reading.loaded or app.view.listing.behind or app.view.snapshot.findings != tuple(app.view.advice.findings()):
                app.view.reading._next_draw_s = 0.0
                app.tick()
            yield driven
    finally:
        trace.close()


Drive = Callable[..., AbstractAsyncContextManager[Driven]]


def screen_of(app: PgTraceApp) -> list[str]:
    """The screen as plain text, line by line."""
    return [strip.text for strip in app.screen._compositor.render_strips()]
