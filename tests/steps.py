"""How much work a call is, counted and not timed: on a machine that does other things too, a count is the same each time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

PACKAGE = str(Path(__file__).parent.parent / "pgtrace")


def lines_run(call: Callable[[], object]) -> int:
    """How many lines of the package run in a call; what one line costs in C is not seen."""
    count = 0

    def line(frame: FrameType, event: str, argument: object) -> Callable[..., object] | None:
        nonlocal count
        if event == "line":
            count += 1
        return line

    def entered(frame: FrameType, event: str, argument: object) -> Callable[..., object] | None:
        return line if frame.f_code.co_filename.startswith(PACKAGE) else None

    before = sys.gettrace()
    sys.settrace(entered)
    try:
        call()
    finally:
        sys.settrace(before)
    return count
