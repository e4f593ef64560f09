"""The Drivers pane: counters down, drivers across, so that what differs between drivers stands out.
A driver has a column for each of its variants, if they are known (model/variants.py).

A row in which all drivers agree is dim. `a` switches between totals and values per execution; `h l`
go from driver to driver, and scroll if not all fit; `enter` shows the round trips that the cell
under the cursor counts, by a filter. The cursor stays on its driver when the order changes. Flights
and evidence at the end are the driver's signature; `+` is a layer above it, `name[pid]` a process
that it runs in.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

from textual.binding import BindingType
from textual.strip import Strip

from pgtrace.report import about
from pgtrace.trace.connection import Connection
from pgtrace.trace.counters import Counters
from pgtrace.tui.model import cells, figures, rowtext
from pgtrace.tui.model.definitions import DEFINITIONS
from pgtrace.tui.model.keys import Hints
from pgtrace.tui.model.view import View
from pgtrace.tui.widgets import totals
from pgtrace.tui.widgets.base import Chosen, ListWidget
from pgtrace.tui.widgets.bound import bindings
from pgtrace.tui.widgets.lines import Line

_FLIGHTS: Final = 4
_NAME_CELLS: Final = 14
"""The width of a driver's name before its evidence, in cells."""
_EVIDENCE_CELLS: Final = 120
_LOOKED_AT: Final = 20
"""How many connections of a driver are searched for evidence, layers and processes."""


@dataclass(frozen=True, slots=True)
class _Counter:
    """A row of the table: one or two counters of docs/counting.md."""

    title: str
    values: Callable[[Counters], tuple[int, ...]]
    sizes: bool = False
    per_execution: bool = True
    filter: str = ""
    """The filter for its round trips, among those of a driver."""


_GROUPS: Final[tuple[tuple[str, tuple[_Counter, ...]], ...]] = (
    (
        "waiting",
        (
            _Counter("round trips", lambda c: (c.round_trips,)),
            _Counter("executions", lambda c: (c.executions,), per_execution=False, filter="depth > 0"),
            _Counter("pipelined executions", lambda c: (c.pipelined_executions,), filter="depth > 1"),
            _Counter("deepest pipeline", lambda c: (c.max_pipeline_depth,), per_execution=False, filter="depth > 1"),
            _Counter("transactions", lambda c: (c.transactions,), filter="tx"),
        ),
    ),
    (
        "preparing",
        (
            _Counter("Parse named / unnamed", lambda c: (c.parses_named, c.parses_unnamed), filter="type:Parse"),
            _Counter("statements reused", lambda c: (c.statements_reused,), filter="type:Bind"),
            _Counter("statements live", lambda c: (c.statements_live,), per_execution=False, filter="type:Parse"),
            _Counter("Query", lambda c: (c.queries,), filter="type:Query"),
            _Counter("Bind / Execute", lambda c: (c.binds, c.executes), filter="type:Bind"),
            _Counter("Describe / Close", lambda c: (c.describes, c.closes), filter="(type:Describe or type:Close)"),
            _Counter("Sync / Flush", lambda c: (c.syncs, c.flushes), filter="(type:Sync or type:Flush)"),
        ),
    ),
    (
        "formats",
        (
            _Counter("parameters binary / text", lambda c: (c.params_binary, c.params_text), filter="type:Bind"),
            _Counter("values binary / text", lambda c: (c.values_binary, c.values_text), filter="rows > 0"),
        ),
    ),
    (
        "traffic",
        (
            _Counter("sent / received bytes", lambda c: (c.frontend_bytes, c.backend_bytes), sizes=True),
            _Counter("rows", lambda c: (c.rows,), filter="rows > 0"),
            _Counter("COPY in / out messages", lambda c: (c.copy_in_messages, c.copy_out_messages), filter="type:CopyData"),
            _Counter("errors", lambda c: (c.errors,), filter="error"),
            _Counter(
                "notices / notifications",
                lambda c: (c.notices, c.notifications),
                filter="(type:NoticeResponse or type:NotificationResponse)",
            ),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line: a title with one cell for each driver, or with text; the heading of a group has
    neither.
    """

    title: str
    cells: tuple[str, ...] = ()
    role: str = "text"
    words: str = ""
    filter: str = ""


class Drivers(ListWidget):
    """The table of drivers."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("drivers")
    HINTS: ClassVar[Hints] = (("enter", "its round trips"), ("h l", "driver"), ("a", "per execution"), ("1", "timeline"), ("?", "help"))
    HEADS = 1

    def __init__(self, view: View, *, id: str | None = None) -> None:
        super().__init__(view, id=id)
        self.per_execution = False
        self._chosen = "", ""
        self._left = 0
        self._entries: list[_Entry] = []

    @property
    def chosen(self) -> int:
        """The place of the column under the cursor."""
        return next((number for number, one in enumerate(self.view.variants) if (one.driver, one.name) == self._chosen), 0)

    def count(self) -> int:
        return len(self._entries)

    @property
    def column_looked_at(self) -> str:
        entry = self._entries[self.cursor] if self.cursor < len(self._entries) else None
        return entry.title if entry is not None and entry.title in DEFINITIONS["drivers"] else ""

    def build(self, width: int, height: int) -> list[Strip]:
        self._entries = self._table()
        shown, drivers = self._shown(width), len(self.view.variants)
        self._left = max(0, min(self._left, self.chosen, drivers - shown), self.chosen - shown + 1)
        return super().build(width, height)

    def heads(self, width: int) -> list[Strip]:
        first, cell = self._sizes(width)
        drivers = self.view.variants
        hidden = len(drivers) - self._shown(width)
        line = Line(self.view.pen, width).add(" per execution" if self.per_execution else "", "attention", first - 12)
        line.add(f"+ {hidden}: h l" if hidden > 0 else "", "dim", 12, right=True)
        for number in range(self._left, min(len(drivers), self._left + self._shown(width))):
            name = rowtext.plain(drivers[number].driver, cell - 3)
            chosen = number == self.chosen
            line.add(f"▌{name}" if chosen else name, "you" if chosen else "strong", cell, right=True)
        return [line.strip()]

    def line(self, index: int, width: int, *, selected: bool) -> Strip:
        entry = self._entries[index]
        heads_group = not entry.cells and not entry.words
        line = Line(self.view.pen, width, "selected" if selected else "head" if heads_group else "background")
        line.add("▌" if selected else " ", "you")
        first, cell = self._sizes(width)
        if heads_group:
            return line.add(entry.title, "dim").strip()
        if entry.words:
            return line.add(f"  {entry.title}", "text", _NAME_CELLS).add(entry.words, "dim").strip()
        same = len(entry.cells) > 1 and len(set(entry.cells)) == 1
        line.add(f"  {entry.title}", "dim", first - 1)
        for number in range(self._left, min(len(entry.cells), self._left + self._shown(width))):
            text = entry.cells[number]
            role = "faint" if text == "·" else "dim" if same else entry.role
            line.add("  ").add(text, role, cell - 2, right=True)
        return line.strip()

    def open(self) -> None:
        drivers = self.view.variants
        if drivers:
            entry = self._entries[self.cursor] if self.cursor < len(self._entries) else None
            self.post_message(Chosen(f"{drivers[self.chosen].filter} {entry.filter if entry is not None else ''}".strip()))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return bool(self.view.drivers) if action == "open" else True

    def action_open(self) -> None:
        self.open()

    def action_per_execution(self) -> None:
        """Switch between totals and values per execution."""
        self.per_execution = not self.per_execution
        self.redraw()

    def action_sideways(self, steps: int) -> None:
        drivers = self.view.variants
        if drivers:
            chosen = drivers[max(0, min(self.chosen + steps, len(drivers) - 1))]
            self._chosen = chosen.driver, chosen.name
        self.redraw()

    def _sizes(self, width: int) -> tuple[int, int]:
        """The widths of the titles and of one driver, so that as many drivers as possible are
        visible.
        """
        first, least = (30, 16) if width < 100 else (38, 18)
        return first, max(least, min(22, (width - first) // max(1, len(self.view.variants))))

    def _shown(self, width: int) -> int:
        first, cell = self._sizes(width)
        return max(1, (width - first) // cell)

    def _table(self) -> list[_Entry]:
        drivers = self.view.variants
        if not drivers:
            return [_Entry(self._nothing)]
        entries = [_Entry("variant", tuple(one.short for one in drivers), "strong")] if any(one.name for one in drivers) else []
        entries += [
            _Entry("connecting"),
            _Entry("connections", tuple(str(driver.connections) for driver in drivers)),
            _Entry("set-up round trips each", tuple(f"{d.counters.setup_round_trips / max(1, d.connections):.1f}" for d in drivers)),
        ]
        for title, counters in _GROUPS:
            entries.append(_Entry(title))
            for counter in counters:
                cells = tuple(self._cell(counter, driver.counters) for driver in drivers)
                entries.append(_Entry(counter.title, cells, "error" if counter.title == "errors" else "text", filter=counter.filter))
                if counter.title == "executions":
                    entries.append(_Entry("wait ms", tuple(figures.milliseconds(d.counters.wait_ns) for d in drivers)))
                    entries.append(_Entry("round trips / execution", tuple(totals.ratio(d.counters) for d in drivers), "strong"))
        rows = self.view.selected if self.view.is_filtered else None
        flights_of = rows.flights if rows is not None else self.view.survey.flights
        flights = [flights_of(functools.partial(self.view.is_of, variant=driver), _FLIGHTS) for driver in drivers]
        entries.append(_Entry("how it runs a query (most frequent flights)"))
        entries += self._columns([[self._flight(*flight) for flight in found] for found in flights], "frontend")
        entries.append(_Entry("known by"))
        for name in dict.fromkeys(one.driver for one in drivers):
            own = list(itertools.islice(self._connections(name), _LOOKED_AT))
            entries += self._known(name, [text for one in own for text in one.driver_evidence])
            for layer in dict.fromkeys(one.layer.name for one in own if one.layer.name):
                entries += self._known(f"+{layer}", [text for one in own if one.layer.name == layer for text in one.layer.evidence])
            entries += self._known("", [", ".join(dict.fromkeys(name for one in own if (name := about.process(one))))])
        return entries

    @property
    def _nothing(self) -> str:
        """Why there is no column."""
        if self.view.is_filtered:
            return "counting …" if self.view.counted.sums is None else "nothing matches the filter; esc shows all"
        return f"no drivers yet{self.view.how_to_begin}" if self.view.reading.growing else "no drivers"

    def _cell(self, counter: _Counter, counters: Counters) -> str:
        values = counter.values(counters)
        if not any(values):
            return "·"
        if self.per_execution and counter.per_execution:
            return " / ".join(_share(value, counters.executions) for value in values)
        return " / ".join(figures.count(value) if counter.sizes else str(value) for value in values)

    def _flight(self, flight: str, times: int) -> str:
        """A flight and how often it was sent, in the width of a cell; the number is never cut
        off."""
        often = f" ×{times}"
        return cells.cut(flight, self._sizes(self.size.width)[1] - 2 - len(often)) + often

    def _columns(self, texts: list[list[str]], role: str) -> list[_Entry]:
        """Lists of different lengths as lines of a table."""
        longest = max((len(column) for column in texts), default=0)
        return [_Entry("", tuple(column[number] if number < len(column) else "" for column in texts), role) for number in range(longest)]

    def _connections(self, driver: str) -> Iterator[Connection]:
        return (connection for connection in self.view.trace.connections if self.view.driver(connection.index) == driver)

    def _known(self, name: str, texts: list[str]) -> list[_Entry]:
        """Lines with the evidence for a name, which precedes the first; empty without evidence."""
        found = [rowtext.plain(text, _EVIDENCE_CELLS) for text in dict.fromkeys(texts) if text][:_FLIGHTS]
        return [_Entry("" if number else rowtext.plain(name, _NAME_CELLS - 3), words=text) for number, text in enumerate(found)]


def _share(value: int, executions: int) -> str:
    """The value per execution, with three significant digits."""
    share = value / executions if executions else 0.0
    return "·" if not executions else f"{share:.2f}" if share < 10 else figures.count(round(share))
