"""Decides which rows match the filter, and so which rows the timeline shows.

Everything that narrows the list (a key, a pane, a typed line) is a filter with a text, so it can be
read, edited and undone. ask/filter has the language and its answers. A row is asked when it arrives
and again until it is complete; only then is it known what it is. If only its messages can answer,
they are read a few at a time: holds_if_known() returns None, and must be called again.

The driver of a connection is identified only after its first rows. news() names the rows whose
answer may have changed since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from itertools import compress, islice
from typing import Final

from pgtrace import sqltext
from pgtrace.ask import filter as language
from pgtrace.ask.filter import messages as row_messages
from pgtrace.ask.filter.completion import quoted
from pgtrace.ask.filter.messages import MessageFacts
from pgtrace.ask.filter.selection import SLICE, Decided
from pgtrace.ask.filter.tree import All, Any, Node, Not, TextTerm
from pgtrace.errors import FilterError
from pgtrace.inspect.details import NotKept
from pgtrace.trace.connection import Connection
from pgtrace.trace.groups import EARLIER, FUNCTION, OTHER, StatementGroup
from pgtrace.trace.rows import Columns
from pgtrace.trace.stretches import Stretch
from pgtrace.trace.trace import Trace
from pgtrace.tui.model.asking import LONGEST

_MESSAGES: Final = 256
"""How many messages are read at once."""


def of_connection(name: str) -> str:
    """The filter for the connection with that name: `c2`, `b:3`."""
    return f"conn:{name if ':' in name else name.removeprefix('c')}"


def of_driver(name: str) -> str:
    """The filter for a driver."""
    return f"driver:{quoted(name)}"


def is_only(text: str, word: str) -> bool:
    """Whether a filter is a single word with its value."""
    return text.startswith(word) and isinstance(language.parse(text).tree, TextTerm)


def both(one: str, other: str) -> str:
    """The filter for rows that match both."""
    if not one or not other or one == other:
        return one or other
    return " ".join(f"({text})" if isinstance(language.parse(text).tree, Any) else text for text in (one, other))


def of_statement(sql: str, fingerprint: str = "") -> str:
    """The filter for a statement, whatever its values; empty without SQL."""
    text = f"like:{quoted(sql)}" if sql else ""
    return text if len(text) < LONGEST // 2 else f"fingerprint:{fingerprint or sqltext.fingerprint(sql)}"


def of_group(group: StatementGroup) -> str:
    """The filter for a statement of the table; empty for the sum of statements that are not kept
    apart."""
    if group.sql == OTHER:
        return ""
    if group.fingerprint:
        return of_statement(group.sql, group.fingerprint)
    name = group.sql.removeprefix(EARLIER).strip()
    return "type:FunctionCall" if group.sql == FUNCTION else f"stmt:{quoted(name)}" if name else ""


class Filtering:
    """The filter in force, over a trace that grows."""

    def __init__(self, trace: Trace, driver: Callable[[int], str]) -> None:
        """`driver` gives the driver of a connection, cheaply."""
        self.trace = trace
        self.text = ""
        self.turn = 0
        """Changes whenever a filter is chosen."""
        self._driver = driver
        self._filter = language.parse("")
        self.selection = self._filter.over(trace)
        # rows of which the messages are being read
        self._readings: dict[int, tuple[Iterator[MessageFacts], MessageFacts | None]] = {}
        self._asks_who = False
        # open connections: their first row asked, and who they were
        self._known: dict[int, tuple[int, tuple[str, ...]]] = {}

    @property
    def everything(self) -> bool:
        """Whether nothing is filtered."""
        return not self.text

    def choose(self, text: str) -> None:
        """Apply another filter. Raises FilterError if it is not valid; then the present filter
        stays.
        """
        text = text.strip()
        self._filter = language.parse(text)
        self.text = text
        self.turn += 1
        self._asks_who = bool(_WHO & _words(self._filter.tree))
        self.begin()

    def begin(self) -> None:
        """Start to decide all rows again."""
        self.selection = self._filter.over(self.trace)
        self._known.clear()
        self._readings.clear()

    def count_again(self) -> None:
        """Build the selection again, because other connections count now; the same rows match."""
        self.selection = self._filter.over(self.trace)

    def decide(self, rows: Columns) -> Decided:
        """Which of these rows match, as far as the index knows. Raises FilterError as
        holds_if_known() does."""
        if self._asks_who:
            for index in set(rows.connections) - self._known.keys():
                if index < len(self.trace.connections):
                    self._note(index, rows.places[rows.connections.index(index)])
        try:
            return self.selection.decide(rows)
        except FilterError:
            self.choose("")
            raise

    def decide_alike(self, stretch: Stretch) -> bool | None:
        """Whether all rows of a stretch match, or none does; None if they have to be decided.
        Raises FilterError as holds_if_known() does."""
        if self._asks_who:
            for index in {connection for connection, _, _ in stretch.alike} - self._known.keys():
                if index < len(self.trace.connections):
                    self._note(index, stretch.start)
        try:
            return self.selection.decide_alike(stretch.alike)
        except FilterError:
            self.choose("")
            raise

    def holds_if_known(self, place: int) -> bool | None:
        """Whether a row matches, as far as is known; None while its messages are being read.

        Raises FilterError if an expression takes too long on a row; then nothing is filtered any
        more.
        """
        if self.everything:
            return True
        entry = self.trace.rows.entry(place)
        if self._asks_who and entry.connection < len(self.trace.connections) and entry.connection not in self._known:
            self._note(entry.connection, place)
        try:
            found = self.selection.holds_if_known(place)
            if found is None:
                return False if entry.is_open else self._read(place)
        except FilterError:
            self.choose("")
            raise
        return found

    def news(self) -> Iterator[int]:
        """Places of rows that were asked before, on connections about which more is known now."""
        changed: dict[int, int] = {}
        for index, (first, who) in list(self._known.items()):
            connection = self.trace.connections[index]
            now = self._who(connection)
            if now != who:
                changed[index] = first
                self._known[index] = (first, now)
            elif connection.closed_ns is not None:
                del self._known[index]
        if not changed:
            return iter(())
        self.selection = self._filter.over(self.trace)
        return self._rows_of(changed.keys(), min(changed.values()))

    def _rows_of(self, connections: Set[int], first: int) -> Iterator[int]:
        """Places of the rows of these connections, from one on."""
        rows = self.trace.rows
        for start in range(first, len(rows), SLICE):
            columns = rows.columns(start, start + SLICE)
            yield from compress(columns.places, map(connections.__contains__, columns.connections))

    def _note(self, index: int, place: int) -> None:
        """Remember who an open connection is by the time its first row is asked."""
        connection = self.trace.connections[index]
        if connection.closed_ns is None:
            self._known[index] = (place, self._who(connection))

    def _read(self, place: int) -> bool | None:
        """Continue to read the messages of a row. Returns the answer once all are read."""
        messages, facts = self._readings.pop(place) if place in self._readings else (row_messages.reading(self.trace, place), None)
        read = 0
        try:
            for facts in islice(messages, _MESSAGES):  # noqa: B007 - the last one
                read += 1
        except NotKept:
            return self.selection.count_undecided()
        if read == _MESSAGES:
            self._readings[place] = (messages, facts)
            return None
        return self.selection.holds_if_known(place, facts)

    def _who(self, connection: Connection) -> tuple[str, ...]:
        return (self._driver(connection.index), connection.user, connection.database, connection.application_name)


_WHO: Final = frozenset({"driver", "user", "db", "app"})


def _words(node: Node) -> set[str]:
    """The words that a filter uses."""
    if isinstance(node, Not):
        return _words(node.part)
    if isinstance(node, (All, Any)):
        return {word for part in node.parts for word in _words(part)}
    return {node.word.name}
