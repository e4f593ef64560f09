"""The meaning of a filter: a tree of terms.

A term asks one word for its value in a row, a list of texts or of numbers, and holds if one of them
passes its test. Every part knows its place in the filter's text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pgtrace.ask.filter.words import Word


@dataclass(frozen=True, slots=True)
class TextTerm:
    """`driver:asyncpg`, `sql ~ select`, `error`."""

    word: Word
    test: Callable[[str], bool]
    """Raises automaton.TooCostly."""
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class NumberTerm:
    """`ms > 10`."""

    word: Word
    test: Callable[[float], bool]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: Node


@dataclass(frozen=True, slots=True)
class All:
    """Each part holds; without parts always."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Any:
    """One part holds."""

    parts: tuple[Node, ...]


Term = TextTerm | NumberTerm
Node = TextTerm | NumberTerm | Not | All | Any
