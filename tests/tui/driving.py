"""An application that is shown on a screen of lines, and its keys."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from textual.pilot import Pilot
from wire_recording import Recording

from pgtrace.tui.app import PgTraceApp


class Driven:
    """An application that is shown, and what it shows."""

    def __init__(self, app: PgTraceApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.main = app.main
        self.pilot = pilot

    async def press(self, *keys: str) -> list[str]:
        await self.pilot.press(*keys)
        return await self.lines()

    async def lines(self) -> list[str]:
        await self.pilot.pause()
        self.main.draw()
        await self.pilot.pause()
        return screen_of(self.app)

    async def text(self) -> str:
        return "\n".join(await self.lines())

    async def arrived(self, recording: Recording) -> list[str]:
        """What was recorded is on disk, and the next tick has read it."""
        recording.flush()
        self.app.view._next_draw_s = 0.0
        self.app.tick()
        return await self.lines()


Drive = Callable[..., AbstractAsyncContextManager[Driven]]


def screen_of(app: PgTraceApp) -> list[str]:
    """The screen as plain text, line by line."""
    return [strip.text for strip in app.screen._compositor.render_strips()]
