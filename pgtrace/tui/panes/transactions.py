"""The Transactions pane: one line for each transaction, with its costliest statement, its duration,
and its idle time.

`━` is a round trip, `┄` the time between: the server waits for the application and holds its locks.
Open transactions come first, and grow. All bars have the same scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual.binding import BindingType
from textual.strip import Strip

from pgtrace.describe.arguments import counted
from pgtrace.trace.transactions import LOST, UNSEEN, Transaction
from pgtrace.tui.model import figures, rowtext
from pgtrace.tui.model.copying import Offer, safe
from pgtrace.tui.model.fields import Field, Runs, number
from pgtrace.tui.model.filtering import of_connection
from pgtrace.tui.model.theme import Pen
from pgtrace.tui.widgets.base import Chosen
from pgtrace.tui.widgets.bound import bindings
from pgtrace.tui.widgets.details import labelled, wrapped
from pgtrace.tui.widgets.lines import Line
from pgtrace.tui.widgets.table import SLICE, TablePane


def _flights(item: Transaction) -> str:
    flights = [flight if times == 1 else f"({flight})×{times}" if " " in flight else f"{flight}×{times}" for flight, times in item.flights]
    return " · ".join(flights) + (" …" if item.more_flights else "")


def _costliest(item: Transaction, width: int) -> str:
    """The statement that took longest in total, and its number of round trips."""
    sql, _, times = item.costliest
    often = f" ×{times}" if times > 1 else ""
    return rowtext.sql(sql, max(1, width - len(often))) + often if sql else ""


def _end(item: Transaction) -> tuple[str, str]:
    if item.is_open:
        return "open", "error" if item.failed else "attention"
    return item.end, "error" if item.failed or item.end in (LOST, UNSEEN) else "text" if item.end == "COMMIT" else "attention"


def _share(pane: Transactions, item: Transaction) -> float:
    duration_ns = item.duration_ns(pane.now_ns)
    return item.idle_ns(pane.now_ns) / duration_ns if duration_ns else 0.0


def bar(item: Transaction, now_ns: int, longest_ns: int, width: int) -> Runs:
    """A bar of its round trips and the time between them; the longest transaction takes all `width`
    cells.
    """
    halves = 2 * width
    scale = halves / max(1, longest_ns)
    end = max(1, min(halves, round(item.duration_ns(now_ns) * scale)))
    served = bytearray(end)
    spans = [*item.spans, item.under_way_ns, now_ns] if item.under_way_ns is not None else item.spans
    for begun_ns, ended_ns in zip(spans[::2], spans[1::2], strict=True):
        first = min(end - 1, int((begun_ns - item.opened_ns) * scale))
        last = min(end, max(first + 1, round((ended_ns - item.opened_ns) * scale)))
        served[first:last] = b"\1" * (last - first)
    served.extend(bytes(end % 2))
    role = "error" if item.failed else "bar"
    runs: Runs = []
    for left, right in zip(served[::2], served[1::2], strict=True):
        glyph, own = ("━" if left and right else "╸" if left else "╺" if right else "┄"), role if left or right else "faint"
        if runs and runs[-1][1] == own:
            runs[-1] = (runs[-1][0] + glyph, own)
        else:
            runs.append((glyph, own))
    return runs


class Transactions(TablePane[Transaction]):
    """The table of transactions."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("transactions")
    FIELDS = (
        Field("time", 9, lambda p, t, w: [(figures.seconds(t.opened_ns), "dim")], gap=0, key=lambda p, t: t.opened_ns),
        Field("cn", 3, lambda p, t, w: [(p.view.connection_name(t.connection), "text")], right=False),
        Field("driver", 8, lambda p, t, w: [(rowtext.plain(p.view.driver(t.connection), w), "dim")], rank=2, right=False),
        Field("rt", 4, lambda p, t, w: number(t.round_trips, w, "strong"), key=lambda p, t: t.round_trips),
        Field("exec", 5, lambda p, t, w: number(t.executions, w), key=lambda p, t: t.executions),
        Field("err", 3, lambda p, t, w: number(t.errors, w, "error"), rank=1, key=lambda p, t: t.errors),
        Field("costliest statement", 0, lambda p, t, w: [(_costliest(t, w), "text")], right=False),
        Field("flights", 30, lambda p, t, w: [(rowtext.plain(_flights(t), w), "frontend")], rank=5, right=False),
        Field("end", 8, lambda p, t, w: [_end(t)], right=False),
        Field("ms", 8, lambda p, t, w: [(figures.milliseconds(t.duration_ns(p.now_ns)), "text")], key=lambda p, t: t.duration_ns(p.now_ns)),
        Field("idle", 8, lambda p, t, w: [(figures.milliseconds(t.idle_ns(p.now_ns)), "text")], key=lambda p, t: t.idle_ns(p.now_ns)),
        Field("idle %", 6, lambda p, t, w: [(f"{100 * _share(p, t):.0f}%", "dim")], rank=3, key=_share),
        Field("bar", 20, lambda p, t, w: bar(t, p.now_ns, p.longest_ns, w), rank=4, right=False, title="0 ms"),
    )
    SORTS = ("ms", "idle", "idle %", "rt", "exec", "err", "time")
    LEAST = 14
    NOTHING = "no transactions"

    now_ns = 0
    longest_ns = 0

    def gather(self) -> Iterator[list[Transaction] | None]:
        self.now_ns = self.view.reading.now_ns
        found = list(self.view.survey.transactions)
        if self.view.is_filtered:
            rows, every, found = self.view.selected, found, []
            for number, one in enumerate(every):
                last = len(self.view.trace.rows) if one.is_open else one.last
                if rows is not None and rows.any_between(one.connection, one.first, last):
                    found.append(one)
                if not number % SLICE:
                    yield None
        self.longest_ns = max((one.duration_ns(self.now_ns) for one in found), default=0)
        yield found

    def identity(self, item: Transaction) -> object:
        return id(item)

    def first(self, item: Transaction) -> bool:
        return item.is_open

    def filter(self, item: Transaction) -> str:
        return f"{self._of_connection(item)} rt >= {item.first + 1}" + ("" if item.is_open else f" rt <= {item.last + 1}")

    def _of_connection(self, item: Transaction) -> str:
        return of_connection(self.view.connection_name(item.connection))

    def offers(self) -> list[Offer]:
        item = self.item
        return [] if item is None else [Offer("f", "flights", lambda: safe(_flights(item)))]

    def action_connection(self) -> None:
        """Show all rows of the transaction's connection."""
        if self.item is not None:
            self.post_message(Chosen(self._of_connection(self.item)))

    def note(self) -> str:
        if self.view.is_filtered and self.items:
            return "whole transactions with a round trip that the filter selects"
        dropped = self.view.survey.transactions.dropped
        return f"{figures.grouped(dropped)} shorter ones are not kept" if dropped else ""

    def title(self, item: Transaction) -> str:
        return f"transaction · {self.view.connection_name(item.connection)} {rowtext.plain(self.view.driver(item.connection), 20)}"

    def details(self, item: Transaction, width: int) -> Iterator[Strip]:
        pen, now_ns = self.view.pen, self.now_ns
        parts = [counted(item.round_trips, "round trip"), counted(item.executions, "execution"), counted(item.errors, "error")]
        yield labelled(pen, width, "cost", (", ".join(parts), "text"))
        duration, idle = (figures.milliseconds(time_ns) for time_ns in (item.duration_ns(now_ns), item.idle_ns(now_ns)))
        yield labelled(pen, width, "time", (f"{duration} ms, {idle} of them idle", "text"), ("   " + _idle_in_words(self, item), "dim"))
        sql, took_ns, times = item.costliest
        if sql:
            often = f"   {figures.milliseconds(took_ns)} ms in {counted(times, 'round trip')}"
            yield labelled(pen, width, "costliest", (rowtext.sql(sql, max(20, width - 14 - len(often))), "text"), (often, "dim"))
        text, role = _end(item)
        aside = "" if item.began_seen else "   its beginning is not in the capture"
        yield labelled(pen, width, "end", (text, role), (_why(item) + aside, "dim"))
        yield from wrapped(pen, width, _flights(item), "frontend", most=max(1, self.details_lines - 7))
        yield _picture(pen, width, bar(item, now_ns, item.duration_ns(now_ns), max(1, width - 2)))
        yield labelled(
            pen,
            width,
            "",
            ("━", "bar"),
            (" round trip   ", "dim"),
            ("┄", "faint"),
            (" the application thinks, the server holds locks", "dim"),
        )


def _idle_in_words(pane: Transactions, item: Transaction) -> str:
    return f"{100 * _share(pane, item):.0f} % between round trips"


def _why(item: Transaction) -> str:
    if item.end == LOST:
        return "   the connection ended first"
    if item.end == UNSEEN:
        return "   the next round trip is outside it: its end is in a gap"
    return "   the transaction had failed" if item.failed else ""


def _picture(pen: Pen, width: int, runs: Runs) -> Strip:
    line = Line(pen, width).add(" ")
    for text, role in runs:
        line.add(text, role)
    return line.strip()
