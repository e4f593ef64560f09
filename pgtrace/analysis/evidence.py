"""What makes a counter up: the round trips behind a number, in groups of those that look the same, the largest first.

    ×12  BES → 2DCZ   SELECT name FROM items WHERE order_id = $1

Asked only where a number is too large, so it looks at the rows of the timeline once more instead of keeping anything beside them. How much of a counter a row
makes up follows from its flight, its rows, its bytes and its time; of a few counters (live statements, values by format) the row tells only that it has a
part in them, and of `client_ns`, which is the time between round trips, nothing. Rows that are no round trips (a notification, a notice) count where the
counter is about them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pgtrace import sqltext
from pgtrace.analysis.details import NotKept
from pgtrace.analysis.filter.counting import CountedTrace
from pgtrace.analysis.filter.facts import TOLD, Subject, sql_of
from pgtrace.analysis.rows import Entry, Kind, Shape
from pgtrace.protocol import codes
from pgtrace.protocol.codes import BACKEND, FRONTEND

if TYPE_CHECKING:
    from pgtrace.analysis.trace import Trace

GROUPS_KEPT: Final = 8
"""Groups that are told; the rest is summed up."""

Amount = Callable[[Shape, Entry], int]


@dataclass(slots=True)
class RoundTrips:
    """Rows of one look about one statement, and how much of the counter they make up together."""

    flight: str
    """Flight notation, or empty for the sum of what is not told."""
    sql: str
    """Normalised."""
    sqlstate: str
    first_row: int
    """Number of the first of them in the timeline, from 1."""
    times: int = 0
    amount: int = 0


def of(trace: Trace, counter: str, about: str = "capture", name: str = "") -> tuple[RoundTrips, ...]:
    """What makes a counter up, of the capture or of one driver, mark or statement. Where the trace counts under a filter, of what that selects."""
    selects: Callable[[int], bool] = lambda place: True  # noqa: E731
    if isinstance(trace, CountedTrace):
        selection = trace.selection
        trace, selects = selection.trace, selection.selects
    belongs = _belonging(trace, about, name)
    return summed(trace, counter, (place for place in range(len(trace.rows)) if belongs(place) and selects(place)))


def summed(trace: Trace, counter: str, places: Iterable[int]) -> tuple[RoundTrips, ...]:
    """What makes a counter up among the rows at these places, most first; at most GROUPS_KEPT groups, and the sum of the rest."""
    amount_of = amounts_of(counter)
    found: dict[tuple[int, int], RoundTrips] = {}
    for place in places:
        entry = trace.rows.entry(place)
        shape = trace.rows.shape_at(entry.shape)
        amount = amount_of(shape, entry)
        if not amount:
            continue
        group = found.get((entry.shape, entry.label))
        if group is None:
            label = trace.rows.label_at(entry.label)
            error = TOLD.fullmatch(label.error)
            sql = sqltext.normalise(label.sql) if shape.statements else label.sql
            group = found[entry.shape, entry.label] = RoundTrips(shape.flight, sql, error[1] if error else "", place + 1)
        group.times += 1
        group.amount += amount
    alike: dict[tuple[str, str, str], RoundTrips] = {}
    for group in found.values():
        mine = alike.setdefault(
            (group.flight, group.sql, group.sqlstate), RoundTrips(group.flight, group.sql, group.sqlstate, group.first_row)
        )
        mine.times += group.times
        mine.amount += group.amount
    ordered = sorted(alike.values(), key=lambda group: (-group.amount, group.first_row))
    told, rest = ordered[:GROUPS_KEPT], ordered[GROUPS_KEPT:]
    if rest:
        first = min(group.first_row for group in rest)
        told.append(RoundTrips("", "", "", first, sum(group.times for group in rest), sum(group.amount for group in rest)))
    return tuple(told)


def _belonging(trace: Trace, about: str, name: str) -> Callable[[int], bool]:
    """Whether the row at a place belongs to what a budget is about."""
    if about == "driver":
        of_driver = [connection.driver == name for connection in trace.connections]
        return lambda place: of_driver[trace.rows.entry(place).connection]
    if about == "mark":
        return lambda place: name in trace.marks.names_at(place)
    if about == "statement":
        return _about_statement(trace, sqltext.fingerprint(name))
    return lambda place: True


def _about_statement(trace: Trace, fingerprint: str) -> Callable[[int], bool]:
    known: dict[int, bool] = {}

    def belongs(place: int) -> bool:
        subject = Subject(trace, place)
        texts = sql_of(subject)
        if texts is not None and subject.entry.label in known:
            return known[subject.entry.label]
        try:
            asked = subject.inside.sql if texts is None else texts
        except NotKept:
            return False
        found = any(fingerprint in map(sqltext.fingerprint, sqltext.split(text)) for text in asked)
        if texts is not None:
            known[subject.entry.label] = found
        return found

    return belongs


def amounts_of(counter: str) -> Amount:
    """How much of a counter a row makes up."""
    table, _, message = counter.partition(".")
    if message:
        return _messages(FRONTEND if table == "frontend_messages" else BACKEND, message)
    return _AMOUNTS[counter]


def _messages(side: int, name: str) -> Amount:
    letters = {code for code, known in codes.NAMES[side].items() if known == name and code < 256}
    letters |= {ord("p")} if name in codes.RESPONSE_NAMES.values() and side == FRONTEND else set()
    letters |= {ord("R")} if name in codes.AUTHENTICATION_NAMES.values() and side == BACKEND else set()
    if not letters:  # what has no type byte is part of the start-up
        return lambda shape, entry: int(shape.kind is Kind.SETUP)

    def amount(shape: Shape, entry: Entry) -> int:
        if letters == {ord("D")} and side == BACKEND:
            return entry.rows
        letter = chr(next(iter(letters)))
        alone = shape.flight == (f"{letter} →" if side == FRONTEND else f"← {letter}")
        return sum(map((shape.sent, shape.received)[side].count, letters)) + alone

    return amount


def _round_trip(kind: Kind) -> Amount:
    return lambda shape, entry: int(shape.kind is kind)


def _sent(letter: str) -> Amount:
    return lambda shape, entry: shape.sent.count(ord(letter))


def _begins_transaction(shape: Shape, entry: Entry) -> int:
    return int(shape.status_before in ("", "I") and shape.status in ("T", "E"))


def _values(format: str) -> Amount:
    return lambda shape, entry: entry.rows if shape.formats in (format, "m") else 0


def _named(shape: Shape, entry: Entry) -> int:
    return shape.sent.count(ord("P")) if shape.prepares else 0


def _took_ns(shape: Shape, entry: Entry) -> int:
    return 0 if entry.is_open or shape.kind is not Kind.ROUND_TRIP else round(entry.duration_ms * 1e6)


_AMOUNTS: Final[dict[str, Amount]] = {
    "setup_round_trips": _round_trip(Kind.SETUP),
    "round_trips": _round_trip(Kind.ROUND_TRIP),
    "queries": _sent("Q"),
    "syncs": _sent("S"),
    "flushes": _sent("H"),
    "executions": lambda shape, entry: shape.depth,
    "pipelined_executions": lambda shape, entry: max(0, shape.depth - 1),
    "max_pipeline_depth": lambda shape, entry: shape.depth,
    "parses_named": _named,
    "parses_unnamed": lambda shape, entry: 0 if shape.prepares else shape.sent.count(ord("P")),
    "binds": _sent("B"),
    "describes": _sent("D"),
    "executes": _sent("E"),
    "closes": _sent("C"),
    "statements_live": _named,
    "statements_reused": lambda shape, entry: shape.sent.count(ord("B")) if shape.reuses else 0,
    "transactions": _begins_transaction,
    "rows": lambda shape, entry: entry.rows,
    "copy_in_messages": _sent("d"),
    "copy_out_messages": lambda shape, entry: shape.received.count(ord("d")),
    "copy_in_rows": _sent("d"),
    "copy_out_rows": lambda shape, entry: shape.received.count(ord("d")),
    "params_text": _sent("B"),
    "params_binary": _sent("B"),
    "values_text": _values("t"),
    "values_binary": _values("b"),
    "errors": lambda shape, entry: shape.errors,
    "notices": _messages(BACKEND, "NoticeResponse"),
    "notifications": _messages(BACKEND, "NotificationResponse"),
    "frontend_bytes": lambda shape, entry: entry.sent_bytes,
    "backend_bytes": lambda shape, entry: entry.received_bytes,
    "wait_ns": _took_ns,
    "client_ns": lambda shape, entry: 0,
    # Of a statement.
    "parses": _sent("P"),
    "reused": lambda shape, entry: shape.sent.count(ord("B")) if shape.reuses else 0,
    "live": _named,
    "round_trips_alone": lambda shape, entry: int(shape.kind <= Kind.SETUP and shape.statements == 1),
}
"""By counter. A test holds it against the list of counters."""
