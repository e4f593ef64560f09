"""The filter language: selects the round trips for a view, a count or a budget.

    error and driver:psycopg or ms > 10 and not sql ~ "^select"

There is one implementation for all. A text becomes a tree (scanner.py, parser.py, values.py;
words.py has the words). A tree over a trace becomes a selection (facts.py, messages.py,
selection.py), and a selection becomes counters (rowcounting.py from the index, counting.py by a
second reading). completion.py has what you can type next. Regular expressions are matched in linear
time (pgtrace/regex). docs/filter.md has the grammar and the meaning of each word.

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
    """A filter as written, and its meaning."""

    text: str
    tree: Node

    def over(self, trace: Trace) -> Selection:
        """What it selects of a trace."""
        return Selection(self.text, self.tree, trace)


def parse(text: str) -> Filter:
    """Parse the text of a filter; an empty one selects everything. Raises FilterError."""
    return Filter(text, _parse(text))
