"""What a row has for each word of the language: from the index if possible, otherwise from its
messages.

Here each word meets its test. The index has the row's entry, its shape, its label and its
connection. Of several statements or errors it shows the first, of a very long flight the beginning.
If that is not all, and only then, the row is read from the capture again (messages.py). So an
answer never depends on what was worth keeping, and a filter over a hundred thousand rows reads only
the few that it must.

Rows share shapes and labels, so a test is made once for each text, not once per row. A row that is
not a round trip still has some facts: a notification has its connection and its one message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final

from pgtrace.ask.filter import messages
from pgtrace.ask.filter.messages import Inside
from pgtrace.describe import arguments, notation
from pgtrace.protocol import codes
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.trace.files import letters
from pgtrace.trace.rows import FLIGHT_KEPT, LONGEST_SQL, NO_FLIGHT, Kind, Shape, prepared_earlier

if TYPE_CHECKING:
    from pgtrace.trace.connection import Connection
    from pgtrace.trace.trace import Trace

_UNTYPED: Final = {
    notation.START: codes.STARTUP_MESSAGE,
    notation.SSL: codes.SSL_REQUEST,
    notation.GSS: codes.GSSENC_REQUEST,
    notation.CANCEL: codes.CANCEL_REQUEST,
}
_REPLIES: Final = {notation.SSL: codes.SSL_REPLY, notation.GSS: codes.GSSENC_REPLY}
TOLD: Final = re.compile(r"(?=.{0,4}\d)([0-9A-Z]{5})(?: (.*))?", re.DOTALL)
"""SQLSTATE and message as in a label; without a digit it is not clear which one is missing."""
_RESPONSE: Final = ord("p")
_AUTHENTICATION: Final = ord("R")
_CLOSE: Final = ord("C")


class Unread(Exception):
    """Only its messages would tell, and they have not been read."""


class Subject:
    """One row to test. Its parts are fetched when they are needed."""

    __slots__ = ("_inside", "_reads", "entry", "place", "shape", "trace")

    def __init__(self, trace: Trace, place: int, told: Inside | None = None, *, reads: bool = True) -> None:
        """`told` is what its messages say, if they have been read. Without `reads` they are not
        read, and a question that needs them raises Unread."""
        self.trace = trace
        self.place = place
        self.entry = trace.rows.entry(place)
        self.shape = trace.rows.shape_at(self.entry.shape)
        self._inside = told
        self._reads = reads

    @property
    def connection(self) -> Connection:
        return self.trace.connections[self.entry.connection]

    @property
    def inside(self) -> Inside:
        """What its messages say. Raises details.NotKept, or Unread."""
        if self._inside is None:
            if not self._reads:
                raise Unread
            self._inside = messages.read(self.trace, self.place)
        return self._inside


TextTest = Callable[[str], bool]
NumberTest = Callable[[float], bool]
Holds = Callable[[Subject], bool]


# Words about the connection.


def _of_connection(says: Callable[[Connection], Collection[str]]) -> Callable[[TextTest], Holds]:
    def build(test: TextTest) -> Holds:
        known: dict[int, bool] = {}

        def holds(subject: Subject) -> bool:
            index = subject.entry.connection
            found = known.get(index)
            if found is None:
                found = known[index] = any(map(test, says(subject.connection)))
            return found

        return holds

    return build


def connection_names(connection: Connection) -> tuple[str, str]:
    """`2` and `b:2`."""
    return str(connection.number), f"{letters(connection.file)}:{connection.number}"


# Words about the traffic. Each returns what the index knows, or None if the messages must be read.


def _of_messages(
    says: Callable[[Subject], Collection[str] | None], told: Callable[[Inside], Collection[str]]
) -> Callable[[TextTest], Holds]:
    def build(test: TextTest) -> Holds:
        known: dict[str, bool] = {}

        def remembered(text: str) -> bool:
            found = known.get(text)
            if found is None:
                found = known[text] = test(text)
            return found

        def holds(subject: Subject) -> bool:
            texts = says(subject)
            return any(map(test, told(subject.inside))) if texts is None else any(map(remembered, texts))

        return holds

    return build


def sql_of(subject: Subject) -> Collection[str] | None:
    """The SQL of its statements; None if the index does not have all of it."""
    shape = subject.shape
    if not shape.statements:
        return ()
    label = subject.trace.rows.label_at(subject.entry.label)
    if shape.statements > 1 or not subject.entry.label or len(label.sql) >= LONGEST_SQL or shape.flight == NO_FLIGHT:
        return None
    return () if label.sql == prepared_earlier(shape.statement) else (label.sql,)


def statements_of(subject: Subject) -> Collection[str] | None:
    """Names of prepared statements; None if the index does not have all of them."""
    shape = subject.shape
    if shape.statements > 1 or not _is_whole(shape) or _CLOSE in shape.sent:
        return None
    return (shape.statement,) if shape.statement else ()


def _error_of(subject: Subject) -> re.Match[str] | None:
    label = subject.trace.rows.label_at(subject.entry.label)
    if subject.shape.errors > 1 or len(label.error) >= arguments.LONGEST:
        return None
    return TOLD.fullmatch(label.error)


def sqlstates_of(subject: Subject) -> Collection[str] | None:
    """SQLSTATEs of its errors; None if the index does not have all of them."""
    if not subject.shape.errors:
        return ()
    told = _error_of(subject)
    return (told[1],) if told is not None else None


def errors_of(subject: Subject) -> Collection[str] | None:
    """Messages of its errors; None if the index does not have all of them."""
    if not subject.shape.errors:
        return ()
    told = _error_of(subject)
    return ((told[2] or "").strip(),) if told is not None else None


def _of_type(test: TextTest) -> Holds:
    known: dict[int, bool | None] = {}
    response = any(map(test, codes.RESPONSE_NAMES.values()))
    authentication = any(map(test, (*codes.AUTHENTICATION_NAMES.values(), "Unknown")))

    def asked(shape: Shape) -> bool | None:
        if any(map(test, types_of(shape))):
            return True
        if not _is_whole(shape) or (response and _RESPONSE in shape.sent) or (authentication and _AUTHENTICATION in shape.received):
            return None
        return False

    def holds(subject: Subject) -> bool:
        number = subject.entry.shape
        if number not in known:
            known[number] = asked(subject.shape)
        found = known[number]
        return any(map(test, subject.inside.types)) if found is None else found

    return holds


def types_of(shape: Shape) -> set[str]:
    """Names of the messages in its flight, except which authentication messages they are."""
    if shape.kind is Kind.CANCEL:
        return {codes.message_name(FRONTEND, codes.CANCEL_REQUEST)}
    if not shape.sent and not shape.received and shape.kind in (Kind.RUN, Kind.ASYNCHRONOUS) and shape.flight != NO_FLIGHT:
        side = FRONTEND if shape.kind is Kind.RUN else BACKEND
        return {codes.message_name(side, ord(shape.flight[0 if side == FRONTEND else -1]))}
    names = {codes.message_name(FRONTEND, _UNTYPED.get(byte, byte)) for byte in shape.sent if byte != _RESPONSE}
    replies = [_REPLIES[byte] for byte in shape.sent if byte in _REPLIES]
    for index, byte in enumerate(shape.received):
        if index < len(replies) and byte != ord("E"):
            names.add(codes.message_name(BACKEND, replies[index]))
        elif byte not in (notation.SKIP, _AUTHENTICATION):
            names.add(codes.message_name(BACKEND, byte))
    return names


def _is_whole(shape: Shape) -> bool:
    """Whether the shape has the whole flight."""
    return shape.flight != NO_FLIGHT and len(shape.sent) < FLIGHT_KEPT and len(shape.received) < FLIGHT_KEPT


# Words about the row as a whole.


def _of_row(says: Callable[[Subject], Collection[str]]) -> Callable[[TextTest], Holds]:
    def build(test: TextTest) -> Holds:
        return lambda subject: any(map(test, says(subject)))

    return build


def _formats(subject: Subject) -> Collection[str]:
    return (subject.shape.formats,) if subject.shape.formats else ()


def _statuses(subject: Subject) -> Collection[str]:
    return (f"{subject.shape.status_before or '-'}{subject.shape.status or '-'}",)


def _ms(subject: Subject) -> float:
    entry = subject.entry
    return (subject.trace.duration_ns - entry.opened_ns) / 1e6 if entry.is_open else entry.duration_ms


TEXTS: Final[dict[str, Callable[[TextTest], Holds]]] = {
    "driver": _of_connection(lambda connection: (connection.driver,)),
    "conn": _of_connection(connection_names),
    "user": _of_connection(lambda connection: (connection.user,)),
    "db": _of_connection(lambda connection: (connection.database,)),
    "app": _of_connection(lambda connection: (connection.application_name,)),
    "fmt": _of_row(_formats),
    "tx": _of_row(_statuses),
    "at": _of_row(lambda subject: [site.words for site in subject.trace.call_sites.at(subject.place)]),
    "mark": _of_row(lambda subject: subject.trace.marks.names_at(subject.place)),
    "type": _of_type,
    "stmt": _of_messages(statements_of, lambda told: told.statements),
    "sqlstate": _of_messages(sqlstates_of, lambda told: told.sqlstates),
    "error": _of_messages(errors_of, lambda told: told.errors),
    "sql": _of_messages(sql_of, lambda told: told.sql),
    "like": _of_messages(sql_of, lambda told: told.sql),
    "fingerprint": _of_messages(sql_of, lambda told: told.sql),
}
"""Text words, the most expensive last."""
NUMBERS: Final[dict[str, Callable[[Subject], float]]] = {
    "rt": lambda subject: subject.place + 1,
    "ms": _ms,
    "depth": lambda subject: subject.shape.depth,
    "rows": lambda subject: subject.entry.rows,
}
