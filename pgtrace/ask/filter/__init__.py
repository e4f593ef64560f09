"""The filter language: selects the round trips for a view, a count or a budget.

    error and driver:psycopg or ms > 10 and not sql ~ "^select"

There is one implementation for all of them. A text becomes a tree (scanner.py, parser.py,
values.py; words.py has the words). A tree over a trace becomes a selection (facts.py, messages.py,
amounts.py for how much of a counter a row has, selection.py), and a selection becomes counters
(rowcounting.py from the index, counting.py by a second reading). completion.py has what you can
type next. Regular expressions are matched in linear time (pgtrace/regex). docs/filter.md has the
grammar and the meaning of each word.

This package knows the rows, messages and connections of a trace, but no terminal.
"""

from __future__ import annotations

from collections.abc import Collection
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
    """A parsed filter: its text and its tree."""

    text: str
    tree: Node

    def over(self, trace: Trace, apart: Collection[int] | None = None) -> Selection:
        """The selection of this filter in a trace. Round trips on the connections `apart` are not
        counted; the default is the trace's own `apart`.
        """
        return Selection(self.text, self.tree, trace, trace.apart if apart is None else apart)


def parse(text: str) -> Filter:
    """Parse the text of a filter; an empty one selects everything. Raises FilterError."""
    return Filter(text, _parse(text))
