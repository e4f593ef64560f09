"""The recorded sessions of captures/, for tests that go over all of them.

Each test sees every capture, or by day those that its marker `sampled` leaves. Where there are ways
to do it besides, a run does some of them with each capture, in turn, so that all ways are tried;
`make nightly` does all with all.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

NIGHTLY = bool(os.environ.get("PGTRACE_NIGHTLY"))
CAPTURES = sorted((Path(__file__).parent.parent / "captures").glob("*/*.pgtrace"))


def name(path: Path) -> str:
    """What a capture is called in the name of a test."""
    return f"{path.parent.name}/{path.stem}"


def in_turn(ways: Sequence[T], each: int = 1, *, everything: bool = NIGHTLY) -> Iterator[tuple[Path, tuple[T, ...]]]:
    """Each capture with that many of the ways, the next ones each time; with all of them, nightly."""
    turns = itertools.cycle(ways)
    for path in CAPTURES:
        yield path, tuple(ways) if everything else tuple(itertools.islice(turns, each))
