"""The facts from one row's messages, read from the capture, for rows that the index does not know
completely.

They include all statements and errors, not only the first; messages beyond the first thousands; and
the kind of each authentication message (`p` or `R`). The row is read once, in one pass, however
many messages it has. Each value is kept once.
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
    """The different values in a row's messages."""

    types: set[str] = field(default_factory=set)
    sql: dict[str, None] = field(default_factory=dict)
    """The SQL of its statements, in order."""
    statements: set[str] = field(default_factory=set)
    """Names of prepared statements."""
    sqlstates: set[str] = field(default_factory=set)
    errors: set[str] = field(default_factory=set)


def read(trace: Trace, place: int) -> MessageFacts:
    """Read the facts of the row at that place. Raises details.NotKept."""
    found = MessageFacts()
    for found in reading(trace, place):  # noqa: B007 - the last one
        pass
    return found


def reading(trace: Trace, place: int) -> Iterator[MessageFacts]:
    """Like read(), but yields after each message, for callers with little time. Raises
    details.NotKept.
    """
    found = MessageFacts()
    for message in details.scan(trace, place):
        yield found
        found.types.add(message.name)
        if message.side == FRONTEND:
            _sent(found, message)
        elif message.code == _ERROR:
            error = fields.error_fields(message.body)
            found.sqlstates.add(error.get("C", ""))
            found.errors.add(error.get("M", "").strip())
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
    """The statement name in a Bind, Describe or Close."""
    try:
        if letter == _BIND:
            return frontend.bind_summary(body).statement
        described = frontend.Describe.parse(body)
    except MalformedMessage:
        return ""
    return described.name if described.kind == "S" else ""


def _text(data: bytes) -> str:
    """A String from the wire, possibly cut."""
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")
