"""`pgtrace open FILE` that writes down what each tick took: run by bench.watching as `python -m bench.timed_viewer FILE LOG`.

A line of LOG for each tick, and for each reading ahead between two: when it began (monotonic),
what it took, what the last redraw with it took until it was on the terminal, and how old the latest
thing read was, all in seconds; then 1 for a tick, 0 for a reading ahead. Written when the viewer
ends.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from pgtrace.cli import main
from pgtrace.tui.app import PgTraceApp
from pgtrace.tui.model.reading import Reading


def run(capture: str, log: Path) -> None:
    """Show the capture until the user quits."""
    lines: list[str] = []
    painted_s = 0.0
    plain_tick, plain_read_ahead, plain_redrawn = PgTraceApp.tick, PgTraceApp.read_ahead, Reading.redrawn

    def timed(app: PgTraceApp, turn: Callable[[PgTraceApp], None], is_tick: int) -> None:
        nonlocal painted_s
        began_s, began = time.monotonic(), time.perf_counter()
        turn(app)
        took_s = time.perf_counter() - began
        behind_s = (time.time_ns() - app.view.trace.end_ns) / 1e9
        lines.append(f"{began_s:.4f} {took_s:.6f} {painted_s:.6f} {behind_s:.4f} {is_tick}\n")
        painted_s = 0.0

    def redrawn(reading: Reading, now_s: float, took_s: float) -> None:
        nonlocal painted_s
        painted_s = took_s
        plain_redrawn(reading, now_s, took_s)

    PgTraceApp.tick = lambda app: timed(app, plain_tick, 1)  # type: ignore[method-assign]
    PgTraceApp.read_ahead = lambda app: timed(app, plain_read_ahead, 0)  # type: ignore[method-assign]
    Reading.redrawn = redrawn  # type: ignore[method-assign]
    try:
        sys.argv[1:] = ["open", capture]
        main()
    finally:
        log.write_text("".join(lines))


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]))
