"""How a row or a message relates to another: Bind and its Parse, an error and what failed, a cancel
and its victim, the two ends of a transaction.

Each function returns one place, the nearest cause in terms of the protocol. A reply relates to the
message that it answers; an ErrorResponse to the message that failed (for an Execute: the Bind that
gave it its values); a Bind, Describe or Close to the Parse that made its statement; a cancel to the
round trip that was open; an error of a cancelled query to the cancel. A row is related like the
first of its messages that is. Otherwise it belongs to a transaction: its end relates to its
beginning, its beginning to its end, and rows between them to the beginning.

Names are looked up in the log of their meanings, which is bounded, and at most SEARCHED rows are
searched backwards. Anything farther away is not found, and nothing is guessed instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from pgtrace.inspect import details
from pgtrace.inspect.message import MessageView
from pgtrace.protocol import frontend
from pgtrace.protocol.codes import FRONTEND
from pgtrace.protocol.message import MalformedMessage
from pgtrace.trace.row import Row, RowKind
from pgtrace.trace.trace import Trace
from pgtrace.trace.transactions import Transaction

SEARCHED: Final = 50_000
"""The most rows that are searched."""
_CANCELLED: Final = "57014"
_ABOUT_A_STATEMENT: Final = b"BDC"


class Related(NamedTuple):
    """A row, the message in it if known, and its relation to what you asked about."""

    place: int
    words: str
    message: tuple[int, int] | None = None
    """The message's side, and its offset in that side's stream."""


def of_row(trace: Trace, place: int, transactions: Iterable[Transaction]) -> Related | None:
    """What a row relates to; None if nothing is found."""
    row = trace.rows[place]
    if row.shape.kind is RowKind.CANCEL:
        return _victim(trace, place)
    if row.shape.errors and row.is_round_trip:
        found = _canceller(trace, place) if row.label.sqlstate == _CANCELLED else None
        messages = details.read(trace, place).messages if found is None else []
        failed = next((message for message in messages if message.name == "ErrorResponse"), None)
        return found or (of_message(trace, place, failed, messages) if failed is not None else None)
    if row.shape.kind is RowKind.ROUND_TRIP and not row.shape.sent.count(b"P") and any(letter in row.shape.sent for letter in b"BD"):
        found = _parse(trace, place, row.shape.statement)
        if found is not None:
            return found
    return _ends(place, row, transactions)


def of_message(trace: Trace, place: int, message: MessageView, messages: Sequence[MessageView]) -> Related | None:
    """What a message of this row relates to; None if only the row can tell."""
    if message.side != FRONTEND:
        asked = message.answers
        if asked is None:
            return None
        if message.name == "ErrorResponse":
            return _at(place, _bind_of(asked, messages) or asked, "what failed")
        return _at(place, asked, "what it answers")
    if message.code == ord("E"):
        bound = _bind_of(message, messages)
        return _at(place, bound, "the Bind of its portal") if bound is not None else None
    name = _statement_name(message) if message.code in _ABOUT_A_STATEMENT else None
    if name is None:
        return None
    before = [one for one in messages[: messages.index(message)] if _prepares(one, name)]
    return _at(place, before[-1], "its Parse") if before else _parse(trace, place - 1, name, trace.rows[place].connection)


def _at(place: int, message: MessageView, words: str) -> Related:
    return Related(place, words, (message.side, message.offset))


def _bind_of(message: MessageView, messages: Sequence[MessageView]) -> MessageView | None:
    """The Bind that made the portal of an Execute, if it is in the same row."""
    if message.code != ord("E"):
        return None
    before = messages[: messages.index(message)]
    portal = _named(message)
    return next((one for one in reversed(before) if one.side == FRONTEND and one.code == ord("B") and _named(one) == portal), None)


def _named(message: MessageView) -> str | None:
    """The portal name of a Bind or Execute."""
    try:
        if message.code == ord("B"):
            return frontend.bind_summary(message.body).portal
        return frontend.Execute.parse(message.body).portal
    except MalformedMessage:
        return None


def _statement_name(message: MessageView) -> str | None:
    """The statement name of a Bind, or of a Describe or Close of a statement."""
    try:
        if message.code == ord("B"):
            return frontend.bind_summary(message.body).statement
        about = (frontend.Describe if message.code == ord("D") else frontend.Close).parse(message.body)
    except MalformedMessage:
        return None
    return about.name if about.kind == "S" else None


def _prepares(message: MessageView, name: str) -> bool:
    return message.side == FRONTEND and message.code == ord("P") and message.statement is not None and message.statement.name == name


def _parse(trace: Trace, place: int, name: str, connection: int | None = None) -> Related | None:
    """The Parse that gave a statement its name, at this place or before."""
    if place < 0:
        return None
    number = trace.rows[place].connection if connection is None else connection
    if name:
        places: Iterable[int] = trace.connections[number].named_at(name, place)
    else:  # the log has it once if the same text is parsed again and again
        places = (one for one, row in _before(trace, place + 1, number) if not row.shape.statement)
    for one in places:
        row = trace.rows[one]
        if b"P" not in row.shape.sent or (row.shape.statement != name and row.shape.statements < 2):
            continue
        made = next((message for message in details.read(trace, one).messages if _prepares(message, name)), None)
        if made is not None:
            return _at(one, made, "its Parse")
    return None


def _before(trace: Trace, place: int, connection: int) -> Iterator[tuple[int, Row]]:
    """The rows of a connection before this place, the nearest first."""
    for one in range(place - 1, max(-1, place - 1 - SEARCHED), -1):
        if trace.rows.entry(one).connection == connection:
            yield one, trace.rows[one]


def _victim(trace: Trace, place: int) -> Related | None:
    """The round trip that a CancelRequest aims at: the open one, or otherwise the one before it."""
    row = trace.rows[place]
    aim = trace.connections[row.connection].cancels
    if aim is None:
        return None
    found = next((one for one, other in _before(trace, place, aim) if other.is_round_trip), None)
    return Related(found, "what it cancels") if found is not None else None


def _canceller(trace: Trace, place: int) -> Related | None:
    """The CancelRequest that arrived while a round trip was open."""
    row = trace.rows[place]
    for one in range(place + 1, min(len(trace.rows), place + SEARCHED)):
        other = trace.rows[one]
        if row.duration_ns is not None and other.opened_ns > row.opened_ns + row.duration_ns:
            return None
        if other.shape.kind is RowKind.CANCEL and trace.connections[other.connection].cancels == row.connection:
            return Related(one, "the cancel")
    return None


def _ends(place: int, row: Row, transactions: Iterable[Transaction]) -> Related | None:
    """The other end of the transaction that a row belongs to."""
    within = next(
        (one for one in transactions if one.connection == row.connection and one.first <= place and (one.is_open or place <= one.last)),
        None,
    )
    if within is None or within.first == within.last:
        return None
    if place != within.first:
        return Related(within.first, "where its transaction begins")
    return None if within.is_open else Related(within.last, "where its transaction ends")
