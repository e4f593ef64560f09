"""Screens as text files: what a pane looks like at a size, for people to read in a diff.

    PGTRACE_SCREENS=write .venv/bin/python -m pytest tests/tui/test_tui_screens.py -k drivers

writes what has changed, and fails: read the diff, and run the test again without it.

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
    differences = []
    for size in sorted(SIZES, key=lambda size: size != driven.app.size):
        lines = await driven.resize(*size)
        assert {cell_len(line) for line in lines} == {size[0]}
        differences.append(_difference(f"{name}-{size[0]}x{size[1]}", lines))
    _accept(differences)


def check(name: str, lines: list[str]) -> None:
    """Compare a screen with its file."""
    _accept([_difference(name, lines)])


def _difference(name: str, lines: list[str]) -> str:
    """How a screen differs from its file, which is written if that is asked for."""
    path, text = SCREENS / f"{name}.txt", "".join(f"{line.rstrip()}\n" for line in lines)
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    if text == before:
        return ""
    if os.environ.get("PGTRACE_SCREENS") == "write":
        path.write_text(text, encoding="utf-8")
    return "\n".join(difflib.unified_diff(before.splitlines(), text.splitlines(), path.name, "now", n=0, lineterm=""))


def _accept(differences: list[str]) -> None:
    changed = "\n".join(filter(None, differences))
    assert not changed, f"{changed}\nIf this is meant: PGTRACE_SCREENS=write (tests/tui/screens.py), then read the diff"
