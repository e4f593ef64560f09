"""The texts of one row's columns, cut to their widths, without colours.

Everything here that comes from the wire has been through sanitise.text. Expensive texts are cached:
the same SQL is drawn again and again.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from datetime import datetime

from pgtrace import sanitise, sqltext
from pgtrace.callsites.notes import Site
from pgtrace.describe import notation
from pgtrace.sqltext.tables import tables
from pgtrace.trace import refused_tls
from pgtrace.trace.connection import Connection
from pgtrace.trace.row import Row, RowKind, Shape
from pgtrace.trace.waits import Wait
from pgtrace.tui.model import cells, figures
from pgtrace.tui.model.groups import Together
from pgtrace.tui.model.items import Item
from pgtrace.tui.model.theme import Pen

TIMES = ("time", "clock", "above", "same cn")
"""The contents of the time column: the time since the start, the clock, the time since the row
above, or since the row before on the same connection.
"""
_LONGEST_LINE = 1 << 20
_CHARACTERS_A_CELL = 4
"""How many characters are read for one cell, because combining characters take no cell."""
_TABLES_SHOWN = 3
_TABLE_CELLS = 24
_SQL_LEAST = 8
"""The least width for a statement, in cells."""
_FORMATS = {"t": "text", "b": "binary", "m": "mixed"}
_BETWEEN_CELLS = 3
_BOTH_CELLS = 50
"""A column of this width, as on a screen of 160 cells, has room for an error and its SQL."""


@functools.lru_cache(maxsize=2048)
def sql(text: str, width: int) -> str:
    """SQL in `width` cells: its lists are shortened first, then its end."""
    return cells.cut(sanitise.text(sqltext.shorten(text, width, cells.width)), width)


def plain(text: str, width: int, start: int = 0) -> str:
    """Any other text from the wire in `width` cells, from a character on: an ellipsis stands for
    what is scrolled out on the left."""
    if start:
        text = "…" + text[start:] if start < len(text) else ""
    return _plain(text[: _CHARACTERS_A_CELL * width + 1], width)


@functools.lru_cache(maxsize=512)
def _plain(text: str, width: int) -> str:
    return cells.cut(sanitise.text(text), width)


@functools.lru_cache(maxsize=512)
def further(text: str, start: int, width: int) -> str:
    """SQL from a character on, its lists not shortened."""
    return plain(sqltext.shorten(text, _LONGEST_LINE), width, start)


def words(item: Item, connection: Connection | None, width: int, sideways: int = 0) -> tuple[str, bool]:
    """The SQL column without its colour: the text from a character on, and whether it is an
    error."""
    if sideways and not item.folded:
        return further(item.row.label.error or item.row.label.sql, sideways, width), bool(item.row.shape.errors)
    together, failed = item.sum.kind, item.sum.failed
    if failed is not None and failed.shape.kind is not RowKind.ASYNCHRONOUS and together is not Together.TRANSACTION:
        text = plain(failed.label.error, width)
        room = width - cells.width(text) - 2
        if width >= _BOTH_CELLS and room > 20 and failed.label.sql:
            text += "  " + sql(failed.label.sql, room)
        return text, True
    if together is Together.SETUP:
        return plain(_set_up(item, connection), width), False
    if together is Together.TRANSACTION:
        return _transaction(item, connection, width), False
    if item.period > 1:
        return _loop(item, width), False
    row = item.row
    if row.label.end and not item.folded:
        text = plain(row.label.end, width)
        room = width - cells.width(text) - 2
        return f"{text}  {sql(row.label.sql, room)}" if room > 20 and row.label.sql else text, False
    if row.is_round_trip or row.shape.kind is RowKind.RUN:
        return sql(row.label.sql, width), False
    return plain(row.label.error or row.label.sql, width), bool(row.shape.errors)


def _loop(item: Item, width: int) -> str:
    """A loop's statements (or, without room, their tables) and its number of rounds, which is not
    known if some are hidden.
    """
    statements = list(dict.fromkeys(row.label.sql for row in item.in_turn))
    rounds = f" ×{item.rounds}" if item.rounds is not None else ""
    room = width - len(rounds)
    shown = statements[: max(1, (room + _BETWEEN_CELLS) // (_SQL_LEAST + _BETWEEN_CELLS))]
    rounds = rounds if len(shown) == len(statements) else f" · …{rounds}"
    room, text = max(1, width - len(rounds)), ""
    for number, statement in enumerate(shown, 1):
        left = len(shown) - number
        share = (room - cells.width(text) - _BETWEEN_CELLS * left) // (left + 1)
        short = ", ".join(tables(statement)[:_TABLES_SHOWN]) if share < _TABLE_CELLS else ""
        text += (plain(short, share) if short else sql(statement, share)) + (" · " if left else "")
    return text + rounds


def waiting(wait: Wait, now_ns: int, *, full: bool = True) -> str:
    """`waits 12.4 s, server owes ParseComplete`; if `full`, also whose buffers are full."""
    text = f"waits {figures.span(max(0, now_ns - wait.since_ns))}, {wait.who} owes {wait.owes}"
    for who, since_ns in wait.full if full else ():
        text += f"; the {who} has not read for {figures.span(max(0, now_ns - since_ns))}: buffers are full"
    return text


def _set_up(item: Item, connection: Connection | None) -> str:
    parts = [f"{item.sum.number} set-up rt"]
    if connection is not None and connection.tls_refused:
        return refused_tls.in_words(connection.tls_refused)
    if connection is not None:
        connection.refresh()
        parts += [f"server {connection.server_version}"] if connection.server_version else []
        parts += [f"pid {connection.backend_pid}"] if connection.backend_pid else []
    return ", ".join(parts)


def _transaction(item: Item, connection: Connection | None, width: int) -> str:
    """A transaction's number of round trips, its tables, its costliest statement, and its end if
    that was not COMMIT.
    """
    together = item.sum
    end = "" if together.ended == "COMMIT" else together.ended
    if item.is_open:
        end = "lost" if connection is not None and connection.closed_ns is not None else "open"
    begun = f"{together.number} rt"
    if end:
        begun += f" — {end}"
    statement, times = together.costliest
    if not statement:
        return plain(begun, width)
    named = together.tables
    begun += "  " + plain(", ".join(named[:_TABLES_SHOWN]) + (", …" if len(named) > _TABLES_SHOWN else ""), _TABLE_CELLS) if named else ""
    often = f" ×{times}" if times > 1 else ""
    room = width - cells.width(begun) - 2 - len(often)
    return plain(begun, width) if room < _SQL_LEAST else f"{begun}  {sql(statement, room)}{often}"


def flights(item: Item) -> str:
    """The messages that the rows of a fold sent, one after the other."""
    flights = [sent if times == 1 else f"({sent})×{times}" if " " in sent else f"{sent}×{times}" for sent, times, _ in item.sum.flights]
    return " · ".join(flights) + (" …" if item.sum.more_flights else "")


def flight(item: Item, pen: Pen, width: int) -> str:
    """The flight in `width` cells; for a fold, what its rows sent, or how many there are."""
    if item.sum.kind in (Together.SETUP, Together.TRANSACTION):
        return cells.cut(pen.text(f"▸ {flights(item)}"), width, pen.ellipsis)
    if item.folded:
        times = pen.text(f"▸ {item.sum.number} × ")
        if len({row.shape.flight for row in item.in_turn}) > 1:
            sent = list(dict.fromkeys(row.shape.sent_flight or row.shape.flight for row in item.in_turn))
            if len(sent) > 1:
                times = f"▸ {item.rounds} × " if item.rounds is not None else f"▸ {item.sum.number} of "
            return cells.cut(pen.text(times + (f"({' · '.join(sent)})" if len(sent) > 1 else sent[0])), width, pen.ellipsis)
        return cells.cut(times + pen.text(notation.fit(item.row.shape.flight, width - cells.width(times))), width, pen.ellipsis)
    text = item.row.shape.flight
    if item.row.is_open and not text.endswith("…"):
        text += " …" if "→" in text else " → …"
    fitted = notation.fit(text, width)
    if pen.ascii_only:
        fitted = pen.text(notation.fit(pen.text(text), width - 1))
    return cells.cut(fitted, width, pen.ellipsis)


def flight_runs(text: str, pen: Pen) -> list[tuple[str, str]]:
    """A flight as (text, role) runs: what went out, the arrow, what came back with its errors."""
    arrow, back = pen.text("→"), pen.text("←")
    if text.startswith(back):
        return [(back, "faint"), *_received(text[len(back) :])]
    sent, found, received = text.partition(arrow)
    if text.startswith("opaque"):
        return [(text, "dim")]
    fold = text.startswith(pen.text("▸ "))
    if fold and found:  # repeats
        cut = text.index(pen.text("×")) + 2
        return [(text[:cut], "text"), (text[cut : len(sent)], "frontend"), (found, "faint"), *_received(received)]
    if fold:
        return [(text[:2], "dim"), (text[2:], "frontend")]
    return [(sent, "frontend"), (found, "faint"), *_received(received)]


def _received(text: str) -> list[tuple[str, str]]:
    runs = []
    while text:
        before, error, text = text.partition("E")
        runs += [(before, "backend"), (error, "error")]
    return runs


def rail(row: Row) -> tuple[str, str]:
    """The transaction's rail, taken from ReadyForQuery, and its role."""
    before, after = row.shape.status_before, row.shape.status
    if after == "E" or (before == "E" and not after):
        return "┊", "attention"
    if before in ("I", "") and after == "T":
        return ("╭" if before == "I" else "│"), "dim"
    if before in ("T", "E") and after == "I":
        return "╰", "dim"
    return ("│", "dim") if before == "T" else (" ", "dim")


def marks(item: Item, *, found: bool = False, spelled: bool = False) -> list[tuple[str, str]]:
    """The marks as (text, role) runs: an error, a finding or an end; a statement prepared or
    reused; the formats. They take a cell each, or SPELLED_MARKS if they are words."""
    together = item.sum
    formats = together.formats if len(together.formats) < 2 else "m"
    problem = ("✗", "error") if together.errors else ("!" if found or item.row.label.end else " ", "attention")
    if not spelled:
        return [problem, ("+" if together.prepares else "=" if together.reuses else " ", "text"), (formats, "dim")]
    statement = "prepared" if together.prepares else "reused" if together.reuses else ""
    return [problem, (f" {statement:<9} ", "text"), (_FORMATS.get(formats, ""), "dim")]


def marks_in_words(item: Item, findings: Iterable[str]) -> list[tuple[str, str]]:
    """The marks in words, for the selected row, as (text, role) runs: the meaning of each sign."""
    together = item.sum
    found = [("✗ error", "error")] if together.errors else []
    found += [(f"! {name}", "attention") for name in dict.fromkeys(findings)]
    found += [("! ended", "attention")] if item.row.label.end and not found else []
    found += [("+ prepares", "text")] if together.prepares else [("= reuses", "text")] if together.reuses else []
    formats = together.formats if len(together.formats) < 2 else "m"
    return [*found, *([(f"{formats} {_FORMATS[formats]}", "dim")] if formats else [])]


def statement_name(name: str, driver: str) -> str:
    """A prepared statement's name without the driver's own prefix: `__asyncpg_stmt_3__` is
    `stmt_3`."""
    bare = name.strip("_")
    return bare.removeprefix(f"{driver}_") if bare.startswith(f"{driver}_") else name


def site(sites: Sequence[Site], width: int) -> str:
    """The line of code that sent a row's statements, in `width` cells: without its directory or its
    function if there is no room for them. `+2` says that there are more."""
    if not sites:
        return ""
    first, more = sites[0], f" +{len(sites) - 1}" if len(sites) > 1 else ""
    name = f"{first.file.rpartition('/')[2]}:{first.line}"
    forms = (f"{first.file}:{first.line} {first.function}", f"{name} {first.function}", name)
    return next((text for one in forms if cells.width(text := sanitise.text(one) + more) <= width), plain(name + more, width))


def row_time(mode: str, opened_ns: int, above_ns: int | None, same_ns: int | None, start_ns: int) -> str:
    """The time column in nine cells."""
    if mode == "clock":
        moment = datetime.fromtimestamp((start_ns + opened_ns) / 1e9)
        return f"{moment:%M:%S}.{moment.microsecond // 1000:03d}"
    if mode == "time":
        return figures.seconds(opened_ns) + " "
    before = above_ns if mode == "above" else same_ns
    return ("" if before is None else "+" + figures.seconds(opened_ns - before)) + " "


def _sent_in_words(shape: Shape, times: int) -> str:
    """The sent messages, with the statement's name if only one message can have it."""
    text = notation.spell(shape.sent, b"")
    if shape.statement and shape.sent.count(b"P") + shape.sent.count(b"B") == 1:
        word = "Parse" if b"P" in shape.sent else "Bind"
        text = text.replace(word, f"{word}({shape.statement})", 1)
    return text if times == 1 else f"{times} × ({text})" if " " in text else f"{times} × {text}"


def in_words(row: Row) -> str:
    """The flight spelled out; if only one message can be meant, with the number of rows and the
    statement's name."""
    shape = row.shape
    text = notation.spell(shape.sent, shape.received, (row.label.sqlstate,) if row.label.sqlstate else (), shape.status)
    if row.is_open:
        text += " …" if shape.received else " → …"
    if row.rows > 1 and shape.received.count(b"D") == 1:
        text = text.replace("DataRow", f"DataRow×{row.rows}", 1)
    if shape.statement and shape.sent.count(b"P") + shape.sent.count(b"B") == 1:
        word = "Parse" if b"P" in shape.sent else "Bind"
        text = text.replace(word, f"{word}({shape.statement})", 1)
    return text


def spelled(item: Item, pen: Pen, width: int) -> list[tuple[str, str]]:
    """The flight in words as (text, role) runs; for a fold, what each of its rows sent."""
    if item.sum.kind in (Together.SETUP, Together.TRANSACTION):
        text = " · ".join(_sent_in_words(shape, times) for _, times, shape in item.sum.flights) + (" …" if item.sum.more_flights else "")
        return [(cells.cut(pen.text(plain(text, 4 * width)), width, pen.ellipsis), "dim")]
    row = item.row
    if not row.is_round_trip:
        return [(plain(row.label.error or row.label.sql, width), "dim")]
    text = plain(in_words(row), 4 * width)
    if item.folded:
        different = dict.fromkeys(plain(in_words(one), 4 * width) for one in item.in_turn)
        times = item.sum.number if len(different) < 2 or item.rounds is None else item.rounds
        text = f"{times} × ({' · '.join(different) or text})"
    sent, found, received = cells.cut(pen.text(text), width, pen.ellipsis).partition(pen.text(" → "))
    before, error, after = received.partition("ErrorResponse")
    state, _, rest = after.partition(" ")
    return [(sent, "frontend"), (found, "faint"), (before, "backend"), (error + state, "error"), (f" {rest}" if rest else "", "backend")]
