"""Completions in a filter: words, and values that occur, each with the number of round trips that
it would select.

expected() says where the cursor is: at the beginning of a word, or in the value after one.
Occurring has the values. It counts how often each connection, shape and label occurs among complete
round trips. There are few of these, and the values are computed from them on demand. Values that
the index does not have (the second statement of a pipeline, the kind of an authentication message)
are not offered, but you can still type them.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from string import ascii_lowercase
from typing import TYPE_CHECKING, Final

from pgtrace.ask.filter.facts import OF_CONNECTION, types_of
from pgtrace.ask.filter.values import COUNTERS
from pgtrace.ask.filter.words import COUNT, KEYED, TAG, WORDS, ValueKind, Word, known
from pgtrace.sqltext import tags
from pgtrace.trace.feed import CompleteRows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pgtrace.trace.row import Shape
    from pgtrace.trace.rows import Columns
    from pgtrace.trace.trace import Trace

_VALUE: Final = re.compile(
    r"""(?:^|[\s(])((?:tag|count)\.[\w.%-]+|[A-Za-z_]\w*)\s*(?:<=|>=|[~:=<>])\s*((?:"[^"]*)|(?:'[^']*)|[^\s()"']*)$"""
)
_WORD: Final = re.compile(r"[^\s()\"']*$")
_PLAIN: Final = re.compile(r"[^\s()\"']+")


@dataclass(frozen=True, slots=True)
class Expected:
    """The word or value at the cursor; text[start:cursor] is the part typed so far."""

    start: int
    typed: str
    word: Word | None
    """The word that the value belongs to; None for a word itself."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A replacement for what was typed."""

    text: str
    round_trips: int | None
    """How many round trips it would select; None for a word."""
    meaning: str = ""


def expected(text: str, cursor: int) -> Expected:
    """The word or value being typed at the cursor."""
    before = text[:cursor]
    value = _VALUE.search(before)
    word = known(value[1]) if value is not None else None
    if value is not None and word is not None:
        return Expected(value.start(2), value[2].lstrip("\"'"), word)
    typed = _WORD.search(before)
    return Expected(typed.start(), typed[0], None) if typed is not None else Expected(cursor, "", None)


def quoted(value: str) -> str:
    """A value as it is written in a filter."""
    return value if _PLAIN.fullmatch(value) else '"' + value.replace('"', '""') + '"'


def words(typed: str) -> list[Choice]:
    """The words that begin like this, ready for a value."""
    found = [word for word in WORDS.values() if word.name.lower().startswith(typed.lower())]
    return [
        Choice(
            f"{word.name.partition('.')[0]}."
            if word.name in KEYED.values()
            else word.name
            if word.alone
            else f"{word.name} > "
            if word.kind is ValueKind.NUMBER
            else f"{word.name}:",
            None,
            word.meaning,
        )
        for word in found
    ]


def counter_words(typed: str) -> list[Choice]:
    """Words for the counters that begin like this: first those that are no message."""
    names = sorted(COUNTERS.values(), key=lambda name: "." in name)
    return [Choice(f"{COUNT}{name}", None) for name in names if f"{COUNT}{name}".lower().startswith(typed.lower())]


class Occurring(CompleteRows):
    """The values that occur in the round trips of a trace, as far as it has been fed."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._connections: Counter[int] = Counter()
        self._shapes: Counter[int] = Counter()
        self._labels: Counter[int] = Counter()
        self._errors: Counter[int] = Counter()  # labels with an error
        self._marks: Counter[str] = Counter()

    def completed(self, rows: Columns) -> None:
        rows = rows.round_trips
        for (connection, shape, label), number in rows.alike.items():
            self._connections[connection] += number
            self._shapes[shape] += number
            self._labels[label] += number
            if rows.index.shape_at(shape).errors:
                self._errors[label] += number
        if self.trace.marks.any:
            for place in rows.places:
                self._marks.update(set(self.trace.marks.names_at(place)))

    def values(self, word: Word, typed: str = "") -> list[Choice]:
        """The values of a word that begin like this, the most frequent first."""
        found: Counter[str] = Counter()
        if word.name in OF_CONNECTION:
            self._add(found, self._connections, lambda index: (OF_CONNECTION[word.name](self.trace.connections[index]),))
        elif word.name in _OF_SHAPE:
            self._add(found, self._shapes, lambda number: _OF_SHAPE[word.name](self.trace.rows.shape_at(number)))
        elif word.name == "conn":
            self._add(found, self._connections, lambda index: (_number(self.trace.name_of(self.trace.connections[index])),))
        elif word.name == "label":
            self._add(found, self._connections, lambda index: (self.trace.label_of(self.trace.connections[index]),))
        elif word.name == "sqlstate":
            self._add(found, self._errors, self._sqlstates)
        elif word.name == "mark":
            found = self._marks
        elif word.name.startswith(TAG) or word.name == "trace":
            self._add(
                found,
                self._labels,
                lambda label: set(tags.values(self._sql(label), word.key) if word.name != "trace" else tags.trace_ids(self._sql(label))),
            )
        begun = [(value, number) for value, number in found.most_common() if value.lower().startswith(typed.lower())]
        return [Choice(quoted(value), number) for value, number in begun]

    def tag_words(self, typed: str) -> list[Choice]:
        """Words for the tags that occur and begin like this, the most frequent first."""
        found: Counter[str] = Counter()
        self._add(found, self._labels, lambda label: {key for key, _ in tags.tags(self._sql(label))})
        return [Choice(f"{TAG}{key}:", number) for key, number in found.most_common() if f"{TAG}{key}".startswith(typed)]

    def _sql(self, label: int) -> str:
        return self.trace.rows.label_at(label).sql

    @staticmethod
    def _add(found: Counter[str], counted: Counter[int], values: Callable[[int], Iterable[str]]) -> None:
        for key, number in counted.items():
            for value in values(key):
                if value:
                    found[value] += number

    def _sqlstates(self, label: int) -> tuple[str, ...]:
        sqlstate = self.trace.rows.label_at(label).sqlstate
        return (sqlstate,) if sqlstate else ()


def _number(name: str) -> str:
    """`2`, or `c:2` in the third of several files."""
    return name if ":" in name else name.lstrip(ascii_lowercase)


_OF_SHAPE: Final[dict[str, Callable[[Shape], Iterable[str]]]] = {
    "type": types_of,
    "stmt": lambda shape: (shape.statement,),
    "fmt": lambda shape: (shape.formats,),
    "tx": lambda shape: (shape.status,),
}
