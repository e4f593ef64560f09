"""A golden: a trace as text in libpq's trace format, connection by connection. The same work gives
the same text.

    golden.text(trace)                    the whole trace
    golden.text(trace, mark="checkout")   the round trips that opened while the mark was open

A section begins with a `#` line that names its connection. Below it are the connection's rows in
order: for each row the frontend's messages, then the backend's. That is the order in which libpq
prints a session that never sends ahead. For a pipeline it is the one among libpq's possible orders
that does not depend on when answers arrive. Asynchronous messages are where they came: in the open
round trip, or between two.

Order.OPENED, the default: connections in the order in which they opened. Those whose set-ups
overlapped, because the program began them at once, are in the order of their text.

Order.CONTENT, for work that a pool spreads over its connections in any way. First come the set-up
and end of each connection. Then, for each driver, one section has the work of all its connections.
It is cut into units, from one ReadyForQuery outside a transaction to the next, in the order of
their text; units that prepare a named statement come first. A round trip that only prepares and
ends with a Flush is a separate unit. The text does not show which connection did which work, or
when. A name that a driver generated becomes the number of its statement's text.

docs/golden.md has the rules with examples.
"""

from __future__ import annotations

import enum
import hashlib
import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from pgtrace import sanitise
from pgtrace.capture.golden import CLOSED, GOLDEN_VERSION, TITLE
from pgtrace.errors import UsageError
from pgtrace.export.normalising import Normaliser
from pgtrace.export.rules import Rule
from pgtrace.export.waiting import Waiting
from pgtrace.identify.drivers import BY_NAME, UNKNOWN
from pgtrace.identify.drivers.names import StableNames
from pgtrace.inspect import details
from pgtrace.inspect.message import MessageView
from pgtrace.protocol import codes, registry
from pgtrace.protocol.message import MalformedMessage
from pgtrace.protocol.pqtrace import writing
from pgtrace.trace.connection import Connection
from pgtrace.trace.noted_marks import mark_counters
from pgtrace.trace.row import Row, RowKind
from pgtrace.trace.trace import Trace

WRITTEN_BYTES = 4 * 1024 * 1024
"""Longer messages are written without their fields."""
_LONGEST_HEADER = 5
_COMPARED_LINES = 1_000
"""How many lines of sections are compared before a hash of the rest decides their order."""
_NOTES = {
    RowKind.CLOSED: CLOSED,
    RowKind.OPAQUE: "# encrypted, or not PostgreSQL",
    RowKind.UNDECODED: "# bytes that could not be decoded",
    RowKind.GAP: "# bytes are missing here",
}
_IN_BLOCK = {"T": ", in a transaction", "E": ", in a failed transaction"}


class Order(enum.StrEnum):
    """The order of connections and their work."""

    OPENED = "opened"
    CONTENT = "content"


def text(
    trace: Trace,
    *,
    mark: str | None = None,
    places: Iterable[int] | None = None,
    order: Order | str = Order.OPENED,
    rules: Sequence[Rule] = (),
    plain: bool = False,
    everything: bool = False,
) -> str:
    """The text of the rows at `places`, or of those that began inside the mark; by default, of all
    rows. Raises UsageError if there is no such mark or a rule takes too long.
    """
    found = lines(trace, mark=mark, places=places, order=order, rules=rules, plain=plain, everything=everything)
    return "".join([f"{line}\n" for line in found])


def lines(
    trace: Trace,
    *,
    mark: str | None = None,
    places: Iterable[int] | None = None,
    order: Order | str = Order.OPENED,
    rules: Sequence[Rule] = (),
    plain: bool = False,
    everything: bool = False,
) -> Iterator[str]:
    """The same text, message by message. A message takes several lines if a text in it has line
    ends.
    """
    chosen = range(len(trace.rows)) if places is None else places
    if mark is not None:
        if mark not in (known := mark_counters(trace)):
            raise UsageError(f"no mark {mark!r}; the marks are: {', '.join(map(repr, known)) or 'none'}")
        chosen = (place for place in chosen if mark in trace.marks.names_at(place))
    by_connection: dict[int, array[int]] = {}
    for place in chosen:
        row = trace.rows[place]
        # a capture may have only a gap
        if row.shape.kind is not RowKind.MARK and row.connection < len(trace.connections):
            by_connection.setdefault(row.connection, array("Q")).append(place)
    yield f"{TITLE} {GOLDEN_VERSION}"
    writer = _ByContent if order == Order.CONTENT else _ByOpening
    yield from writer(trace, by_connection, rules, plain=plain, everything=everything).lines()


class _ByOpening:
    """Order.OPENED: one section per connection."""

    def __init__(self, trace: Trace, places: dict[int, array[int]], rules: Sequence[Rule], *, plain: bool, everything: bool) -> None:
        self._trace = trace
        self._places = places
        self._rules = rules
        self._plain = plain
        self._everything = everything

    def lines(self) -> Iterator[str]:
        """The lines of all sections."""
        ordered = list(self._ordered())
        numbers = {index: number for number, index in enumerate(ordered, 1)}
        for index in ordered:
            yield self._heading(index, numbers)
            yield from self._section(index)

    def _ordered(self) -> Iterator[int]:
        """Connections in the order in which they opened; those set up at once in the order of their
        texts.
        """
        together: list[int] = []
        until = -math.inf
        for index in sorted(self._places, key=lambda index: (self._trace.connections[index].opened_ns, index)):
            if self._trace.connections[index].opened_ns >= until and together:
                yield from self._by_text(together)
                together = []
            together.append(index)
            until = max(until, self._set_up_ns(index))
        yield from self._by_text(together)

    def _set_up_ns(self, index: int) -> float:
        """When the connection's set-up ended, in ns, as far as the trace has it."""
        end = -math.inf
        for place in self._places[index]:
            row = self._trace.rows[place]
            if row.shape.kind is not RowKind.SETUP:
                break
            end = math.inf if row.is_open else row.opened_ns + (row.duration_ns or 0)
        return end

    def _by_text(self, indexes: list[int]) -> list[int]:
        return sorted(indexes, key=self._key) if len(indexes) > 1 else indexes

    def _key(self, index: int) -> tuple[list[str], bytes]:
        written = self._section(index)
        first, rest = list(islice(written, _COMPARED_LINES)), hashlib.sha256()
        for line in written:
            rest.update(line.encode("utf-8", "surrogateescape"))
        return first, rest.digest()

    def _heading(self, index: int, numbers: dict[int, int]) -> str:
        connection = self._trace.connections[index]
        # A cancel request does not show its driver.
        driver = UNKNOWN if connection.kind == "cancel" else connection.driver
        about = f"# connection {numbers[index]}: {sanitise.text(driver)}"
        rows = (self._trace.rows[place] for place in self._places[index])
        first = next((row for row in rows if row.shape.kind is not RowKind.UNDECODED), None)
        if first is None:
            return about
        if connection.cancels is not None and first.shape.kind is RowKind.CANCEL:
            return f"{about}, cancels connection {numbers[connection.cancels]}" if connection.cancels in numbers else about
        if first.shape.kind in (RowKind.ROUND_TRIP, RowKind.RUN, RowKind.ASYNCHRONOUS):
            return f"{about}, begun before{_IN_BLOCK.get(first.shape.status_before, '')}"
        return about

    def _section(self, index: int) -> Iterator[str]:
        connection = self._trace.connections[index]
        return self._rows(self._places[index], self._normaliser(connection))

    def _normaliser(self, connection: Connection) -> Normaliser:
        driver = None if self._plain else BY_NAME.get(connection.driver)
        drawn = driver.drawn_names if driver is not None else None
        return Normaliser(StableNames(drawn), self._rules)

    def _rows(self, places: Iterable[int], normaliser: Normaliser) -> Iterator[str]:
        begun = False
        for place in places:
            row = self._trace.rows[place]
            kind = row.shape.kind
            # undecodable bytes before it are part of its unseen beginning
            begun = begun or kind is not RowKind.UNDECODED
            if kind not in _NOTES:
                try:
                    yield from self._row(row, place, normaliser)
                except details.NotKept:
                    yield f"# {details.NOT_KEPT}"
            elif begun and not (kind is RowKind.CLOSED and self._trace.connections[row.connection].terminated):
                yield _NOTES[kind]

    def _row(self, row: Row, place: int, normaliser: Normaliser) -> Iterator[str]:
        """The frontend's messages of a row, then the backend's. The latter wait only until the
        frontend's are complete.
        """
        waiting = Waiting()
        unsent = row.sent_bytes
        for view in details.scan(self._trace, place, WRITTEN_BYTES):
            if view.side == codes.FRONTEND:
                unsent -= view.size
                yield self._line(view, normaliser)
            elif self._everything or view.name != "AuthenticationOk":
                waiting.append(self._line(view, normaliser))
            if unsent <= 0:
                yield from waiting.taken()
        yield from waiting.taken()

    def _line(self, view: MessageView, normaliser: Normaliser) -> str:
        length = view.size - 1 if view.is_typed else view.size
        if len(view.body) + _LONGEST_HEADER < view.size:
            return writing.undecoded(view.side, view.code, view.name, length)
        try:
            message = registry.decode(view.side, view.code, view.body, view.authentication)
        except MalformedMessage:
            return writing.undecoded(view.side, view.code, view.name, length)
        other = normaliser.message(message, self._number(view))
        if other is not message:
            length += len(other.build()) - len(view.body)
        return writing.line(other, length, regress=not self._plain)

    def _number(self, view: MessageView) -> int | None:
        """The number that replaces a generated name in that message; None for the next number."""
        return None


class _ByContent(_ByOpening):
    """Order.CONTENT: connections without their work, then the work, sorted in memory."""

    def lines(self) -> Iterator[str]:
        """The lines of all sections."""
        own, work = self._parted()
        self._numbers = self._numbered(work)
        whole, self._places = self._places, own
        ordered = sorted(own, key=self._key)
        numbers = {index: number for number, index in enumerate(ordered, 1)}
        for index in ordered:
            yield self._heading(index, numbers)
            yield from self._section(index)
        self._places = whole
        drivers: dict[str, list[tuple[bool, list[str]]]] = {}
        for index, units in work.items():
            connection = self._trace.connections[index]
            for unit in units:
                prepares = any(self._trace.rows[place].shape.prepares for place in unit)
                drivers.setdefault(connection.driver, []).append((not prepares, list(self._rows(unit, self._normaliser(connection)))))
        for driver in sorted(drivers):
            yield f"# connections: {sanitise.text(driver)}, begun before, their work in the order of its text"
            for _, written in sorted(drivers[driver]):
                yield from written

    def _parted(self) -> tuple[dict[int, array[int]], dict[int, list[array[int]]]]:
        """For each connection, the rows of its set-up and end, and its units."""
        own: dict[int, array[int]] = {}
        work: dict[int, list[array[int]]] = {}
        for index, places in self._places.items():
            units: list[array[int]] = []
            prepared: list[array[int]] = []
            ended = True
            for place in places:
                shape = self._trace.rows[place].shape
                if shape.prepares and not shape.depth and b"Z" not in shape.received:
                    prepared.append(array("Q", [place]))
                    continue
                if shape.kind is RowKind.ROUND_TRIP:
                    if ended or not units:
                        units.append(array("Q"))
                    ended = shape.received.endswith(b"Z") and shape.status not in _IN_BLOCK
                if shape.kind in (RowKind.ROUND_TRIP, RowKind.ASYNCHRONOUS) and units:
                    units[-1].append(place)
                else:
                    own.setdefault(index, array("Q")).append(place)
            work[index] = prepared + units
        return own, work

    def _numbered(self, work: dict[int, list[array[int]]]) -> dict[str, int]:
        """A number for each text of a statement."""
        texts: set[str] = set()
        drawing = [units for index, units in work.items() if self._normaliser(self._trace.connections[index]).names.drawn is not None]
        for place in (place for units in drawing for unit in units for place in unit):
            try:
                for view in details.scan(self._trace, place):
                    if view.statement is not None and view.statement.name and view.statement.sql is not None:
                        texts.add(view.statement.sql)
            except details.NotKept:
                continue  # its lines show the failure
        return {sql: number for number, sql in enumerate(sorted(texts), 1)}

    def _number(self, view: MessageView) -> int | None:
        return self._numbers.get(view.statement.sql) if view.statement is not None and view.statement.sql is not None else None
