"""Work in turns, with a bar on stderr where it takes long and somebody is there to see it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Final

import click

_PATIENCE_S: Final = 1.0
_STEPS: Final = 1000


def turns(step: Callable[[], bool], progress: Callable[[], float | None], label: str, *, quiet: bool = False) -> None:
    """Call `step` until it says that nothing is left. `progress` goes from 0 to 1, or is None where that cannot be told."""
    started = time.monotonic()
    while step():
        if not quiet and time.monotonic() - started > _PATIENCE_S and sys.stderr.isatty() and progress() is not None:
            with click.progressbar(length=_STEPS, label=label, file=sys.stderr) as bar:
                shown = 0
                while step():
                    now = min(int(_STEPS * (progress() or 0.0)), _STEPS)
                    bar.update(now - shown)
                    shown = now
            return
