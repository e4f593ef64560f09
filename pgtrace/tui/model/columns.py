"""The columns of the timeline at a given width, and their places: a pure function.

Columns are taken in order of need as long as SQL keeps its minimum; then they grow to their
maximum; SQL gets what is left. The choice depends on the width and on the capture (one driver or
several, how long the connections' names are), never on the rows in sight, so scrolling changes no
column. Every line made from the result fills the width exactly.

    cursor  time  cn rail  driver  sent → back  SQL  site  statement  across  !+f  rows  sent recv | bytes  first  ms  bar
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

NARROWEST: Final = 60
SPLIT_BYTES: Final = 170
"""From this width on, sent and received bytes have a column each."""
STATEMENTS: Final = 190
"""From this width on, the statement's name and the time to the first answer have columns."""
SPELLED_MARKS: Final = 18
"""The width of the marks if they are words."""
MARKS_IN_WORDS: Final = 220
"""From this width on, the marks are words."""
SITES: Final = 140
"""From this width on, the line of code that sent a statement has a column."""
ACROSS: Final = 76
"""From this width on, the counterpart on the other side of a pooler has a column."""
SQL_MINIMUM: Final = 23
SQL_COMFORT: Final = 28
"""The width that SQL gets before other columns grow."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, its first cell and its width."""

    name: str
    start: int
    width: int

    @property
    def end(self) -> int:
        return self.start + self.width


@dataclass(frozen=True, slots=True)
class _Wish:
    """The wishes of a column: blanks before it, its least width, and its greatest useful width."""

    name: str
    gap: int
    width: int
    most: int = 0


_ORDER: Final = (
    _Wish("cursor", 0, 1),
    _Wish("time", 0, 9),
    _Wish("cn", 1, 2),
    _Wish("rail", 0, 1),
    _Wish("driver", 1, 8),
    _Wish("flight", 1, 19, 30),
    _Wish("sql", 1, SQL_MINIMUM),
    _Wish("site", 1, 20, 32),
    _Wish("statement", 2, 10, 12),
    _Wish("across", 1, 5, 9),
    _Wish("marks", 1, 3),
    _Wish("rows", 1, 4, 5),
    _Wish("sent", 1, 5),
    _Wish("recv", 1, 5),
    _Wish("bytes", 1, 5),
    _Wish("first", 1, 6),
    _Wish("ms", 1, 7),
    _Wish("bar", 1, 12, 24),
)
_ALWAYS: Final = ("cursor", "time", "cn", "rail", "flight", "sql", "marks", "rows", "ms")
_IN_WATERFALL: Final = ("cursor", "time", "cn", "rail", "flight", "sql", "marks", "ms", "bar")
WIDEST_BAR: Final = 80
_GROWTH: Final = ("across", "bar", "flight", "rows", "statement", "site")


@functools.lru_cache(maxsize=64)
def columns(
    width: int, *, driver: bool = True, connection: int = 2, waterfall: bool = False, joined: bool = False, sites: bool = False
) -> tuple[Column, ...]:
    """The columns of a line of `width` cells, from left to right.

    In a `waterfall` the bar replaces rows and bytes, and grows with the width. `driver` says
    whether the capture has more than one driver; `connection` is the width of its longest
    connection name, `joined` whether it has the two sides of a pooler, `sites` whether it has lines
    of code.
    """
    wishes = {wish.name: wish for wish in _ORDER}
    widths = {name: wishes[name].width for name in (_IN_WATERFALL if waterfall else _ALWAYS)}
    if waterfall:
        widths["bar"] = min(WIDEST_BAR, wishes["bar"].width + max(0, width - NARROWEST) * 7 // 20)
    widths["cn"] = max(widths["cn"], connection)
    if width >= MARKS_IN_WORDS:
        widths["marks"] = SPELLED_MARKS
    if sites and width >= SITES:
        widths["site"] = wishes["site"].width
    if joined and width >= ACROSS:
        widths["across"] = max(wishes["across"].width, connection + 2)

    def used() -> int:
        return 1 + sum(widths[name] + wishes[name].gap for name in widths)

    groups: list[tuple[str, ...]] = []
    if not waterfall:
        groups.append(("sent", "recv") if width >= SPLIT_BYTES else ("bytes",))
    if driver:
        groups.append(("driver",))
    if not waterfall:
        groups.append(("bar",))
    if width >= STATEMENTS:
        groups += [("statement",), ("first",)]
    for group in groups:
        wanted = sum(wishes[name].width + wishes[name].gap for name in group)
        comfort = 0 if group == ("bytes",) else 4
        if used() + wanted + comfort <= width:
            widths.update({name: wishes[name].width for name in group})
        else:
            break
    spare = width - used()
    if spare < 0:  # on the narrowest screens the flight and SQL share the space
        narrower = min(-spare, 9 if waterfall else 6)
        widths["flight"] -= narrower
        widths["sql"] += spare + narrower
        spare = 0
    comfortable = min(spare, SQL_COMFORT - SQL_MINIMUM)
    widths["sql"] += comfortable
    spare -= comfortable
    for name in _GROWTH:
        if name in widths and spare > 0 and not (waterfall and name == "bar"):
            more = max(0, min(spare // 2 if name in ("flight", "bar", "site") else spare, wishes[name].most - widths[name]))
            widths[name] += more
            spare -= more
    widths["sql"] += spare

    made = []
    position = 0
    for wish in _ORDER:
        if wish.name in widths:
            position += wish.gap
            made.append(Column(wish.name, position, widths[wish.name]))
            position += widths[wish.name]
    return tuple(made)
