"""The meaning of a filter: a tree of terms.

A term tests the values that one word has in a row, a list of texts or numbers, and holds if one of
them passes. Every part knows its place in the filter's text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pgtrace.ask.filter.words import Word


@dataclass(frozen=True, slots=True)
class TextTerm:
    """A term with a text: `driver:asyncpg`, `sql ~ select`, `error`."""

    word: Word
    test: Callable[[str], bool]
    """Raises automaton.TooCostly."""
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class NumberTerm:
    """A term with a number: `ms > 10`."""

    word: Word
    test: Callable[[float], bool]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Not:
    """Holds if its part does not."""

    part: Node


@dataclass(frozen=True, slots=True)
class All:
    """Holds if each part does; without parts, always."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Any:
    """Holds if at least one part does."""

    parts: tuple[Node, ...]


Term = TextTerm | NumberTerm
Node = TextTerm | NumberTerm | Not | All | Any
