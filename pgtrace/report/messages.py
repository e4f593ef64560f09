"""Messages as text, one line each, grouped by round trip, as `show` prints them; and round trips as
one line each, as `listen` prints them without a terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pgtrace import sanitise
from pgtrace.describe import notation
from pgtrace.inspect import details
from pgtrace.inspect.message import FieldView, MessageView
from pgtrace.report import about
from pgtrace.report.joins import across
from pgtrace.sanitise import Shown
from pgtrace.session.events import FLIGHT_MESSAGES_KEPT
from pgtrace.trace.row import Row, RowKind
from pgtrace.trace.trace import Trace

if TYPE_CHECKING:
    from pgtrace.legs.joins import Joins

_ARGUMENT_WIDTH = 96
_SQL_WIDTH = 100
_HEX_BYTES = 16
_CUT = f"flight cut at {FLIGHT_MESSAGES_KEPT:,} messages"
_NO_FLIGHT = "flight not kept"


def round_trip_line(trace: Trace, row: Row) -> Shown:
    """One row as a line: time, connection, driver, flight, SQL or error, rows, bytes and ms."""
    shape = row.shape
    if shape.kind in (RowKind.MARK, RowKind.GAP):
        return sanitise.line(f"{row.opened_ns / 1e9:10.4f}  ── {row.label.sql} ──")
    connection = trace.connections[row.connection]
    what = sanitise.text(row.label.error or row.label.sql)[:_SQL_WIDTH] + (f" — {sanitise.text(row.label.end)}" if row.label.end else "")
    flags = ("✗" if shape.errors else " ") + ("=" if shape.reuses else "+" if shape.prepares else " ") + (shape.formats or " ")
    taken = "open" if row.duration_ns is None else f"{row.duration_ns / 1e6:.2f} ms" if row.is_round_trip else ""
    if taken and trace.waited_for_disk(row):
        taken += " (waited for the disk)"
    if notation.is_cut(shape.flight):
        taken += f" ({_CUT})" if shape.sent or shape.received else f" ({_NO_FLIGHT})"
    rows = f"{row.rows} row{'s' if row.rows > 1 else ''}" if row.rows else ""
    name = f"{trace.name_of(connection):<4} {connection.driver:<8}"
    sites = "; ".join(site.words for site in trace.call_sites.at(row.number - 1))
    numbers = "  ".join(part for part in (rows, f"{row.sent_bytes}+{row.received_bytes} B", taken.strip(), sites) if part)
    return sanitise.line(f"{row.opened_ns / 1e9:10.4f}  {name} {shape.flight:<22} {flags} {what}  {numbers}".rstrip())


def rows_as_text(
    trace: Trace,
    places: Iterable[int],
    *,
    with_hex: bool = False,
    with_fields: bool = False,
    introduced: set[int] | None = None,
    joins: Joins | None = None,
) -> Iterator[Shown]:
    """Every message of the rows at these places, one line each, below a line for its round trip.

    With `introduced`, a connection that is not yet in it is introduced once anything is known about
    it (driver and layer with their evidence, and process), and added to it.

    With `joins`, a line describes the counterpart on the other side of the pooler.
    """
    for place in places:
        row = trace.rows[place]
        if introduced is not None and row.connection not in introduced and row.shape.kind not in (RowKind.MARK, RowKind.GAP):
            known = about.lines(trace, trace.connections[row.connection])
            yield from known
            introduced.update([row.connection] if known else [])
        yield round_trip_line(trace, row)
        if joins is not None and (other := across(trace, joins, place)):
            yield sanitise.line(f"            {other}")
        found = details.read(trace, place)
        for message in found.messages:
            yield from message_as_text(message, with_fields=with_fields)
            if with_hex:
                yield from _hex(message)
        if found.note:
            yield sanitise.line(f"            ({found.note})")


def message_as_text(message: MessageView, *, with_fields: bool = True) -> Iterator[Shown]:
    """One message as a line, and its fields, a line each."""
    yield sanitise.line(_message(message))
    if with_fields:
        for field in message.fields():
            yield sanitise.line(f"                       {'  ' * field.depth}{_field(field)}")


def _join(joins: Joins | None, place: int) -> dict[str, Any] | None:
    """A round trip's counterpart on the other side of the pooler, as an object."""
    if joins is None or not joins.state(place):
        return None
    return {
        "state": joins.state(place).name.lower(),
        "rows": [one + 1 for one in joins.across(place)],
        "in_pooler_ns": joins.in_pooler_ns(place),
    }


def rows_as_json(trace: Trace, places: Iterable[int], joins: Joins | None = None) -> Iterator[dict[str, Any]]:
    """The rows at these places as objects, with every message."""
    for place in places:
        row = trace.rows[place]
        connection = trace.connections[row.connection] if row.shape.kind not in (RowKind.MARK, RowKind.GAP) else None
        about: dict[str, Any] = {
            "row": row.number,
            "kind": row.shape.kind.name.lower(),
            "file": trace.files[connection.file] if connection is not None else None,
            "connection": connection.number if connection is not None else None,
            "leg": (connection.leg or (joins.leg(connection.index) if joins is not None else "") or None)
            if connection is not None
            else None,
            "join": _join(joins, place),
            "time_ns": row.opened_ns,
            "duration_ns": row.duration_ns,
            "waited_for_disk": connection is not None and trace.waited_for_disk(row),
            "flight": row.shape.flight,
            "flight_cut": notation.is_cut(row.shape.flight),
            "sql": row.label.sql,
            "error": row.label.error or None,
            "end": row.label.end or None,
            "call_sites": [site._asdict() for site in trace.call_sites.at(place)],
        }
        found = details.read(trace, place)
        about["messages"] = [
            {
                "side": "FB"[message.side],
                "type": message.name,
                "time_ns": message.time_ns,
                "offset": message.offset,
                "bytes": message.size,
                "execution": message.execution or None,
                "skipped": message.skipped,
                "count": message.count,
                "inside": (message.inside.title or None) if message.inside is not None else None,
                "rows": message.inside.rows if message.inside is not None else None,
                "fields": [_field_as_json(field) for field in message.fields()],
            }
            for message in found.messages
        ]
        about["note"] = found.note or None
        yield about


def _field(field: FieldView) -> str:
    evidence = f", {field.evidence}" if field.evidence else ""
    return f"{field.name} = {field.value}  ({field.wire_type}{evidence})"


def _field_as_json(field: FieldView) -> dict[str, str | bool]:
    about: dict[str, str | bool] = {"name": field.name, "value": field.value, "type": field.wire_type}
    if field.evidence:
        about["evidence"] = field.evidence
    if not field.is_read:
        about["read"] = False
    return about


def _message(message: MessageView) -> str:
    arrow = "F→" if message.side == 0 else "B←"
    letter = chr(message.code) if message.is_typed else " "
    times = f" ×{message.count}" if message.count > 1 else ""
    skipped = "  skipped by the server" if message.skipped else ""
    execution = str(message.execution) if message.execution else ""
    text: str = sanitise.text(message.argument)
    if len(text) > _ARGUMENT_WIDTH:
        text = text[: _ARGUMENT_WIDTH - 1] + "…"
    return (
        f"            {arrow} {message.time_ns / 1e6:9.3f} {execution:>3} {letter} {message.name}{times} {text}{skipped}  {message.size} B"
    )


def _hex(message: MessageView) -> Iterator[Shown]:
    raw = message.raw
    for start in range(0, len(raw), _HEX_BYTES):
        part = raw[start : start + _HEX_BYTES]
        shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "·" for byte in part)
        yield sanitise.line(f"                 {message.offset + start:8x}  {part.hex(' '):<47}  {shown}")
    if message.size > len(raw):
        yield sanitise.line(f"                 … {message.size - len(raw)} more bytes")
