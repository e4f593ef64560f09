"""The filter language: which round trips a view, a count or a budget is about.

    error and driver:psycopg or ms > 10 and not sql ~ "^select"

One implementation for all who ask. A text becomes a tree (scanner.py, parser.py, values.py; words.py has the words), a tree over a trace a selection
(facts.py, messages.py, selection.py), a selection counters (counting.py). Regular expressions are matched in linear time (pgtrace/regex). The
grammar, and what each word means, is docs/filter.md.

It knows rows, messages and connections of a trace, and no terminal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgtrace.ask.filter.parser import parse as _parse
from pgtrace.ask.filter.selection import Selection
from pgtrace.ask.filter.tree import Node
from pgtrace.errors import FilterError

if TYPE_CHECKING:
    from pgtrace.trace.trace import Trace

__all__ = ["Filter", "FilterError", "Selection", "parse"]


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter as it was written, and what it means."""

    text: str
    tree: Node

    def over(self, trace: Trace) -> Selection:
        """What it selects of a trace."""
        return Selection(self.text, self.tree, trace)


def parse(text: str) -> Filter:
    """The filter a text is; an empty one selects everything. Raises FilterError."""
    return Filter(text, _parse(text))
