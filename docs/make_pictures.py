"""Make the pictures of the README: the live view over the demo's own traffic, as SVG.

    python docs/make_pictures.py

The traffic is recorded anew each time from real drivers and a real PostgreSQL; the screen is the application's own.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from pgtrace.address import parse_listen
from pgtrace.analysis.trace import Trace
from pgtrace.demo.scene import open_scene
from pgtrace.tui.app import PgTraceApp
from pgtrace.tui.source import Source
from pgtrace.tui.theme import DARK, Pen
from pgtrace.tui.view import View

HERE = Path(__file__).parent


async def picture(trace: Trace) -> str:
    """The screen over a trace, with the inspector open on the last error."""
    app = PgTraceApp(View(trace, Source(files=("demo.pgtrace",)), Pen(DARK)))
    async with app.run_test(size=(120, 38)) as pilot:
        await pilot.press("G", "N")
        while not trace.rows[app.screen.timeline.place].label.error:  # findings are problems too
            await pilot.press("N")
        for _ in range(2):
            await pilot.press("N")
            while not trace.rows[app.screen.timeline.place].label.error:
                await pilot.press("N")
        await pilot.press("enter")
        await pilot.pause()
        return app.export_screenshot(title="pgtrace open demo.pgtrace")


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        capture = Path(directory) / "demo.pgtrace"
        with open_scene(parse_listen(":0"), write=capture) as scene:
            scene.play()
        trace = Trace.open([capture])
        trace.update()
        target = HERE / "timeline.svg"
        target.write_text(asyncio.run(picture(trace)), encoding="utf-8")
        print(f"{target}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
