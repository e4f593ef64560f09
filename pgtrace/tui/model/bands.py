"""The layout of the screen's lines: a pure function of its size and of what is open.

From the top: status 1, totals, tabs 1, the body (a pane), in the timeline the spelled line 1 and
the inspector, footer 1. The inspector has a fixed height, so that nothing jumps from row to row. If
the list would keep fewer than LIST_MINIMUM rows, or the screen is narrow, the inspector takes the
whole body.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SMALLEST: Final = (60, 12)
TABLE_WIDTH: Final = 110
"""From this width on the totals are a table; below, words on one line."""
LIST_MINIMUM: Final = 6
DRIVER_LINES: Final = 4
"""The most driver lines of the totals, without the line `+ n more`."""


@dataclass(frozen=True, slots=True)
class Bands:
    """The heights of the bands, and other settings that depend on the size."""

    fits: bool
    narrow: bool
    totals: int
    inspector: int
    """The height of the inspector; 0 while it is closed."""
    inspector_alone: bool
    """Whether the inspector takes the whole body, and hides the list and the spelled line."""


def bands(width: int, height: int, drivers: int, *, timeline: bool, inspector: bool) -> Bands:
    """The bands for a screen of that size. `drivers` is 0 if the driver lines are switched off."""
    fits = width >= SMALLEST[0] and height >= SMALLEST[1]
    narrow = width < TABLE_WIDTH
    rows = min(drivers, DRIVER_LINES + 1) if drivers > 1 and timeline and height >= 20 else 0
    totals = 1 if narrow else 2 + rows
    if not inspector:
        return Bands(fits, narrow, totals, 0, inspector_alone=False)
    wanted = max(13, height * 2 // 5)
    body = height - 3 - totals
    alone = narrow or body - wanted - 2 < LIST_MINIMUM
    return Bands(fits, narrow, totals, body if alone else wanted, inspector_alone=alone)
