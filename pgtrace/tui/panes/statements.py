"""The Statements pane: one line for each statement under one driver, by its cost in round trips.

The numbers are those of `stats --by statement`. A round trip that several statements share counts
for each of them; the pane says so if that happens. Below: the SQL in full, its flights and how
often each was sent, its cost in words, its names and how they ended, and the findings for which it
is evidence. `D` joins the lines of a statement that several drivers run, or splits them again.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import ClassVar

from textual.binding import BindingType
from textual.strip import Strip

from pgtrace.describe.arguments import counted
from pgtrace.trace.groups import NAMES_KEPT, StatementGroup
from pgtrace.trace.histogram import Histogram
from pgtrace.trace.totals import StatementView
from pgtrace.tui.model import figures, rates, rowtext
from pgtrace.tui.model.copying import Offer, safe
from pgtrace.tui.model.fields import Field, Runs, number
from pgtrace.tui.model.filtering import of_driver, of_group
from pgtrace.tui.model.keys import Hints
from pgtrace.tui.widgets.bound import bindings
from pgtrace.tui.widgets.details import LABEL_CELLS, labelled, wrapped
from pgtrace.tui.widgets.lines import Line
from pgtrace.tui.widgets.table import SLICE, TablePane

_BAR_CELLS = 8
_AND = ", "
"""The separator between the drivers of one statement."""
_SEEN_ON = 8
_FLIGHTS = 6
_HISTOGRAM_CELLS = 24


def _ratio(view: StatementView) -> float:
    return view.group.round_trips / view.group.executions if view.group.executions else 0.0


def _formats(view: StatementView) -> str:
    group = view.group
    return "m" if group.values_text and group.values_binary else "b" if group.values_binary else "t" if group.values_text else ""


def _bar(pane: Statements, view: StatementView, width: int) -> Runs:
    """Round trips relative to the most expensive statement, in half cells."""
    halves = round(2 * width * view.group.round_trips / max(1, pane.most_round_trips))
    halves = max(halves, 1) if view.group.round_trips else 0
    return [("━" * (halves // 2) + "╸" * (halves % 2), "bar")]


def _ms(duration_ns: int, role: str = "text") -> Runs:
    return [(figures.milliseconds(duration_ns), role)] if duration_ns else [("·", "faint")]


def _drivers(view: StatementView) -> str:
    """The driver of a statement, or the number of its drivers."""
    drivers = view.driver.split(_AND)
    return view.driver if len(drivers) == 1 else f"all {len(drivers)}"


def _sql(pane: Statements, view: StatementView, width: int) -> Runs:
    return [(rowtext.further(view.group.sql, pane.sideways, width) if pane.sideways else rowtext.sql(view.group.sql, width), "text")]


def _histogram(wait: Histogram) -> Runs:
    """A histogram of the waits, on a logarithmic scale from the shortest to the longest."""
    shown = wait.shares(_HISTOGRAM_CELLS)
    least, most = (figures.milliseconds(edge) for edge in (shown[0][0], shown[-1][1]))
    return [(f"{least} ", "dim"), (rates.blocks([times for _, _, times in shown], " "), "bar"), (f" {most} ms", "dim")]


class Statements(TablePane[StatementView]):
    """The table of statements."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("statements")
    FIELDS = (
        Field("rt", 6, lambda p, v, w: number(v.group.round_trips, w, "strong"), gap=0, key=lambda p, v: v.group.round_trips),
        Field("bar", _BAR_CELLS, _bar, rank=3, right=False, title=""),
        Field("exec", 5, lambda p, v, w: number(v.group.executions, w), key=lambda p, v: v.group.executions),
        Field("rt/ex", 5, lambda p, v, w: [(f"{_ratio(v):.2f}" if v.group.executions else "·", "text")], key=lambda p, v: _ratio(v)),
        Field("parse", 5, lambda p, v, w: number(v.group.parses, w), key=lambda p, v: v.group.parses),
        Field("reused", 6, lambda p, v, w: number(v.group.reused, w), rank=1),
        Field("live", 4, lambda p, v, w: number(v.group.live, w), key=lambda p, v: v.group.live),
        Field("fmt", 3, lambda p, v, w: [(_formats(v) or "–", "dim")], rank=1, right=False),
        Field(
            "rows",
            5,
            lambda p, v, w: [(figures.count(v.group.rows), "text" if v.group.rows else "faint")],
            rank=5,
            key=lambda p, v: v.group.rows,
        ),
        Field("p50", 6, lambda p, v, w: _ms(v.group.wait.percentile(50)), rank=4, key=lambda p, v: v.group.wait.percentile(50)),
        Field("p95", 6, lambda p, v, w: _ms(v.group.wait.percentile(95)), rank=6, key=lambda p, v: v.group.wait.percentile(95)),
        Field("max", 6, lambda p, v, w: _ms(v.group.wait.max), rank=7, key=lambda p, v: v.group.wait.max),
        Field("all ms", 7, lambda p, v, w: _ms(v.group.wait.total), key=lambda p, v: v.group.wait.total),
        Field("err", 3, lambda p, v, w: number(v.group.errors, w, "error"), key=lambda p, v: v.group.errors),
        Field("driver", 8, lambda p, v, w: [(rowtext.plain(_drivers(v), w), "dim")], rank=2, right=False),
        Field("names", 14, lambda p, v, w: [(p.names(v, w), "dim")], rank=8, right=False),
        Field("SQL", 0, _sql, right=False),
    )
    SORTS = ("rt", "all ms", "exec", "rt/ex", "parse", "live", "rows", "p50", "p95", "max", "err")
    LEAST = 28
    NOTHING = "no statements"

    most_round_trips = 0
    _shared = False
    _together = False
    """Whether drivers are joined, with one line for each statement."""
    _shares: Mapping[int, list[tuple[str, int]]] = MappingProxyType({})
    """If drivers are joined: statement -> its drivers and their round trips."""

    def gather(self) -> Iterator[list[StatementView] | None]:
        found: list[StatementView] = []
        for gathered in self.view.trace.statements_by_slices():
            found = gathered or found
            yield None
        if self.view.is_filtered:
            found = yield from self._selected(found)
        if self._together:
            found = yield from self._over_all(found)
        most, shared = 0, False
        for place, view in enumerate(found):
            most = max(most, view.group.round_trips)
            shared |= view.group.round_trips > view.group.round_trips_alone
            if not place % SLICE:
                yield None
        self.most_round_trips, self._shared = most, shared
        yield found

    def _selected(self, found: list[StatementView]) -> Generator[None, None, list[StatementView]]:
        """The selected statements, with their numbers in the selected round trips."""
        rows, chosen = self.view.selected, []
        for place, view in enumerate(found):
            whole = view.group
            group = rows.statement(view.driver, whole.number) if rows is not None else None
            if group is not None:
                chosen.append(StatementView(view.driver, replace(group, sql=whole.sql, fingerprint=whole.fingerprint, names=whole.names)))
            if not place % SLICE:
                yield None
        return chosen

    def _over_all(self, found: list[StatementView]) -> Generator[None, None, list[StatementView]]:
        """The statements with the numbers of all drivers together; drivers are in order of their
        round trips.
        """
        by_number: dict[int, list[StatementView]] = {}
        for place, view in enumerate(found):
            by_number.setdefault(view.group.number, []).append(view)
            if not place % SLICE:
                yield None
        merged, shares = [], {}
        for place, (group, views) in enumerate(by_number.items()):
            views.sort(key=lambda view: -view.group.round_trips)
            whole = StatementGroup(views[0].group.sql, views[0].group.fingerprint, group)
            for view in views:
                whole.merge(view.group)
            merged.append(StatementView(_AND.join(view.driver for view in views), whole))
            shares[group] = [(view.driver, view.group.round_trips) for view in views]
            if not place % SLICE:
                yield None
        self._shares = shares
        return merged

    def hints(self) -> Hints:
        return (*self.HINTS[:-2], ("D", "each driver" if self._together else "drivers as one"), *self.HINTS[-2:])

    def identity(self, item: StatementView) -> object:
        return item.driver, item.group.number

    def action_over_all(self) -> None:
        """Switch between a line for each driver of a statement, and one for all of them."""
        self._together = not self._together
        self.gather_anew()

    def filter(self, item: StatementView) -> str:
        found = of_group(item.group)
        return f"{of_driver(item.driver)} {found}" if found and not self._together else found

    def offers(self) -> list[Offer]:
        item = self.item
        return (
            []
            if item is None
            else [Offer("s", "SQL", lambda: safe(item.group.sql)), Offer("n", "names", lambda: safe("\n".join(item.group.names)))]
        )

    def note(self) -> str:
        if self.view.is_filtered and self.items:
            return "of what the filter selects; ms are those of whole round trips"
        return "a round trip shared by several statements counts for each" if self._shared else ""

    def names(self, item: StatementView, width: int) -> str:
        """The names it was prepared under, without the driver's own prefix."""
        drivers = item.driver.split(_AND)
        names = [min((rowtext.statement_name(name, driver) for driver in drivers), key=len) for name in item.group.names]
        return rowtext.plain(" ".join(names), width)

    def title(self, item: StatementView) -> str:
        return " · ".join(part for part in ("statement", rowtext.plain(_drivers(item), 20), self.names(item, 20)) if part)

    def details(self, item: StatementView, width: int) -> Iterator[Strip]:
        pen, group, view = self.view.pen, item.group, self.view
        yield from wrapped(pen, width, group.sql, most=max(1, self.details_lines - 6))
        drivers = item.driver.split(_AND)
        seen = view.survey.sightings.of(group.number, lambda connection: view.driver(connection) in drivers)
        if seen is not None:
            flights = " · ".join(f"{flight} ×{times}" for flight, times in seen.flights.most_common(_FLIGHTS))
            more = len(seen.flights) - _FLIGHTS
            yield labelled(pen, width, "flights", (flights, "frontend"), (f"  + {more} others" if more > 0 else "", "dim"))
        if len(drivers) > 1:
            flights = " · ".join(f"{driver} {round_trips}" for driver, round_trips in self._shares[group.number])
            yield labelled(pen, width, "drivers", (rowtext.plain(flights, width), "text"), (" round trips", "dim"))
        cost = f"{counted(group.round_trips, 'round trip')} for {counted(group.executions, 'execution')}"
        shared = group.round_trips - group.round_trips_alone
        aside = f"   {counted(shared, 'of them')} shared with other statements".replace("of thems", "of them") if shared else ""
        waited = self._waited(item)
        if len(cost) + len(waited) > width - LABEL_CELLS:  # a number is never cut off
            cost = f"{group.round_trips} rt for {group.executions} exec"
        yield labelled(pen, width, "cost", (cost, "text"), (waited, "dim"), (aside, "dim"))
        if group.wait.count > 1:
            yield labelled(pen, width, "waits", *_histogram(group.wait))
        if group.parses:
            yield labelled(pen, width, "prepared", *self._prepared(item))
        if seen is not None:
            where = " ".join(view.connection_name(connection) for connection in sorted(seen.connections)[:_SEEN_ON])
            more = len(seen.connections) - _SEEN_ON
            when = f"   first {figures.seconds(seen.first_ns)}  last {figures.seconds(seen.last_ns)}"
            yield labelled(pen, width, "seen on", (where + (f" + {more} more" if more > 0 else ""), "text"), (when, "dim"))
        kinds = {"t": "text", "b": "binary", "m": f"{group.values_binary} values binary, {group.values_text} text"}
        yield labelled(
            pen, width, "results", (counted(group.rows, "row"), "text"), (f"   {kinds[_formats(item)]}" if _formats(item) else "", "dim")
        )

        for finding in view.snapshot.findings:
            rows = (view.trace.rows[evidence.place] for evidence in finding.evidence)
            if finding.driver in drivers and any(group.number in row.label.groups for row in rows):
                named = f"{finding.name} " + (f"{rowtext.plain(finding.driver, 20)} " if len(drivers) > 1 else "")
                yield Line(pen, width).add(" ! ", "attention").add(named, "dim").add(rowtext.plain(finding.what, width)).strip()

    def _waited(self, item: StatementView) -> str:
        wait = item.group.wait
        if not wait.count:
            return ""
        return "   ms p50 {}  p95 {}  max {}".format(*map(figures.milliseconds, (wait.percentile(50), wait.percentile(95), wait.max)))

    def _prepared(self, item: StatementView) -> Runs:
        """How often a statement was prepared, under which names, and who ended them."""
        group = item.group
        runs: Runs = [(f"{counted(group.parses, 'time')}, {group.reused} reused, {group.live} live", "text")]
        ended = [f"{times} ended by {how}" for how, times in group.ended.items()]
        runs.append((f", {', '.join(ended)}" if ended else "", "text"))
        if group.names:
            more = " …" if len(group.names) == NAMES_KEPT else ""
            runs.append((f"   {self.names(item, 60)}{more}", "dim"))
        return runs
