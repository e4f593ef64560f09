"""Makes the value after an operator into a test for a row.

Values are checked when the filter is parsed. An unknown message, an undefined letter, or an invalid
expression is an error at its place, not a filter that selects nothing.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from typing import Final

from pgtrace import sqltext
from pgtrace.ask.filter.words import ValueKind, Word
from pgtrace.protocol import codes
from pgtrace.regex.automaton import Pattern
from pgtrace.regex.patterns import BadPattern
from pgtrace.trace.counters import INTEGER_KEYS, MESSAGES_OF

_NO_SUMS: Final = ("max_pipeline_depth", "statements_live", "client_ns")
MESSAGES: Final = {
    name.lower(): name
    for names in (*codes.NAMES, codes.AUTHENTICATION_NAMES, codes.RESPONSE_NAMES)
    for name in (*names.values(), "Unknown")
    if name != "Authentication"
}
"""Name of a message in lower case -> the name."""
COUNTERS: Final = {
    name.lower(): name
    for name in (
        *(key for key in INTEGER_KEYS if key not in _NO_SUMS),
        *(f"{table}.{message}" for table, messages in MESSAGES_OF.items() for message in messages),
    )
}
"""Name of a counter in lower case -> the name, for counters that are sums over rows."""
_COMPARISONS: Final[dict[str, Callable[[float, float], bool]]] = {
    ":": operator.eq,
    "<": operator.gt,
    "<=": operator.ge,
    ">": operator.lt,
    ">=": operator.le,
}
"""Comparison -> its function, which takes the filter's number first."""
_NUMBER: Final = re.compile(r"\d{1,15}(?:\.\d{0,9})?")
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{1,16}")
_TRACE: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}|([0-9a-f]{1,32})")
_CONNECTION: Final = re.compile(r"(?:([a-z]+):)?[a-z]?(\d{1,9})", re.IGNORECASE)


class BadValue(Exception):
    """A value that its word cannot have. `position` counts characters of the value."""

    def __init__(self, reason: str, position: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.position = position


def number(comparison: str, value: str) -> Callable[[float], bool]:
    """The test for a comparison with that number. Raises BadValue."""
    if not _NUMBER.fullmatch(value):
        raise BadValue(f"`{value}` is not a number")
    return partial(_COMPARISONS[comparison], float(value))


def counter(name: str) -> str:
    """The counter with that name, in any letter case. Raises BadValue."""
    found = COUNTERS.get(name.lower())
    if name.lower() in _NO_SUMS:
        raise BadValue(f"`{name}` is not a sum over round trips")
    if found is None:
        near = get_close_matches(name.lower(), COUNTERS, 1, 0.5)
        raise BadValue(f"unknown counter `{name}`" + (f"; did you mean {COUNTERS[near[0]]}?" if near else ""))
    return found


def is_some(number: float) -> bool:
    """The test of a counter without a value: it is not 0."""
    return number > 0


def text(word: Word, comparison: str, value: str) -> Callable[[str], bool]:
    """The test for a comparison with that text, by the word's kind. Raises BadValue."""
    if comparison == "~":
        return _matches(value)
    if word.kind is ValueKind.LEG and len(value) == 1 and value.isalpha():
        letter = f"{value.upper()} "
        return lambda found: found.startswith(letter)
    if word.kind in (ValueKind.TEXT, ValueKind.LEG):
        return contains(value)
    if word.kind is ValueKind.LETTER:
        return _ends_in(_letter(word, value))
    if word.kind is ValueKind.STATEMENT:
        return _is_like(sqltext.normalise(value))
    if word.kind is ValueKind.FINGERPRINT:
        return _is_known_by(value.lower())
    if word.kind is ValueKind.TRACE:
        return _is_traced_by(value.lower())
    if word.kind is ValueKind.MESSAGE:
        value = _message(value)
    elif word.kind is ValueKind.CONNECTION:
        value = _connection(value)
    return lambda found: found == value


def contains(value: str) -> Callable[[str], bool]:
    """The test whether a text contains `value`, in any letter case."""
    folded = value.lower()
    return lambda found: folded in found.lower()


def stands_alone(word: Word) -> Callable[[str], bool]:
    """The test of a word without a value."""
    if word.kind is ValueKind.LETTER:
        return lambda found: "T" in found or "E" in found
    return lambda found: True


def _matches(value: str) -> Callable[[str], bool]:
    try:
        return Pattern(value).search
    except BadPattern as error:
        raise BadValue(error.reason, error.position) from None


def _is_like(normalised: str) -> Callable[[str], bool]:
    return lambda found: sqltext.normalise(found) == normalised


def _is_known_by(beginning: str) -> Callable[[str], bool]:
    if not _FINGERPRINT.fullmatch(beginning):
        raise BadValue(f"`{beginning}` is not a fingerprint: use up to 16 digits and letters from a to f")
    return lambda found: sqltext.fingerprint(found).startswith(beginning)


def _is_traced_by(value: str) -> Callable[[str], bool]:
    found = _TRACE.fullmatch(value)
    if found is None:
        raise BadValue(f"`{value}` is not a trace id: up to 32 digits and letters from a to f, or a whole traceparent")
    beginning = found[1] or found[2]
    return lambda trace_id: trace_id.startswith(beginning)


def _ends_in(letter: str) -> Callable[[str], bool]:
    return lambda found: found.endswith(letter)


def _letter(word: Word, value: str) -> str:
    for one in word.letters:
        if value and one.lower().startswith(value.lower()):
            return one[0]
    raise BadValue(f"`{word.name}` is one of {', '.join(word.letters)}, or their first letters")


def _message(value: str) -> str:
    name = MESSAGES.get(value.lower())
    if name is None:
        near = get_close_matches(value.lower(), MESSAGES, 1, 0.5)
        raise BadValue(f"unknown message `{value}`" + (f"; did you mean {MESSAGES[near[0]]}?" if near else ""))
    return name


def _connection(value: str) -> str:
    found = _CONNECTION.fullmatch(value)
    if found is None:
        raise BadValue(f"`{value}` is not a connection: use 2, or b:2 for the second of several files")
    return f"{found[1].lower()}:{int(found[2])}" if found[1] else str(int(found[2]))
