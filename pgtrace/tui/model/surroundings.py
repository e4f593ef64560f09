"""The facts about the lines above that a line of the timeline needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pgtrace.trace.row import Row, RowKind
from pgtrace.tui.model.items import Item
from pgtrace.tui.model.listing import Listing

LOOK_BACK: Final = 50
"""How many lines above the window are searched for a connection's previous row."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The row above a line, its connection's previous row, and how far the list is scrolled."""

    above_ns: int | None = None
    same_ns: int | None = None
    same_end_ns: int | None = None
    same_sql: str = ""
    sideways: int = 0
    """Characters of SQL that are scrolled out at the left."""


def surroundings(listing: Listing, top: int, items: Sequence[Item], sideways: int) -> list[Surroundings]:
    """The surroundings of each visible line; the first of them is line `top`. A mark belongs to no
    connection.
    """
    above: Row | None = None
    latest: dict[int, Item] = {}
    found = []
    for index, item in enumerate([*(listing[line] for line in range(max(0, top - LOOK_BACK), top)), *items]):
        row = item.row
        same = latest.get(row.connection)
        if index >= min(top, LOOK_BACK):
            found.append(
                Surroundings(
                    above_ns=above.opened_ns if above else None,
                    same_ns=same.opened_ns if same else None,
                    same_end_ns=same.end_ns if same else None,
                    same_sql=same.row.label.sql if same else "",
                    sideways=sideways,
                )
            )
        above = row
        if row.shape.kind is not RowKind.MARK:
            latest[row.connection] = item
    return found
