"""The Findings pane: what costs round trips or fails, failures first, then by cost; below, the
evidence and the remedy of the selected finding.

Lines of evidence are rows of the timeline: `enter` goes to the first of them, among the rows of the
finding, and `esc` comes back. `y` copies the remedy. The cursor stays on its finding when the order
changes.
"""

from __future__ import annotations

import textwrap
from typing import ClassVar, Final

from textual.binding import BindingType
from textual.strip import Strip

from pgtrace import sqltext
from pgtrace.judge.finding import Finding
from pgtrace.judge.findings.kind import ROUND_TRIPS, Evidence
from pgtrace.report import advice
from pgtrace.tui.model import figures, rowtext
from pgtrace.tui.model.copying import Offer, safe
from pgtrace.tui.model.filtering import both, of_connection, of_driver, of_statement
from pgtrace.tui.model.keys import Hints
from pgtrace.tui.model.view import View
from pgtrace.tui.widgets.base import Chosen, ListWidget
from pgtrace.tui.widgets.bound import bindings
from pgtrace.tui.widgets.lines import Line, blank, rule

_TITLE_CELLS: Final = 11
_COST_CELLS: Final = 18
_NAME_CELLS: Final = 20
_DRIVER_CELLS: Final = 10
_CONNECTION_CELLS: Final = 10
_FLIGHT_CELLS: Final = 24
_FEWER_FLIGHT_CELLS: Final = 16
_NARROW: Final = 100
"""Below this width the driver is shown only beneath the list."""


class Findings(ListWidget):
    """The list of findings, and one of them in full."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("findings")
    HINTS: ClassVar[Hints] = (("enter", "its round trips"), ("y", "copy the remedy"), ("1", "timeline"), ("?", "help"))
    HEADS = 1

    def __init__(self, view: View, *, id: str | None = None) -> None:
        super().__init__(view, id=id)
        self._chosen: tuple[str, ...] = ()
        self._detail_lines: list[Strip] = []

    @property
    def finding(self) -> Finding | None:
        """The finding under the cursor."""
        findings = self.view.findings
        return findings[self.cursor] if self.cursor < len(findings) else None

    def offers(self) -> list[Offer]:
        """What can be copied of the finding under the cursor."""
        finding = self.finding
        return [] if finding is None else [Offer("r", "remedy", lambda: safe("\n".join(finding.remedies)))]

    def count(self) -> int:
        return len(self.view.findings)

    @property
    def page_lines(self) -> int:
        return max(1, self.size.height - self.HEADS - len(self._detail_lines))

    def build(self, width: int, height: int) -> list[Strip]:
        names = [_identity(finding) for finding in self.view.findings]
        if self._chosen in names:
            self.cursor = names.index(self._chosen)
        self.cursor = max(0, min(self.cursor, len(names) - 1))
        finding = self.finding
        self._detail_lines = self._in_full(finding, width)[: max(0, height * 2 // 3)] if finding is not None else []
        listed = super().build(width, height)
        if finding is None:
            return [*listed, Line(self.view.pen, width).add(f" {self._nothing()}", "dim").strip()]
        return [*listed, *[blank(self.view.pen, width)] * (height - len(listed) - len(self._detail_lines)), *self._detail_lines]

    def _nothing(self) -> str:
        """The text that is shown instead of findings: "nothing found" only if nothing failed."""
        if self.view.is_filtered:
            return "counting …" if self.view.selected is None else "no finding among what the filter selects; esc shows all"
        left = self.view.snapshot.unexplained
        so_far = " so far" if self.view.reading.growing else ""
        return f"no finding{so_far}; {advice.left(left)}" if left else f"nothing found{so_far}{self.view.how_to_begin}"

    def heads(self, width: int) -> list[Strip]:
        line = Line(self.view.pen, width, "head").add("  cost", "dim", _COST_CELLS + 1).add("finding", "dim", _NAME_CELLS)
        if width >= _NARROW:
            line.add("driver", "dim", _DRIVER_CELLS + 1)
        return [line.add("cn", "dim", _CONNECTION_CELLS).add("what happened", "dim").strip()]

    def line(self, index: int, width: int, *, selected: bool) -> Strip:
        finding = self.view.findings[index]
        line = Line(self.view.pen, width, "selected" if selected else "background").add("▌" if selected else " ", "you")
        line.add("✗" if finding.failed else _number(finding), "error" if finding.failed else "strong", 5, right=True)
        line.add(f" {_unit(finding)}", "dim", _COST_CELLS - 5).add(finding.name, "text", _NAME_CELLS)
        if width >= _NARROW:
            line.add(rowtext.plain(finding.driver, _DRIVER_CELLS), "dim", _DRIVER_CELLS + 1)
        line.add(self._connections(finding, _CONNECTION_CELLS - 1), "text", _CONNECTION_CELLS - 1).add(" ")
        return line.add(rowtext.plain(finding.what, line.room, self.sideways)).strip()

    def _connections(self, finding: Finding, width: int) -> str:
        """The connections of a finding, as many as fit, and the number of others."""
        names = [self.view.connection_name(number) for number in finding.note.connections]
        every = len(names) + finding.note.more_connections
        shortened = [" ".join([*names[:kept], *([f"+{every - kept}"] if every > kept else [])]) for kept in range(len(names), 0, -1)]
        return next((one for one in shortened if len(one) <= width), shortened[-1] if shortened else "")

    def moved(self) -> None:
        finding = self.finding
        self._chosen = _identity(finding) if finding is not None else ()
        super().moved()

    def open(self) -> None:
        finding = self.finding
        if finding is not None and finding.evidence:
            self.moved()
            places = tuple(evidence.place for evidence in finding.evidence)
            self.post_message(Chosen(self._filter(finding, places), places))

    def _filter(self, finding: Finding, places: tuple[int, ...]) -> str:
        """The filter for a finding's rows: its connections (or, if they are too many, its driver),
        and its statement, if all evidence has the same one.
        """
        view, note = self.view, finding.note
        rows = [view.trace.rows[place] for place in places]
        numbers = dict.fromkeys([*note.connections, *(row.connection for row in rows)])
        connections = " or ".join(of_connection(view.connection_name(number)) for number in sorted(numbers))
        who = of_driver(finding.driver) if note.more_connections else connections
        statements = {sqltext.fingerprint(row.label.sql) if row.label.sql else "" for row in rows}
        return both(who, of_statement(rows[0].label.sql)) if len(statements) == 1 else who

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "open":
            return self.finding is not None and bool(self.finding.evidence)
        return True

    def action_open(self) -> None:
        self.open()

    def _in_full(self, finding: Finding, width: int) -> list[Strip]:
        """The lines of one finding: what, why, evidence and remedy."""
        trace = self.view.trace
        title = f"{finding.name} · {rowtext.plain(advice.who(finding), 30)} · {advice.connections(trace, finding)}"
        lines = [rule(self.view.pen, width, title, "enter: the evidence in the timeline")]
        lines += self._text("what", finding.what, "text", width)
        lines += [self._evidence("" if number else "evidence", one, width) for number, one in enumerate(finding.evidence)]
        for remedy in finding.remedies:
            lines += self._text("remedy", remedy, "text", width)
        return lines + self._text("why", finding.kind.why, "dim", width)

    def _text(self, title: str, text: str, role: str, width: int) -> list[Strip]:
        safe = rowtext.plain(text, 8 * width)
        wrapped = textwrap.wrap(safe, max(20, width - _TITLE_CELLS - 2), break_on_hyphens=False) or [""]
        return [
            Line(self.view.pen, width).add(f" {'' if number else title}", "dim", _TITLE_CELLS).add(line, role).strip()
            for number, line in enumerate(wrapped)
        ]

    def _evidence(self, title: str, evidence: Evidence, width: int) -> Strip:
        row = self.view.trace.rows[evidence.place]
        pen = self.view.pen
        line = Line(pen, width).add(f" {title}", "dim", _TITLE_CELLS)
        line.add(figures.seconds(row.opened_ns), "dim", 8, right=True).add("  ")
        line.add(self.view.connection_name(row.connection), "text", self.view.connection_cells).add("  ")
        flight_cells = _FLIGHT_CELLS if width >= _NARROW else _FEWER_FLIGHT_CELLS
        flight = rowtext.flight(self.view.listing.item(evidence.place), pen, flight_cells)
        start = line.used
        for run, role in rowtext.flight_runs(flight, pen):
            line.add(run, role)
        line.to(start + flight_cells + 1).add(rowtext.plain(evidence.words, line.room), "text")
        if line.room > 20 and row.label.sql:
            line.add("  ").add(rowtext.sql(row.label.sql, line.room), "dim")
        return line.strip()


def _identity(finding: Finding) -> tuple[str, ...]:
    return finding.name, finding.driver, finding.layer, finding.note.subject


def _number(finding: Finding) -> str:
    number = finding.number
    return figures.count(int(number)) if number == int(number) else f"{number:g}"


def _unit(finding: Finding) -> str:
    if finding.kind.unit is ROUND_TRIPS and finding.number == 1:
        return "round trip"
    return f"{finding.kind.unit} ×{finding.number}" if finding.failed and finding.number > 1 else finding.kind.unit
