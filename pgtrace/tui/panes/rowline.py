"""One row of the timeline as one line of the screen.

rowtext has the texts, columns their places, and the pen their look. A mark and a gap take the whole
line; a row that is not a round trip has no duration. SQL that repeats the connection's previous
row, or the driver's side of a pooler, is dim, so that changes stand out. SQL begins right after a
short flight.
"""

from __future__ import annotations

import functools

from textual.strip import Strip

from pgtrace.trace.connection import Connection
from pgtrace.trace.row import RowKind
from pgtrace.tui.model import figures, rowtext
from pgtrace.tui.model.axis import FOR_NOBODY, IDLE, IN_POOLER, RECEIVING, WAITING, Axis, Part
from pgtrace.tui.model.columns import SPELLED_MARKS, Column
from pgtrace.tui.model.groups import Together
from pgtrace.tui.model.items import Item
from pgtrace.tui.model.surroundings import Surroundings
from pgtrace.tui.model.view import View
from pgtrace.tui.widgets.lines import Line

FLIGHT_HEAD = "sent → back"
_HEADS = {
    "cn": "cn",
    "driver": "driver",
    "flight": FLIGHT_HEAD,
    "sql": "SQL",
    "site": "called at",
    "statement": "statement",
    "across": "pair",
    "marks": "!+f",
    "rows": "rows",
    "sent": "sent",
    "recv": "recv",
    "bytes": "bytes",
    "first": "first",
    "ms": "ms",
}
SHORT_FLIGHT = 14
"""A flight of at most this many cells gives the rest of its column to SQL."""
_SQL_LEAST = 16
"""The least width for a statement next to what it waits for, in cells."""
_RIGHT = frozenset({"rows", "sent", "recv", "bytes", "first", "ms"})


def head(view: View, columns: tuple[Column, ...], width: int, axis: Axis) -> Strip:
    """The headings of the columns."""
    line = Line(view.pen, width, "head")
    for column in columns:
        if column.name == "sql":
            column = _widened(columns)
        line.to(column.start)
        if column.name == "time":
            line.add(view.times + ("" if view.times == "clock" else " "), "dim", column.width, right=True)
        elif column.name == "bar":
            line.add(axis.head(), "dim", column.width)
        elif column.name == "marks" and column.width >= SPELLED_MARKS:
            line.add("! statement format", "dim", column.width)
        else:
            width_of = min(column.width, SHORT_FLIGHT) if column.name == "flight" else column.width
            line.add(_HEADS.get(column.name, ""), "dim", width_of, right=column.name in _RIGHT)
    return line.strip()


def row(
    view: View,
    item: Item,
    columns: tuple[Column, ...],
    width: int,
    axis: Axis,
    near: Surroundings,
    *,
    selected: bool,
    same: bool = False,
) -> Strip:
    """One line of the list. `same` is the selected round trip on the other side of a pooler."""
    dims = view.listing.dims and not view.listing.filtering.everything
    matches = not dims or view.listing.matches(item)
    line = Line(view.pen, width, "selected" if selected else "background", only="" if matches else "dim")
    line.add("▌" if selected else "┊" if same else "/" if dims and matches else " ", "you")
    kind = item.row.shape.kind
    if kind is RowKind.MARK:
        return _mark(line, item)
    if kind is RowKind.GAP:
        return _gap(line, view, item, columns, near)
    wide = _widened(columns)
    dim = item.sum.kind is Together.SETUP or kind in (RowKind.OPAQUE, RowKind.UNDECODED)
    for column in columns[1:]:
        if column.name == "sql" and line.used < wide.start:
            column = wide
        line.to(column.start)
        _cell(line, view, item, column, axis, near, dim=dim)
    return line.strip()


@functools.lru_cache(maxsize=64)
def _widened(columns: tuple[Column, ...]) -> Column:
    """The column of SQL after a short flight, whose cells it gets."""
    flight, sql = (next(column for column in columns if column.name == name) for name in ("flight", "sql"))
    start = min(sql.start, flight.start + SHORT_FLIGHT + 1)
    return Column("sql", start, sql.end - start)


def _cell(line: Line, view: View, item: Item, column: Column, axis: Axis, near: Surroundings, *, dim: bool) -> None:
    first, width = item.row, column.width
    match column.name:
        case "time":
            text = rowtext.row_time(view.times, item.opened_ns, near.above_ns, near.same_ns, view.trace.start_ns)
            line.add(text, "dim", width, right=True)
        case "cn":
            line.add(" " * view.lanes.lane(first.connection) + view.connection_name(first.connection), "text", width)
        case "rail":
            if item.sum.kind is Together.TRANSACTION:
                line.add("▪", "dim", width)
            elif first.is_round_trip and item.sum.kind is not Together.SETUP:
                line.add(*rowtext.rail(first), width)
        case "driver":
            line.add(rowtext.plain(view.driver(first.connection), width), "dim", width)
        case "flight":
            text = rowtext.flight(item, view.pen, width)
            for run, role in [(text, "dim")] if dim else rowtext.flight_runs(text, view.pen):
                line.add(run, role)
        case "sql":
            connection = view.connection(first.connection)
            waiting = _waiting(view, item, connection)
            if waiting:
                _waits(line, item, waiting, width)
                return
            text, failed = rowtext.words(item, connection, width, near.sideways)
            alone = item.sum.kind is not Together.TRANSACTION and item.period == 1
            again = first.label.sql == near.same_sql or (view.lanes.is_behind(first.connection) and view.lanes.together(item.place))
            repeated = alone and bool(first.label.sql) and bool(again)
            line.add(text, "error" if failed else "dim" if dim or repeated else "text", width)
        case "statement":
            if first.shape.statement and item.period == 1:
                line.add(rowtext.plain(rowtext.statement_name(first.shape.statement, view.driver(first.connection)), width), "dim", width)
        case "site":
            if item.sum.kind in (Together.NOTHING, Together.REPEAT):
                line.add(rowtext.site(view.trace.call_sites.at(item.place), width), "dim", width)
        case "across":
            if not item.folded:
                line.add(*view.lanes.short(item.place, first), width)
        case "marks":
            found = any(map(view.is_found, item.places, (row.connection for row in item.rows)))
            for run, role in rowtext.marks(item, found=found, spelled=width >= SPELLED_MARKS):
                line.add(run, role)
        case "rows":
            text = figures.count(item.sum.rows) if item.sum.rows else ""
            line.add(("≥" + text) if item.sum.uncertain or item.sum.partial else text, "text", width, right=True)
        case "sent" | "recv" | "bytes":
            sent = item.sum.sent_bytes if column.name != "recv" else 0
            received = item.sum.received_bytes if column.name != "sent" else 0
            line.add(figures.count(sent + received) if sent + received else "", "dim", width, right=True)
        case "first":
            if first.is_round_trip and first.first_ns is not None:
                line.add(figures.milliseconds(first.first_ns), "dim", width, right=True)
        case "ms":
            if first.is_round_trip or first.shape.kind is RowKind.CANCEL:
                text = figures.milliseconds(view.item_end_ns(item) - item.opened_ns)
                line.add(("~" + text) if any(map(view.trace.waited_for_disk, item.rows)) else text, "text", width, right=True)
        case "bar":
            error = item.sum.errors
            for run, role in axis.bar(_parts(view, item, near, split=view.waterfall)):
                line.add(run, "error" if error and role == "bar" else role)
        case _:
            pass


def _waiting(view: View, item: Item, connection: Connection | None) -> str:
    """What an open round trip has been waiting for, after a while; else empty."""
    if connection is None or item.end_ns is not None or item.folded or not item.row.is_round_trip or item.row.label.end:
        return ""
    wait = view.wait_of(connection, item.opened_ns)
    return rowtext.waiting(wait, view.reading.now_ns, full=False) if wait is not None else ""


def _waits(line: Line, item: Item, waiting: str, width: int) -> None:
    """SQL and, after it, what the row waits for; without room for both, what it waits for."""
    room = width - len(waiting) - 2
    if room >= _SQL_LEAST and item.row.label.sql:
        line.add(rowtext.sql(item.row.label.sql, room)).add("  ")
    line.add(rowtext.plain(waiting, line.room), "attention", min(len(waiting), width))


def _parts(view: View, item: Item, near: Surroundings, *, split: bool) -> list[Part]:
    """The pieces of a bar, with the time in a pooler. When `split`, waiting and receiving are
    separate, and the driver's own time since the connection's previous row is added.
    """
    if not item.row.is_round_trip:
        return [(item.opened_ns, item.opened_ns, WAITING)]
    end_ns = view.item_end_ns(item)
    before = near.same_end_ns
    parts: list[Part] = [(before, item.opened_ns, IDLE)] if split and before is not None else []
    if item.folded:
        parts.append((item.opened_ns, end_ns, IDLE))
        return parts + [(begun, end_ns if ended is None else ended, WAITING) for begun, ended in item.sum.spans]
    if item.row.label.end.startswith("driver left") and item.end_ns is not None:
        left_ns = item.opened_ns + view.trace.rows.entry(item.place).wait_ns
        if item.opened_ns < left_ns < end_ns:
            parts.append((left_ns, end_ns, FOR_NOBODY))
            end_ns = left_ns
    inside = view.lanes.inside(item.place, item.row)
    if inside is not None:
        parts.append((item.opened_ns, end_ns, IN_POOLER))
        for _, behind in inside:
            ended_ns = end_ns if behind.duration_ns is None else min(end_ns, behind.opened_ns + behind.duration_ns)
            parts += _answered(behind.opened_ns, ended_ns, behind.first_ns, split=split)
        return parts
    return [*parts, *_answered(item.opened_ns, end_ns, item.row.first_ns, split=split)]


def _answered(opened_ns: int, end_ns: int, first_ns: int | None, *, split: bool) -> list[Part]:
    """The pieces of a round trip with its answer."""
    if split and first_ns is not None and opened_ns + first_ns <= end_ns:
        return [(opened_ns + first_ns, end_ns, RECEIVING), (opened_ns, opened_ns + first_ns, WAITING)]
    return [(opened_ns, end_ns, WAITING)]


def _mark(line: Line, item: Item) -> Strip:
    line.add(" ── ", "faint").add(rowtext.plain(item.row.label.sql, line.room - 4), "dim").add(" ")
    return line.add("─" * line.room, "faint").strip()


def _gap(line: Line, view: View, item: Item, columns: tuple[Column, ...], near: Surroundings) -> Strip:
    text = rowtext.row_time(view.times, item.opened_ns, near.above_ns, near.same_ns, view.trace.start_ns)
    line.add(text, "attention", columns[1].width, right=True).add(" ╱╱ ", "attention")
    return line.add(rowtext.plain(item.row.label.sql, line.room), "attention").strip()
