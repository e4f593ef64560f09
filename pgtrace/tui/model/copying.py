"""The texts that `y` can copy, and their destinations.

A copy goes to the terminal's clipboard (OSC 52). A terminal may refuse that silently, so it also
goes to a file, in a private directory that lives as long as the screen. Text from the wire is made
safe like everything that is shown, but keeps its line breaks and tabs: it is pasted into shells.

A text is made when it is asked for. One that cannot be made raises PgTraceError, which the footer
shows.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

from pgtrace import sanitise
from pgtrace.errors import PgTraceError
from pgtrace.export import golden
from pgtrace.inspect import types
from pgtrace.inspect.executed import MOST, executed
from pgtrace.inspect.literals import written
from pgtrace.inspect.message import FieldView, MessageView
from pgtrace.report.messages import message_as_text, round_trip_line
from pgtrace.temporary import PrivateDirectory
from pgtrace.trace.trace import Trace
from pgtrace.tui.model import rowtext
from pgtrace.tui.model.items import Item
from pgtrace.tui.model.view import View

COPIED_BYTES: Final = 4 * 1024 * 1024
"""The largest row that can be copied, in bytes."""


class Offer(NamedTuple):
    """Something that can be copied."""

    key: str
    name: str
    text: Callable[[], str]


def of_row(view: View, item: Item, execution: int = 0) -> list[Offer]:
    """The parts of a timeline line that can be copied; with `execution`, only that one of its
    statements.
    """
    trace, row = view.trace, item.row
    flight = "\n".join(rowtext.in_words(one) for one in item.rows)
    found = []
    if row.is_round_trip and row.label.sql and not item.folded:
        found.append(Offer("s", "SQL", lambda: _sql(trace, item, execution)))
        if b"B" in row.shape.sent:
            found.append(Offer("p", "SQL with parameters", lambda: _with_parameters(trace, item, execution)))
    found.append(Offer("r", "row", lambda: "\n".join(round_trip_line(trace, one) for one in item.rows)))
    if row.is_round_trip:
        found.append(Offer("f", "flight in words", lambda: safe(flight)))
        found.append(Offer("t", "PQtrace text", lambda: _pqtrace(trace, item)))
    if row.label.error:
        found.append(Offer("e", "error", lambda: safe(row.label.error)))
    remedies = view.remedies(item.place, row.connection)
    if remedies:
        found.append(Offer("d", "remedy", lambda: safe("\n".join(remedies))))
    return found


def of_message(message: MessageView, field: FieldView | None, value: Callable[[FieldView], str], chosen: bytes) -> list[Offer]:
    """The parts of the inspector's message that can be copied: its text, the value of a field as
    shown, and the chosen bytes.
    """
    found = [Offer("m", "message", lambda: "\n".join(message_as_text(message)))]
    if field is None:
        return found
    return [*found, Offer("v", "value", lambda: safe(value(field))), Offer("h", "hex", chosen.hex)]


def _sql(trace: Trace, item: Item, execution: int) -> str:
    """The statements as the application wrote them; equal neighbours appear once."""
    _check_size(item)
    texts = [one.sql for one in executed(trace, item.place, execution or None) if one.sql is not None]
    return safe("\n".join(text for text, _ in groupby(texts)) or item.row.label.sql)


def _with_parameters(trace: Trace, item: Item, execution: int) -> str:
    """The statements that ran, one below the other."""
    _check_size(item)
    known = types.of(trace, trace.connections[item.row.connection])
    statements = [one for one in executed(trace, item.place, execution or None) if one.sql is not None]
    if not statements:
        raise PgTraceError("the statement was prepared before the capture began: its SQL is not known")
    more = f"\n-- the first {MOST}" if len(statements) == MOST else ""
    return safe("\n".join(written(one, known) for one in statements) + more)


def _pqtrace(trace: Trace, item: Item) -> str:
    """The text that libpq writes into its trace."""
    _check_size(item)
    return safe(golden.text(trace, places=item.places, plain=True, everything=True).rstrip("\n"))


def _check_size(item: Item) -> None:
    if sum(row.sent_bytes + row.received_bytes for row in item.rows) > COPIED_BYTES:
        raise PgTraceError("too large to copy: `e` exports it")


def safe(text: str) -> str:
    """Text from the wire without anything that a terminal would interpret."""
    return "\t".join(sanitise.text(part, "\n") for part in text.replace("\r\n", "\n").split("\t"))


class CopyFile:
    """The file that holds the latest copy."""

    def __init__(self) -> None:
        self._directory: PrivateDirectory | None = None

    def write(self, text: str) -> Path:
        """Write the text and return the file's path; raises OSError."""
        if self._directory is None:
            self._directory = PrivateDirectory()
        path = Path(self._directory.path, "copied")
        path.write_text(text + "\n", encoding="utf-8")
        return path

    def close(self) -> None:
        """Remove it."""
        if self._directory is not None:
            self._directory.remove()
            self._directory = None
