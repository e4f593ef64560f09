"""The totals: a table whose first line counts everything, and whose other lines count one driver
each. If there is only one driver, the first line has its name.

While a filter is in force, they count only matching round trips, and say so.

On a narrow screen the same counters are words on one line. Every number is a counter of
docs/counting.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from textual.strip import Strip

from pgtrace.trace.counters import Counters
from pgtrace.tui.model import figures, rowtext
from pgtrace.tui.model.bands import DRIVER_LINES
from pgtrace.tui.widgets.base import LineWidget
from pgtrace.tui.widgets.lines import Line

_NAME_CELLS: Final = 9

_FILTERED: Final = "filtered"
_COUNTING: Final = "counting …"

Cell = Callable[[int, Counters], str]


def ratio(counters: Counters) -> str:
    """Round trips per execution."""
    return f"{counters.round_trips / counters.executions:.2f}" if counters.executions else "·"


_TABLE: Final[tuple[tuple[str, int, str, Cell], ...]] = (
    ("conn", 5, "text", lambda connections, _: figures.whole(connections)),
    ("set-up", 7, "text", lambda _, c: figures.whole(c.setup_round_trips)),
    ("round trips", 12, "strong", lambda _, c: figures.whole(c.round_trips)),
    ("exec", 8, "text", lambda _, c: figures.whole(c.executions)),
    ("rt/ex", 6, "strong", lambda _, c: ratio(c)),
    ("pipelined", 10, "text", lambda _, c: figures.whole(c.pipelined_executions)),
    ("prepared", 9, "text", lambda _, c: figures.whole(c.parses_named)),
    ("reused", 8, "text", lambda _, c: figures.whole(c.statements_reused)),
    ("errors", 7, "error", lambda _, c: figures.whole(c.errors)),
    ("rows", 6, "text", lambda _, c: figures.count(c.rows)),
    ("sent", 6, "dim", lambda _, c: figures.count(c.frontend_bytes)),
    ("recv", 6, "dim", lambda _, c: figures.count(c.backend_bytes)),
    ("wait ms", 10, "text", lambda _, c: figures.milliseconds(c.wait_ns) if c.wait_ns else "·"),
)


class Totals(LineWidget):
    """The totals in the form that fits."""

    narrow = False
    driver_rows = True

    def build(self, width: int, height: int) -> list[Strip]:
        if self.narrow:
            return [self._words(width)]
        snapshot = self.view.snapshot
        sums = self.view.counted.sums
        filtered = self.view.is_filtered
        at_least = snapshot.gaps > 0 or (filtered and self.view.counted.is_behind)
        head = Line(self.view.pen, width, "head").to(1 + _NAME_CELLS)
        for title, cells, _, _ in _TABLE:
            head.add(title, "dim", cells, right=True)
        drawn = [head.strip()]
        if filtered and sums is None:
            drawn.append(Line(self.view.pen, width).add(" ").add(_FILTERED, "text", _NAME_CELLS).add(_COUNTING, "dim").strip())
        else:
            summed = (sums.connections, sums.totals) if filtered and sums is not None else (snapshot.connections, snapshot.totals)
            drawn.append(self._line(self._sum_name, *summed, width, "text", lower_bound=at_least))
        drivers = sorted(snapshot.drivers, key=lambda one: -one.counters.round_trips)
        for driver in drivers[:DRIVER_LINES] if height > 2 else ():
            own = (driver.connections, driver.counters)
            if filtered and sums is None:
                drawn.append(Line(self.view.pen, width).add(" ").add(rowtext.plain(driver.driver, _NAME_CELLS - 1), "dim").strip())
                continue
            if filtered and sums is not None:
                own = sums.drivers.get(driver.driver, (0, Counters()))
            drawn.append(self._line(driver.driver, *own, width, "dim"))
        if len(drivers) > DRIVER_LINES:
            drawn.append(Line(self.view.pen, width).add(f" + {len(drivers) - DRIVER_LINES} more", "dim").strip())
        return drawn

    @property
    def _sum_name(self) -> str:
        return _FILTERED if self.view.is_filtered else self.view.snapshot.all_name

    def _line(self, name: str, connections: int, counters: Counters, width: int, role: str, *, lower_bound: bool = False) -> Strip:
        line = Line(self.view.pen, width).add(" ").add(rowtext.plain(name, _NAME_CELLS - 1), role, _NAME_CELLS)
        for _, cells, own, cell in _TABLE:
            text = cell(connections, counters)
            if text == "·":
                own = "faint"
            elif lower_bound and cell is not _TABLE[0][3]:
                text = "≥" + text
            line.add(text, role if own == "text" else own, cells, right=True)
        return line.strip()

    def _words(self, width: int) -> Strip:
        """Counters as words; if not all fit, the least needed are left out."""
        sums = self.view.counted.sums
        if self.view.is_filtered and sums is None:
            return Line(self.view.pen, width).add(f" {_FILTERED}  ").add(_COUNTING, "dim").strip()
        c = sums.totals if self.view.is_filtered and sums is not None else self.view.snapshot.totals
        at_least = "≥" if self.view.snapshot.gaps or (self.view.is_filtered and self.view.counted.is_behind) else ""
        words = {
            "rt": (c.round_trips, "strong"),
            "set-up": (c.setup_round_trips, "text"),
            "exec": (c.executions, "text"),
            "prepared": (c.parses_named, "text"),
            "reused": (c.statements_reused, "text"),
            "error" if c.errors == 1 else "errors": (c.errors, "error" if c.errors else "text"),
        }
        for least in ("prepared", "reused", "set-up"):
            if sum(len(f" {at_least if number else ''}{number} {word} ") for word, (number, _) in words.items()) - 1 > width:
                del words[least]
        line = Line(self.view.pen, width)
        for word, (number, role) in words.items():
            line.add(" ").add(f"{at_least if number else ''}{number}", role).add(f" {word} ", "error" if role == "error" else "dim")
        name = rowtext.plain(self._sum_name, _NAME_CELLS - 1)
        if name != "all" and len(name) + 2 <= line.room:
            line.to(width - len(name) - 1).add(name, "dim")
        return line.strip()
