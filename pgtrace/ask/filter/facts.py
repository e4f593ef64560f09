"""The values of a row for each word of the language: from the index if possible, otherwise from the
row's messages.

The index has a row's entry, shape, label and connection. It keeps the first of several statements
or errors, and the beginning of a very long flight. Only if that is not enough, the row is read from
the capture again (messages.py). So the answer never depends on what the index keeps, and a filter
over a hundred thousand rows reads only the few that it must.

Rows share connections, shapes and labels, so each of these is tested only once. Many rows are
decided at once, column by column. A row that is not a round trip has values, too: a notification
has its connection and its one message.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from math import isnan
from typing import TYPE_CHECKING, Any, Final

from pgtrace.ask.filter.amounts import Amounts
from pgtrace.describe import notation
from pgtrace.protocol import codes
from pgtrace.protocol.codes import BACKEND, FRONTEND
from pgtrace.sqltext import tags
from pgtrace.trace.files import letters
from pgtrace.trace.row import FLIGHT_KEPT, LONGEST_SQL, NO_FLIGHT, Label, RowKind, Shape, prepared_earlier
from pgtrace.trace.rows import Columns, RowIndex

if TYPE_CHECKING:
    from pgtrace.ask.filter.messages import MessageFacts
    from pgtrace.ask.filter.words import Word
    from pgtrace.trace.connection import Connection
    from pgtrace.trace.trace import Trace

_UNTYPED: Final = {
    notation.START: codes.STARTUP_MESSAGE,
    notation.SSL: codes.SSL_REQUEST,
    notation.GSS: codes.GSSENC_REQUEST,
    notation.CANCEL: codes.CANCEL_REQUEST,
}
_REPLIES: Final = {notation.SSL: codes.SSL_REPLY, notation.GSS: codes.GSSENC_REPLY}
_RESPONSE: Final = ord("p")
_AUTHENTICATION: Final = ord("R")
_CLOSE: Final = ord("C")


class NotRead(Exception):
    """The answer is only in the row's messages, which have not been read."""


class Gone(Exception):
    """The answer is only in the row's messages, which are no longer kept."""


class Subject:
    """A row to test. Its parts are fetched when they are needed."""

    __slots__ = ("_inside", "_reads", "entry", "place", "shape", "trace")

    def __init__(self, trace: Trace, place: int, facts: MessageFacts | None = None, *, reads: bool = True) -> None:
        """Test the row at `place`. `facts` are the facts from its messages, if they have been read.
        Without `reads` they are not read, and a question that needs them raises NotRead.
        """
        self.trace = trace
        self.place = place
        self.entry = trace.rows.entry(place)
        self.shape = trace.rows.shape_at(self.entry.shape)
        self._inside = facts
        self._reads = reads

    @property
    def connection(self) -> Connection:
        return self.trace.connections[self.entry.connection]

    @property
    def inside(self) -> MessageFacts:
        """The facts from its messages. Raises Gone or NotRead."""
        if self._inside is None:
            if not self._reads:
                raise NotRead
            # takes longer to load than a small capture to read
            from pgtrace.ask.filter import messages
            from pgtrace.inspect.walk import NotKept

            try:
                self._inside = messages.read(self.trace, self.place)
            except NotKept:
                raise Gone from None
        return self._inside


TextTest = Callable[[str], bool]
NumberTest = Callable[[float], bool]

NO, YES, UNREAD = 0, 1, 2
"""A term's answer for a row. UNREAD: the answer is only in the row's messages."""
ANSWERS_KEPT: Final = 200_000
"""The most answers that a term keeps."""


class Answers(dict[Any, Any]):
    """A bounded dictionary that computes missing answers."""

    def __init__(self, find: Callable[[Any], Any]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, key: Any) -> Any:
        if len(self) >= ANSWERS_KEPT:
            self.clear()
        found = self[key] = self._find(key)
        return found


class Term(ABC):
    """A word and its test, over one trace."""

    by_key = True
    """Whether the answer is the same for all rows with the same connection, shape and label."""

    @abstractmethod
    def holds(self, subject: Subject) -> bool:
        """Whether the term holds for that row. Raises Gone or NotRead."""

    @abstractmethod
    def answers(self, rows: Columns) -> bytes:
        """NO, YES or UNREAD for each of these rows."""


class OfConnection(Term):
    """A word about the row's connection."""

    def __init__(self, trace: Trace, test: TextTest, values_of: Callable[[Connection], Collection[str]]) -> None:
        self._known = Answers(lambda index: any(map(test, values_of(trace.connections[index]))))

    def holds(self, subject: Subject) -> bool:
        return bool(self._known[subject.entry.connection])

    def answers(self, rows: Columns) -> bytes:
        return bytes(map(self._known.__getitem__, rows.connections))


class OfShape(Term):
    """A word about the row's shape."""

    def __init__(self, trace: Trace, test: TextTest, values_of: Callable[[Shape], Collection[str]]) -> None:
        self._known = Answers(lambda number: any(map(test, values_of(trace.rows.shape_at(number)))))

    def holds(self, subject: Subject) -> bool:
        return bool(self._known[subject.entry.shape])

    def answers(self, rows: Columns) -> bytes:
        return bytes(map(self._known.__getitem__, rows.shapes))


class OfMessages(Term):
    """A word about the messages. `values_of` returns the values that the index knows, `values_in`
    those in the messages.
    """

    def __init__(self, trace: Trace, test: TextTest, values_of: ValuesOf, values_in: Callable[[MessageFacts], Collection[str]]) -> None:
        self._test = test
        self._values_in = values_in
        tested = Answers(test)
        index = trace.rows

        def find(key: tuple[int, int]) -> int:
            texts = values_of(index, index.shape_at(key[0]), key[1])
            return UNREAD if texts is None else any(map(tested.__getitem__, texts))

        self._known = Answers(find)

    def holds(self, subject: Subject) -> bool:
        found = self._known[subject.entry.shape, subject.entry.label]
        return any(map(self._test, self._values_in(subject.inside))) if found == UNREAD else bool(found)

    def answers(self, rows: Columns) -> bytes:
        return bytes(map(self._known.__getitem__, zip(rows.shapes, rows.labels, strict=True)))


class OfType(Term):
    """The word `type`. The index does not know the kinds of authentication messages."""

    def __init__(self, trace: Trace, test: TextTest) -> None:
        self._test = test
        response = any(map(test, codes.RESPONSE_NAMES.values()))
        authentication = any(map(test, (*codes.AUTHENTICATION_NAMES.values(), "Unknown")))

        def find(number: int) -> int:
            shape = trace.rows.shape_at(number)
            if any(map(test, types_of(shape))):
                return YES
            unread = not _is_whole(shape) or (response and _RESPONSE in shape.sent)
            return UNREAD if unread or (authentication and _AUTHENTICATION in shape.received) else NO

        self._known = Answers(find)

    def holds(self, subject: Subject) -> bool:
        found = self._known[subject.entry.shape]
        return any(map(self._test, subject.inside.types)) if found == UNREAD else bool(found)

    def answers(self, rows: Columns) -> bytes:
        return bytes(map(self._known.__getitem__, rows.shapes))


class OfPlace(Term):
    """A word about the row alone. `has_any` says whether any row of the trace has a value."""

    by_key = False

    def __init__(
        self, trace: Trace, test: TextTest, has_any: Callable[[Trace], bool], values_of: Callable[[Trace, int], Collection[str]]
    ) -> None:
        self._trace = trace
        self._has_any = has_any
        self._values_of = values_of
        self._test = test

    def holds(self, subject: Subject) -> bool:
        return any(map(self._test, self._values_of(self._trace, subject.place)))

    def answers(self, rows: Columns) -> bytes:
        if not self._has_any(self._trace):
            return bytes(len(rows))
        return bytes(any(map(self._test, self._values_of(self._trace, place))) for place in rows.places)


class OfNumber(Term):
    """A word with a number."""

    by_key = False

    def __init__(self, test: NumberTest, values_of: Callable[[Columns], Sequence[float]]) -> None:
        self._test = test
        self._values_of = values_of

    def holds(self, subject: Subject) -> bool:
        return self._test(self._values_of(Columns(subject.trace.rows, [subject.place]))[0])

    def answers(self, rows: Columns) -> bytes:
        return bytes(map(self._test, self._values_of(rows)))


class OfCounter(Term):
    """The share of a counter that a row has; 0 on the connections `apart`."""

    by_key = False

    def __init__(self, trace: Trace, test: NumberTest, counter: str, apart: frozenset[int]) -> None:
        self._test = test
        self._apart = apart
        self._amounts = Amounts(trace, counter)

    def holds(self, subject: Subject) -> bool:
        if subject.entry.connection in self._apart:
            return self._test(0)
        if self._amounts.lacks(subject.entry):
            raise Gone
        return self._test(self._amounts(subject.place, subject.entry))

    def answers(self, rows: Columns) -> bytes:
        amounts, test, apart = self._amounts.column(rows), self._test, self._apart
        if apart:
            amounts = [0 if index in apart else amount for index, amount in zip(rows.connections, amounts, strict=True)]
        return bytes(UNREAD if amount is None else test(amount) for amount in amounts)


# Values of connections and rows.


def connection_names(connection: Connection) -> tuple[str, str]:
    """The connection's names in a filter: `2` and `b:2`."""
    return str(connection.number), f"{letters(connection.file)}:{connection.number}"


def leg_of(connection: Connection) -> str:
    """`B 127.0.0.1:6434=db:5432`; without the letter if there is only one leg."""
    return f"{connection.leg} {connection.listener}={connection.upstream}".lstrip()


OF_CONNECTION: Final[dict[str, Callable[[Connection], str]]] = {
    "driver": lambda connection: connection.driver,
    "leg": leg_of,
    "user": lambda connection: connection.user,
    "db": lambda connection: connection.database,
    "app": lambda connection: connection.application_name,
}
"""Words for a text of the connection -> the text. completion.py offers the texts that occur."""


# Words about the messages. Each function returns what the index knows, or None if the messages must
# be read.

ValuesOf = Callable[[RowIndex, Shape, int], Collection[str] | None]
"""(index, shape, number of a label) -> the values; None if the index does not have all of them."""


def sql_of(index: RowIndex, shape: Shape, label: int) -> Collection[str] | None:
    """The SQL of a row's statements; None if the index does not have all of it."""
    if not shape.statements:
        return ()
    sql = index.label_at(label).sql
    if shape.statements > 1 or not label or len(sql) >= LONGEST_SQL or shape.flight == NO_FLIGHT:
        return None
    return () if sql == prepared_earlier(shape.statement) else (sql,)


def statements_of(index: RowIndex, shape: Shape, label: int) -> Collection[str] | None:
    """The names of prepared statements in a row; None if the index does not have all of them."""
    if shape.statements > 1 or not _is_whole(shape) or _CLOSE in shape.sent:
        return None
    return (shape.statement,) if shape.statement else ()


def _error_of(index: RowIndex, shape: Shape, number: int) -> Label | None:
    """The label with the only error of a row; None if the messages must be read."""
    # takes longer to load than a small capture to read
    from pgtrace.describe.arguments import LONGEST

    label = index.label_at(number)
    return label if shape.errors == 1 and label.sqlstate and len(label.error) < LONGEST else None


def sqlstates_of(index: RowIndex, shape: Shape, label: int) -> Collection[str] | None:
    """The SQLSTATEs of a row's errors; None if the index does not have all of them."""
    if not shape.errors:
        return ()
    found = _error_of(index, shape, label)
    return (found.sqlstate,) if found is not None else None


def errors_of(index: RowIndex, shape: Shape, label: int) -> Collection[str] | None:
    """The messages of a row's errors; None if the index does not have all of them."""
    if not shape.errors:
        return ()
    found = _error_of(index, shape, label)
    return (found.message.strip(),) if found is not None else None


def types_of(shape: Shape) -> set[str]:
    """The names of the messages in the shape's flight, without the kinds of authentication
    messages.
    """
    if shape.kind is RowKind.CANCEL:
        return {codes.message_name(FRONTEND, codes.CANCEL_REQUEST)}
    if not shape.sent and not shape.received and shape.kind in (RowKind.RUN, RowKind.ASYNCHRONOUS) and shape.flight != NO_FLIGHT:
        side = FRONTEND if shape.kind is RowKind.RUN else BACKEND
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
    """Whether the shape keeps the whole flight."""
    return shape.flight != NO_FLIGHT and len(shape.sent) < FLIGHT_KEPT and len(shape.received) < FLIGHT_KEPT


def _statuses(shape: Shape) -> Collection[str]:
    return (f"{shape.status_before or '-'}{shape.status or '-'}",)


def _ms(trace: Trace) -> Callable[[Columns], Sequence[float]]:
    """The durations of rows in ms; of an open row, up to now."""

    def values_of(rows: Columns) -> Sequence[float]:
        if not rows.any_open:
            return rows.durations_ms
        now_ns = trace.duration_ns
        return [(now_ns - opened_ns) / 1e6 if isnan(ms) else ms for ms, opened_ns in zip(rows.durations_ms, rows.opened_ns, strict=True)]

    return values_of


def _of_connection(values_of: Callable[[Connection], str]) -> Callable[[Trace, TextTest], Term]:
    return lambda trace, test: OfConnection(trace, test, lambda connection: (values_of(connection),))


def _of_shape(values_of: Callable[[Shape], Collection[str]]) -> Callable[[Trace, TextTest], Term]:
    return lambda trace, test: OfShape(trace, test, values_of)


def _of_place(has_any: Callable[[Trace], bool], values_of: Callable[[Trace, int], Collection[str]]) -> Callable[[Trace, TextTest], Term]:
    return lambda trace, test: OfPlace(trace, test, has_any, values_of)


def _of_messages(values_of: ValuesOf, values_in: Callable[[MessageFacts], Collection[str]]) -> Callable[[Trace, TextTest], Term]:
    return lambda trace, test: OfMessages(trace, test, values_of, values_in)


def _each(values_of: Callable[[str], Iterable[str]], texts: Iterable[str]) -> list[str]:
    """The values of several texts."""
    return [found for text in texts for found in values_of(text)]


def _from_sql(values_of: Callable[[str], Iterable[str]]) -> ValuesOf:
    """A word whose values come from the SQL of the row's statements; None if the index does not
    have all of it.
    """

    def found(index: RowIndex, shape: Shape, label: int) -> Collection[str] | None:
        texts = sql_of(index, shape, label)
        return _each(values_of, texts) if texts is not None else None

    return found


def _of_tag(key: str) -> Callable[[Trace, TextTest], Term]:
    def values_of(sql: str) -> Iterable[str]:
        return tags.values(sql, key)

    return _of_messages(_from_sql(values_of), lambda facts: _each(values_of, facts.sql))


class FirstTag:
    """The first value of a tag in the statements of each row; None if there is none, or if its
    bytes are no longer kept.
    """

    def __init__(self, trace: Trace, key: str) -> None:
        self._trace = trace
        self._values_of = lambda sql: tags.values(sql, key)
        self._known = Answers(self._find)

    def __call__(self, rows: Columns) -> list[str | None]:
        known = map(self._known.__getitem__, zip(rows.shapes, rows.labels, strict=True))
        return [self._read(place) if found is UNREAD else found for place, found in zip(rows.places, known, strict=True)]

    def _find(self, key: tuple[int, int]) -> Any:
        index = self._trace.rows
        texts = sql_of(index, index.shape_at(key[0]), key[1])
        return UNREAD if texts is None else next(iter(_each(self._values_of, texts)), None)

    def _read(self, place: int) -> str | None:
        try:
            return next(iter(_each(self._values_of, Subject(self._trace, place).inside.sql)), None)
        except Gone:
            return None


def of_text(word: Word, trace: Trace, test: TextTest) -> Term:
    """The term of a text word."""
    build = _of_tag(word.key) if word.key else TEXTS[word.name]
    return build(trace, test)


TEXTS: Final[dict[str, Callable[[Trace, TextTest], Term]]] = {
    **{word: _of_connection(values_of) for word, values_of in OF_CONNECTION.items()},
    "conn": lambda trace, test: OfConnection(trace, test, connection_names),
    "label": lambda trace, test: OfConnection(trace, test, lambda connection: [label] if (label := trace.label_of(connection)) else []),
    "fmt": _of_shape(lambda shape: (shape.formats,) if shape.formats else ()),
    "tx": _of_shape(_statuses),
    "at": _of_place(lambda trace: not trace.call_sites.is_empty, lambda trace, place: [site.words for site in trace.call_sites.at(place)]),
    "mark": _of_place(lambda trace: trace.marks.any, lambda trace, place: trace.marks.names_at(place)),
    "type": OfType,
    "stmt": _of_messages(statements_of, lambda facts: facts.statements),
    "sqlstate": _of_messages(sqlstates_of, lambda facts: facts.sqlstates),
    "error": _of_messages(errors_of, lambda facts: facts.errors),
    "sql": _of_messages(sql_of, lambda facts: facts.sql),
    "trace": _of_messages(_from_sql(tags.trace_ids), lambda facts: _each(tags.trace_ids, facts.sql)),
    "tag.KEY": _of_tag("KEY"),
    "like": _of_messages(sql_of, lambda facts: facts.sql),
    "fingerprint": _of_messages(sql_of, lambda facts: facts.sql),
}
"""Text words, the most expensive last."""
NUMBERS: Final[dict[str, Callable[[Trace], Callable[[Columns], Sequence[float]]]]] = {
    "rt": lambda trace: lambda rows: [place + 1 for place in rows.places],
    "ms": _ms,
    "depth": lambda trace: lambda rows: [trace.rows.shape_at(number).depth for number in rows.shapes],
    "rows": lambda trace: lambda rows: rows.rows,
}
