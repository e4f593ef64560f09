"""What the messages of one row say, read from the capture: for rows that the index does not know
completely.

All statements, not only the first; all errors; the messages after the first thousands; which
authentication message a `p` or `R` is. The row is read once and in one pass, whatever the number of
messages; one of each kind is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pgtrace.inspect import details
from pgtrace.inspect.message import MessageView
from pgtrace.protocol import fields, frontend
from pgtrace.protocol.codes import FRONTEND
from pgtrace.protocol.message import MalformedMessage

if TYPE_CHECKING:
    from pgtrace.trace.trace import Trace

_QUERY: Final = ord("Q")
_PARSE: Final = ord("P")
_BIND: Final = ord("B")
_DESCRIBES: Final = frozenset(b"DC")
_ERROR: Final = ord("E")


@dataclass(slots=True)
class MessageFacts:
    """One of everything in its messages."""

    types: set[str] = field(default_factory=set)
    sql: dict[str, None] = field(default_factory=dict)
    """In order."""
    statements: set[str] = field(default_factory=set)
    """Names of prepared statements."""
    sqlstates: set[str] = field(default_factory=set)
    errors: set[str] = field(default_factory=set)


def read(trace: Trace, place: int) -> MessageFacts:
    """What the row at that place says. Raises details.NotKept."""
    found = MessageFacts()
    for found in reading(trace, place):  # noqa: B007 - the last one
        pass
    return found


def reading(trace: Trace, place: int) -> Iterator[MessageFacts]:
    """The same, message by message, for callers with little time. Raises details.NotKept."""
    found = MessageFacts()
    for message in details.scan(trace, place):
        yield found
        found.types.add(message.name)
        if message.side == FRONTEND:
            _sent(found, message)
        elif message.code == _ERROR:
            told = fields.error_fields(message.body)
            found.sqlstates.add(told.get("C", ""))
            found.errors.add(told.get("M", "").strip())
    found.statements.discard("")
    yield found


def _sent(found: MessageFacts, message: MessageView) -> None:
    letter, body = message.code, message.body
    if letter == _QUERY:
        found.sql[_text(body)] = None
    elif letter == _PARSE:
        name, _, sql = body.partition(b"\0")
        found.statements.add(_text(name))
        found.sql[_text(sql)] = None
    else:
        if letter == _BIND or letter in _DESCRIBES:
            found.statements.add(_named(letter, body))
        if message.statement is not None:
            found.statements.add(message.statement.name)
            if message.statement.sql is not None:
                found.sql[message.statement.sql] = None


def _named(letter: int, body: bytes) -> str:
    """The statement whose name is in a Bind, Describe or Close."""
    try:
        if letter == _BIND:
            return frontend.bind_summary(body).statement
        described = frontend.Describe.parse(body)
    except MalformedMessage:
        return ""
    return described.name if described.kind == "S" else ""


def _text(data: bytes) -> str:
    """A string of the wire, whole or cut."""
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")
