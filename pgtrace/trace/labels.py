"""How a row looks in the timeline: the shape and label of a round trip, and of a message outside
any round trip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import add
from typing import TYPE_CHECKING, Final

from pgtrace.describe import notation
from pgtrace.identify.collector import query_text
from pgtrace.protocol import codes, fields
from pgtrace.protocol.codes import FRONTEND
from pgtrace.session.effects import Effect
from pgtrace.session.events import Exchange, Passage
from pgtrace.session.failures import failure
from pgtrace.session.statements import Statement
from pgtrace.trace import ends
from pgtrace.trace.groups import group_number
from pgtrace.trace.row import FLIGHT_KEPT, Label, RowKind, Shape, Share, prepared_earlier

if TYPE_CHECKING:
    from pgtrace.describe.copy_messages import CopyPayload

_LABELLED_STATEMENTS: Final = 3
_TERMINATE: Final = ord("X")
_ERROR: Final = ord("E")
_NO_SHARE: Final = Share()
_ERRORS: Final = frozenset({_ERROR, codes.VERSION_2_ERROR})


def shape(exchange: Exchange, passage: Passage) -> Shape:
    """The shape of a round trip so far."""
    effect = exchange.effect
    kind = RowKind.SETUP if effect.setup else RowKind.ROUND_TRIP
    if not effect.is_round_trip and passage.closed_ns is not None:
        kind = RowKind.RUN
    statements = about(exchange)
    flight = notation.flight(effect.sent, effect.received)
    return Shape(
        kind=kind,
        flight=flight,
        sent=effect.sent[:FLIGHT_KEPT],
        received=effect.received[:FLIGHT_KEPT],
        depth=effect.depth,
        errors=effect.errors,
        prepares=effect.prepares,
        reuses=effect.reuses,
        formats=("", "t", "b", "m")[effect.formats],
        status_before=effect.status_before,
        status=effect.status,
        statement=statements[0].name if statements else "",
        statements=min(len(statements), 2),
        uncertain=effect.uncertain,
        executions=effect.executions,
        block_began=effect.block_began,
        block_end=effect.block_end,
        owed_before=effect.owed_before,
        tags=effect.tags,
        warnings=effect.warnings,
        portal=effect.portal,
        sent_flight=notation.flight(effect.sent, b"") if effect.sent else flight,
    )


def label(exchange: Exchange, passage: Passage, who: Callable[[], str]) -> Label:
    """The texts of a round trip so far. `who` returns the name of the connection, for its
    start-up."""
    texts: list[str] = []
    for statement in about(exchange):
        text = statement.sql if statement.sql is not None else prepared_earlier(statement.name)
        if text not in texts:
            texts.append(text)
    if exchange.statements and exchange.statements[0].simple:
        sql = query_text(exchange.statements)
    else:
        sql = " · ".join(texts[:_LABELLED_STATEMENTS]) + (" · …" if len(texts) > _LABELLED_STATEMENTS else "")
    if exchange.effect.setup and not texts:
        sql = _set_up(exchange.effect, who)
    groups = tuple(dict.fromkeys(map(group_number, exchange.statements)))
    end = ends.departure_in_words(exchange.effect, passage)
    others, shared = shares(exchange, passage, groups)
    if not exchange.error:
        return Label(sql, groups=groups, end=end, others=others, shares=shared)
    said = fields.error_fields(exchange.error)
    return Label(sql, said.get("C", ""), said.get("M", ""), groups, end, exchange.failures, others, shared)


def shares(exchange: Exchange, passage: Passage, groups: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[Share, ...]]:
    """The groups of statements that a round trip did something with but contains no message of, and
    the share of each group: Label.others, Label.shares.

    If one statement has all rows, its share has the counts of one row, so it is the same for any
    number of rows.
    """
    found = dict.fromkeys(groups, _NO_SHARE)
    of_all = sum(bool(part.rows) for part in exchange.parts) == 1
    for part in exchange.parts:
        group = group_number(part.statement)
        executions, (rows, text, binary) = (part.executions, exchange.returned(part, passage.rows)) if part.ended else (0, (0, 0, 0))
        each = of_all and 0 < rows == passage.rows and not text % rows and not binary % rows
        if each:
            rows, text, binary = 1, text // rows, binary // rows
        share = Share(part.parses, part.reused, executions, part.errors, rows, text, binary, each)
        known = found.get(group, _NO_SHARE)
        found[group] = share if known is _NO_SHARE else _together(known, share)
    return tuple(found)[len(groups) :], tuple(found.values())


def _together(first: Share, second: Share) -> Share:
    """The sum of two shares of one group. At most one of them counts by DataRow, and the other then
    has no rows."""
    return Share._make((*map(add, first[:-1], second[:-1]), first.each or second.each))


def alone(side: int, code: int, body: bytes, inside: CopyPayload | None) -> tuple[RowKind, str, Label]:
    """The kind, flight and texts of a message outside any round trip. `inside` is the content of a
    CopyData, if known."""
    if code == codes.OPAQUE:
        return RowKind.OPAQUE, "opaque", Label("encrypted, or not PostgreSQL")
    if code == codes.UNDECODED:
        return RowKind.UNDECODED, "not decoded", Label("bytes between a gap and the next place where both sides can be read")
    # Nearly every one is a Terminate: the message classes need not be loaded for it.
    if side == FRONTEND and code == _TERMINATE and not body:
        return RowKind.RUN, "X →", Label("Terminate")
    from pgtrace.describe import arguments

    name = codes.message_name(side, code, codes.authentication_subtype(body))
    name, text = (inside.label, "") if inside is not None else (name, arguments.argument(side, code, body))
    if side == FRONTEND:
        return RowKind.RUN, f"{chr(code)} →", Label(f"{name} {text}".strip())
    letter = "E" if code == codes.VERSION_2_ERROR else chr(code)
    if code not in _ERRORS:
        return RowKind.ASYNCHRONOUS, f"← {letter}", Label(f"{name} {text}".strip())
    said = fields.error_fields(body) if code == _ERROR else {"M": text}
    return RowKind.ASYNCHRONOUS, f"← {letter}", Label(name, said.get("C", ""), said.get("M", ""), failures=(failure(body, None),))


def about(exchange: Exchange) -> Sequence[Statement]:
    """The statements that a round trip is about. For a COPY that only continues, the statement that
    began it."""
    return exchange.statements or ([exchange.copying] if exchange.copying is not None else [])


def _set_up(effect: Effect, who: Callable[[], str]) -> str:
    if notation.START in effect.sent:
        return f"StartupMessage {who()}"
    if notation.SSL in effect.sent or notation.GSS in effect.sent:
        return "encryption requested"
    return "authentication"
