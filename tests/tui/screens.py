"""Screens as text files: what a pane looks like at a size, for people to read in a diff.

    PGTRACE_SCREENS=write .venv/bin/python -m pytest tests/tui/test_tui_panes.py

writes them again; a test then says that it did, and fails.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path

SCREENS = Path(__file__).with_name("screens")


def check(name: str, lines: list[str]) -> None:
    """Compare a screen with its file."""
    path, text = SCREENS / f"{name}.txt", "".join(f"{line.rstrip()}\n" for line in lines)
    if os.environ.get("PGTRACE_SCREENS") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        raise AssertionError(f"{path.name} was written: read it, and run the test again")
    before = path.read_text(encoding="utf-8")
    assert text == before, "\n".join(difflib.unified_diff(before.splitlines(), text.splitlines(), path.name, "now", n=0, lineterm=""))
