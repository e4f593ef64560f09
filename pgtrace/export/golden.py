"""A trace as text that can be kept and compared: libpq's own trace format, one connection after the other, the same text whenever the same work is done.

    golden.text(trace)                    all of it
    golden.text(trace, mark="checkout")   the round trips that opened while the mark was open

A section begins with a `#` line that says which connection it is; below it are the connection's rows, in their order, and of each row what the frontend
sent, then what the backend sent. That is the order in which libpq prints a session in which nobody sends ahead; of a pipeline it is one of the orders in
which libpq may print it, and the one that does not depend on when an answer arrives. What comes unasked stands where it fell: in the round trip that was
open, or between two.

Connections stand in the order in which they opened; those whose set-ups overlapped, which a program began at once, in the order of their text.
docs/golden.md has the rules with examples.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

from pgtrace.analysis import details
from pgtrace.analysis.connections import Connection
from pgtrace.analysis.details import MessageView
from pgtrace.analysis.rows import Kind, Row
from pgtrace.analysis.trace import Trace
from pgtrace.protocol import codes, registry
from pgtrace.protocol.message import MalformedMessage
from pgtrace.protocol.pqtrace import writing

TITLE = "# pgtrace golden 1"
WRITTEN_BYTES = 16 * 1024 * 1024
"""A longer message is written without its fields."""
_NOTES = {
    Kind.CLOSED: "# closed without Terminate",
    Kind.OPAQUE: "# encrypted, or not PostgreSQL",
    Kind.UNDECODED: "# bytes that could not be decoded",
    Kind.GAP: "# bytes are missing here",
}


def text(
    trace: Trace, *, mark: str | None = None, places: Iterable[int] | None = None, plain: bool = False, everything: bool = False
) -> str:
    """The whole text, of the rows at `places`, or of those that began inside the mark. Raises NotKept."""
    return "".join([f"{line}\n" for line in lines(trace, mark=mark, places=places, plain=plain, everything=everything)])


def lines(
    trace: Trace, *, mark: str | None = None, places: Iterable[int] | None = None, plain: bool = False, everything: bool = False
) -> Iterator[str]:
    """The same, line by line. A message can be several lines where a text in it has line ends."""
    chosen = range(len(trace.rows)) if places is None else places
    if mark is not None:
        chosen = [place for place in chosen if mark in trace.marks.names_at(place)]
    by_connection: dict[int, array[int]] = {}
    for place in chosen:
        row = trace.rows[place]
        if row.shape.kind is not Kind.MARK:
            by_connection.setdefault(row.connection, array("Q")).append(place)
    yield TITLE
    for number, index in enumerate(sorted(by_connection), 1):
        yield from _section(trace, trace.connections[index], number, by_connection[index], plain, everything)


def _section(trace: Trace, connection: Connection, number: int, places: array[int], plain: bool, everything: bool) -> Iterator[str]:
    yield f"# connection {number}: {connection.driver}"
    for place in places:
        row = trace.rows[place]
        if row.shape.kind in _NOTES:
            yield _NOTES[row.shape.kind]
        yield from _row(trace, row, place, plain, everything)


def _row(trace: Trace, row: Row, place: int, plain: bool, everything: bool) -> Iterator[str]:
    """What the frontend sent, then what the backend sent; the latter waits only as long as something of the former is still to come."""
    waiting: list[str] = []
    unsent = row.sent_bytes
    for view in details.scan(trace, place, WRITTEN_BYTES):
        shown = everything or view.name != "AuthenticationOk"
        if view.side == codes.FRONTEND:
            unsent -= view.size
            yield _line(view, plain)
        elif shown:
            waiting.append(_line(view, plain))
        if unsent <= 0:
            yield from waiting
            waiting.clear()
    yield from waiting


def _line(view: MessageView, plain: bool) -> str:
    length = view.size - 1 if view.is_typed else view.size
    try:
        message = registry.decode(view.side, view.code, view.body, view.authentication)
    except MalformedMessage:
        return writing.undecoded(view.side, view.code, view.name, length)
    return writing.line(message, length, regress=not plain)
