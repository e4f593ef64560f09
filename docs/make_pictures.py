"""Make the pictures of the README and of docs/tui.md: each pane of the live view over the demo's own traffic, as SVG.

    python docs/make_pictures.py [NAME...]

The traffic is recorded again each time from real drivers and a real PostgreSQL; the screen is the
application's own, led to each picture by its keys.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from textual import events
from textual.keys import _character_to_key
from textual.pilot import Pilot

from pgtrace.address import parse_listen
from pgtrace.demo.scene import open_scene
from pgtrace.trace.trace import Trace
from pgtrace.tui.app import PgTraceApp
from pgtrace.tui.model.source import Source
from pgtrace.tui.model.theme import DARK, LIGHT, Palette, Pen
from pgtrace.tui.model.view import View

PICTURES_DIRECTORY = Path(__file__).parent / "pictures"
SIZE = (120, 36)


@dataclass(frozen=True)
class Picture:
    """A picture: its file's name, the keys that lead to it, and how the screen is."""

    name: str
    keys: Sequence[str]
    size: tuple[int, int] = SIZE
    palette: Palette = DARK


PICTURES = (
    Picture("timeline", ("g", "/", *"error", "enter", "j", "escape", "enter"), (120, 38)),
    Picture("narrow", ("g", "j", "j", "j"), (80, 24)),
    Picture("light", ("g", "n"), palette=LIGHT),
    Picture("folded", ("g", "X", "X")),
    Picture("waterfall", ("w", "g", *["j"] * 16, "+")),
    Picture("filter", ("/", *"driver:psycopg de")),
    Picture("statements", ("2", "j")),
    Picture("connections", ("3",)),
    Picture("drivers", ("4",)),
    Picture("transactions", ("5", "j")),
    Picture("findings", ("6",)),
    Picture("help", ("question_mark",), (120, 40)),
)


async def drawn(trace: Trace, picture: Picture) -> str:
    """The screen over a trace, after the picture's keys."""
    app = PgTraceApp(View(trace, Source(files=("demo.pgtrace",)), Pen(picture.palette)))
    async with app.run_test(size=picture.size) as pilot:
        await _settled(app, pilot)
        for key in picture.keys:
            character = "?" if key == "question_mark" else key if len(key) == 1 else None
            name = _character_to_key(key) if len(key) == 1 and not key.isalnum() else key
            app.post_message(events.Key(name, character))
            await pilot.pause()
        await _settled(app, pilot)
        return app.export_screenshot(title="pgtrace open demo.pgtrace")


async def _settled(app: PgTraceApp, pilot: Pilot[None]) -> None:
    """Everything read, advised and drawn."""
    until_s = time.monotonic() + 1.5
    while time.monotonic() < until_s or not app.view.reading.loaded:
        await pilot.pause(0.05)


def main(names: Sequence[str]) -> None:
    PICTURES_DIRECTORY.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        capture = Path(directory) / "demo.pgtrace"
        with open_scene(parse_listen(":0"), write=capture) as scene:
            scene.play()
        for picture in PICTURES:
            if names and picture.name not in names:
                continue
            trace = Trace.open([capture])
            trace.update()
            target = PICTURES_DIRECTORY / f"{picture.name}.svg"
            target.write_text(asyncio.run(drawn(trace, picture)), encoding="utf-8")
            trace.close()
            print(f"{target}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
