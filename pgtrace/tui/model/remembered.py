"""The settings that the screen keeps from one start to the next: pane, fold, time column, theme.

A small private file, `pgtrace/screen.json` below XDG_STATE_HOME. It holds names of ours and nothing
that passed on a wire; typed filters have a separate file (savedfilters.py). It is a convenience:
settings that cannot be read, or are no longer known, are ignored, and a failure to write is silent.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

LONGEST: Final = 64 * 1024


def place(environ: Mapping[str, str], name: str = "screen.json") -> Path | None:
    """The path of the file with that name: in XDG_STATE_HOME, if that is absolute, else in the home
    directory's `.local/state`; None without either.
    """
    state, home = environ.get("XDG_STATE_HOME", ""), environ.get("HOME", "")
    base = Path(state) if os.path.isabs(state) else Path(home, ".local", "state") if os.path.isabs(home) else None
    return base / "pgtrace" / name if base is not None else None


class Remembered:
    """Names and their latest values."""

    def __init__(self, path: Path | None = None) -> None:
        """Read the file. Without a path nothing outlives the process."""
        self._path = path
        self._values: dict[str, str] = {}
        self._written: dict[str, str] = {}
        try:
            with path.open("rb") if path is not None else open(os.devnull, "rb") as file:
                found = json.loads(file.read(LONGEST) or b"{}")
        except (OSError, ValueError, RecursionError):
            return
        if isinstance(found, dict):
            self._values = {name: value for name, value in found.items() if isinstance(value, str)}
            self._written = dict(self._values)

    def get(self, name: str, known: Collection[str], otherwise: str) -> str:
        """The value of a name, if it is one of those known."""
        value = self._values.get(name, otherwise)
        return value if value in known else otherwise

    def text(self, name: str) -> str:
        """The value of a name, whatever it is; empty if it has none."""
        return self._values.get(name, "")

    def names(self) -> list[str]:
        """The names that have values."""
        return list(self._values)

    def put(self, name: str, value: str) -> None:
        """Set a name."""
        self._values[name] = value

    def save(self) -> None:
        """Write the file, whole or not at all, if anything has changed."""
        if self._path is None or self._values == self._written:
            return
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = self._path.with_name(f"{self._path.name}.{os.getpid()}")
            try:
                with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                    json.dump(self._values, file)
                new.replace(self._path)
            finally:
                new.unlink(missing_ok=True)
        except OSError:
            return
        self._written = dict(self._values)
