"""The columns of a table: the cell of each for an item, and the columns that fit a width.

The columns are a pure function of the width: those of rank 0 always, the others by rank as long as
the flexible one keeps its minimum; the flexible one gets what is left. Each line fills the width
exactly.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pgtrace.tui.model import figures
from pgtrace.tui.model.columns import Column

T = TypeVar("T")
Runs = list[tuple[str, str]]
"""Pieces of text with their roles."""


@dataclass(frozen=True, slots=True)
class Field(Generic[T]):
    """One column of a table. A width of 0 makes it the flexible one; there is exactly one."""

    name: str
    width: int
    cell: Callable[[Any, T, int], Runs]
    """The pieces of text for a pane, an item and the column's width."""
    rank: int = 0
    right: bool = True
    key: Callable[[Any, T], Any] | None = None
    """The sort key, greatest first."""
    rising: bool = False
    """Whether the text in the column rises while the key falls."""
    gap: int = 1
    title: str | None = None


@functools.lru_cache(maxsize=512)
def fit(fields: tuple[tuple[str, int, int, int], ...], least: int, width: int) -> tuple[Column, ...]:
    """The columns of a line of `width` cells. A field is its name, gap, width and rank; the one
    without a width has at least `least` cells."""
    ranks = sorted({rank for _, _, _, rank in fields})
    taken = 0
    for rank in ranks:
        needed = 2 + sum(gap + (wide or least) for _, gap, wide, own in fields if own <= rank)
        if rank and needed > width:
            break
        taken = rank
    shown = [field for field in fields if field[3] <= taken]
    rest = max(1, width - 2 - sum(gap + wide for _, gap, wide, _ in shown))
    made, position = [], 1
    for name, gap, wide, _ in shown:
        wide = min(wide or rest, width - 1 - position - gap)
        if wide <= 0:
            break
        made.append(Column(name, position + gap, wide))
        position += gap + wide
    return tuple(made)


def number(value: int, width: int, role: str = "text") -> Runs:
    """A count, written out if it fits; a faint dot for zero."""
    text = figures.whole(value)
    return [(text if len(text) <= width else figures.count(value), role if value else "faint")]
