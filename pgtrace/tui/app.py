"""The application: reads the trace, draws the screen, and ends.

tick() reads new data ten times a second, in this process. The recorder is another process: the
traffic never waits for the screen, and if both want a processor the screen yields. SIGTERM ends the
screen in order; ctrl-z suspends it while the traffic continues. SIGHUP kills it, unless a command
handles that, and the traffic continues as well: a recorder whose viewer has died serves its
sessions to their end.
"""

from __future__ import annotations

import asyncio
import gc
import locale
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, ClassVar, Final

from textual import events
from textual.app import App
from textual.binding import BindingType
from textual.theme import Theme

from pgtrace.legs.joins import Joins
from pgtrace.trace.trace import Trace
from pgtrace.tui.keyboard import keep_escape
from pgtrace.tui.model.reading import READ_AHEAD_S, TICK_S
from pgtrace.tui.model.remembered import Remembered, place
from pgtrace.tui.model.savedfilters import SavedFilters
from pgtrace.tui.model.source import Source
from pgtrace.tui.model.theme import ANSI, ANSI_LIGHT, DARK, LIGHT, MONO, THEMES, Palette, Pen, choose_palette, only_ascii
from pgtrace.tui.model.view import View
from pgtrace.tui.screen import MainScreen
from pgtrace.tui.widgets.bound import bindings

NICE: Final = 10
"""The niceness of the screen, so that the traffic gets the processor first."""
_NOT_SAVED: Final = "this recording is not saved: press again to quit"


class PgTraceApp(App[None]):
    """pgtrace on a terminal."""

    CSS_PATH = "app.tcss"
    TITLE = "pgtrace"
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = bindings("app")

    def __init__(
        self,
        view: View,
        loaded: Callable[[], object] | None = None,
        remembered: Remembered | None = None,
        filters: Remembered | None = None,
    ) -> None:
        """`loaded` is called once everything that existed at the start has been read. `remembered`
        has the settings with which the screen was last left, and gets those of this time; `filters`
        has earlier filters.
        """
        super().__init__()
        for palette in (DARK, LIGHT):
            background = palette.grounds["background"].removeprefix("on ")
            self.register_theme(Theme(f"pgtrace-{palette.name}", primary=background, background=background, dark=palette is DARK))
        self.view = view
        self.remembered = remembered or Remembered()
        self._wear(view.pen.palette)
        self._loaded = loaded
        self._commands_hang_up: Callable[..., object] | signal.Handlers = signal.SIG_DFL
        self.main = MainScreen(view)
        self.main.areas.restore(self.remembered)
        self.main.narrowing.filters = SavedFilters(filters or Remembered())

    def get_default_screen(self) -> MainScreen:
        return self.main

    def on_mount(self) -> None:
        """Begin to tick, and to listen to signals."""
        if sys.platform != "win32":
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGTERM, self.exit, None, 128 + signal.SIGTERM)
            before = signal.getsignal(signal.SIGHUP)
            self._commands_hang_up = before if callable(before) else signal.SIG_DFL
            loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        self.app_resume_signal.subscribe(self, lambda _: self.main.paint())
        self.set_interval(TICK_S, self.tick)
        self.set_interval(READ_AHEAD_S, self.read_ahead)

    async def on_key(self, event: events.Key) -> None:
        """Take a key before the bindings do. Here keys arrive in order, whichever area has the
        focus.
        """
        await self.main.before_bindings(event)

    def on_paste(self, event: events.Paste) -> None:
        """Take a paste in order with the keys."""
        self.main.pasted(event.text)

    def read_ahead(self) -> None:
        """Read on between ticks."""
        self.view.reading.read_ahead(time.monotonic())

    def tick(self) -> None:
        """Read new data and redraw what changed. While the application closes its screens the timer
        may still run; then nothing is drawn.
        """
        if not self.is_running:
            return
        self.main.areas.footer.tick()
        self.main.files.show_progress()
        self.main.areas.advance(time.monotonic())
        if self.view.reading.loaded and self._loaded is not None:
            self._loaded()
            self._loaded = None
        started = time.perf_counter()
        if self.view.reading.tick(time.monotonic()):
            self.main.draw()
            self.call_after_refresh(lambda: self.view.reading.redrawn(time.monotonic(), time.perf_counter() - started))

    def action_leave(self) -> None:
        """Quit; ask first if the recording would be lost."""
        footer = self.main.areas.footer
        if self.view.source.unsaved and not self.main.files.saved and len(self.view.trace.rows) and footer.notice != _NOT_SAVED:
            footer.show_notice(_NOT_SAVED)
        else:
            self.exit()

    def action_theme(self, name: str = "") -> None:
        """Change to the next theme, or to the theme with that name."""
        names = list(THEMES)
        name = name or names[(names.index(self.view.pen.palette.name) + 1) % len(names)]
        self._wear(THEMES[name])
        self.remembered.put("theme", name)
        for widget in self.main.line_widgets():
            widget.redraw()
        self.main.areas.footer.show_notice(f"theme {name}")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether the action is possible: with NO_COLOR there are no themes, and suspending needs a
        shell.
        """
        if action == "suspend_process" and self.view.source.read_only:
            return False
        return self.view.pen.palette is not MONO if action == "theme" else True

    def on_unmount(self) -> None:
        """Store the settings of the screen."""
        self.view.counted.close()
        self.main.areas.remember(self.remembered)
        self.remembered.save()

    def _wear(self, palette: Palette) -> None:
        """Draw with a palette, on its background."""
        plain = palette in (ANSI, ANSI_LIGHT, MONO)
        self.view.pen.take(palette)
        self.ansi_color = plain
        self.theme = "ansi-dark" if plain else f"pgtrace-{palette.name}"

    def _hang_up(self) -> None:
        """Handle SIGHUP: clean up, then die, or do what the command does on SIGHUP."""
        self.on_unmount()
        self.main.clipboard.close()
        if self._driver is not None and sys.__stdin__ is not None and os.isatty(sys.__stdin__.fileno()):
            # the terminal is still there: the signal came from elsewhere
            self._driver.stop_application_mode()
            self._driver.close()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
        signal.signal(signal.SIGHUP, self._commands_hang_up)
        os.kill(os.getpid(), signal.SIGHUP)


def run_app(trace: Trace, *, source: Source, recorder: Any = None, joins: Joins | None = None) -> None:
    """Show a trace until the user quits. `recorder` is the one that writes it, if any; the screen
    checks whether it is alive, and the caller must stop it. `joins` are those of the trace, if they
    are known.

    Raises SystemExit if the screen could not be shown, or was ended by a signal.
    """
    if recorder is not None and sys.platform != "win32":
        os.nice(NICE)
    keep_escape()
    if source.read_only:
        app = PgTraceApp(View(trace, source, Pen(DARK), recorder), loaded=gc.freeze)
        app.run()
        return
    encoding = getattr(sys.__stderr__, "encoding", None) or locale.getpreferredencoding()
    remembered = Remembered(place(os.environ))
    pen = Pen(choose_palette(os.environ, remembered.get("theme", THEMES, "")), ascii_only=only_ascii(os.environ, encoding))
    # Objects read so far stay alive. Excluding them from garbage collection avoids pauses of 300 ms
    # each at 50,000 statements.
    app = PgTraceApp(
        View(trace, source, pen, recorder, joins),
        loaded=gc.freeze,
        remembered=remembered,
        filters=Remembered(place(os.environ, "filters.json")),
    )
    app.run()
    app.main.files.finish()
    if app.return_code:
        sys.exit(app.return_code)
