"""Work in turns, with a progress bar on stderr if it takes long and stderr is a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final, Self

import click

from pgtrace.sanitise import Shown

_PATIENCE_S: Final = 1.0
_STEPS: Final = 1000


def turns(step: Callable[[], bool], progress: Callable[[], float | None], label: str | Callable[[], str], *, quiet: bool = False) -> None:
    """Call `step` until it returns False. `progress` returns 0 to 1, or None if it is not known. A
    callable `label` returns the stage that the work has reached.
    """
    if isinstance(label, str):
        label = partial(str, label)
    started = time.monotonic()
    while step():
        if not quiet and time.monotonic() - started > _PATIENCE_S and sys.stderr.isatty() and progress() is not None:
            with click.progressbar(length=_STEPS, label=label(), file=sys.stderr) as bar:
                shown = 0
                while step():
                    bar.label = label()
                    now = min(int(_STEPS * (progress() or 0.0)), _STEPS)
                    bar.update(now - shown)
                    shown = now
            return


class Waiting:
    """Progress on stderr whenever nothing was printed for a while; erased before the next line. A
    context manager."""

    def __init__(self, label: str, *, quiet: bool = False) -> None:
        self._label = label
        self._wanted = not quiet and sys.stderr.isatty()
        self._began_s = self._quiet_since = time.monotonic()
        self._cells = 0
        """The number of terminal cells in use."""

    def update(self, progress: float | None) -> None:
        """Show the progress, from 0 to 1, or None if it is not known."""
        now_s = time.monotonic()
        if self._wanted and progress is not None and now_s - self._quiet_since > _PATIENCE_S:
            left_s = (now_s - self._began_s) * (1 - progress) / progress if 0 < progress < 1 else 0
            left = f", {left_s:.0f} s left" if left_s >= 1 else ""
            text = f"{self._label}  {min(progress, 1):4.0%}{left}"
            self._put("\r" + text.ljust(self._cells))
            self._cells = max(self._cells, len(text))

    def before(self, lines: Iterable[Shown]) -> Iterator[Shown]:
        """Pass on the lines, and erase the progress before each."""
        for line in lines:
            self._clear()
            yield line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *about: object) -> None:
        self._clear()

    def _clear(self) -> None:
        if self._cells:
            self._put("\r" + " " * self._cells + "\r")
            self._cells = 0
        self._quiet_since = time.monotonic()

    @staticmethod
    def _put(text: str) -> None:
        """Print a label and cursor movements."""
        sys.stderr.write(text)
        sys.stderr.flush()
