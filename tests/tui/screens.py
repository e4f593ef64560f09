"""Screens as text files: what a pane looks like at a size, for people to read in a diff.

    PGTRACE_SCREENS=write .venv/bin/python -m pytest tests/tui/test_tui_panes.py

writes them again; a test then says that it did, and fails.

At the sizes of the design a screen begins with one of them, and the terminal changes to the others:
what is on it is the same as if it had begun so. At night it begins with each.
"""

from __future__ import annotations

import difflib
import os
import zlib
from pathlib import Path
from typing import Final

import pytest
from rich.cells import cell_len

from tests.corpus import NIGHTLY
from tests.tui.driving import Driven

SIZES: Final = ((80, 24), (120, 40), (200, 60))
"""Those of the design."""
SCREENS: Final = Path(__file__).with_name("screens")

begun = pytest.mark.parametrize("turn", range(len(SIZES)) if NIGHTLY else (0,))
"""For tests of begun_with() and check_sizes()."""


def begun_with(name: str, turn: int) -> tuple[int, int]:
    """The size with which a screen begins, by day another one for each name."""
    return SIZES[(zlib.crc32(name.encode()) + turn) % len(SIZES)]


async def check_sizes(name: str, driven: Driven) -> None:
    """Compare the screen with its files, at the size that it has and then at the others."""
    for size in sorted(SIZES, key=lambda size: size != driven.app.size):
        lines = await driven.resize(*size)
        assert {cell_len(line) for line in lines} == {size[0]}
        check(f"{name}-{size[0]}x{size[1]}", lines)


def check(name: str, lines: list[str]) -> None:
    """Compare a screen with its file."""
    path, text = SCREENS / f"{name}.txt", "".join(f"{line.rstrip()}\n" for line in lines)
    if os.environ.get("PGTRACE_SCREENS") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        raise AssertionError(f"{path.name} was written: read it, and run the test again")
    before = path.read_text(encoding="utf-8")
    assert text == before, "\n".join(difflib.unified_diff(before.splitlines(), text.splitlines(), path.name, "now", n=0, lineterm=""))
