"""The round trips that a filter selects in a capture or a window: their exact counters, and their
rows.

    capture.where("driver:asyncpg and error").round_trips

docs/filter.md describes the language. The counters are sums over the index
(ask/filter/rowcounting.py), so the rows that show() lists add up to them. Only if the index could
not keep the counts of each row, the capture is read a second time (ask/filter/counting.py).
"""

from __future__ import annotations

from collections.abc import Iterable

from pgtrace import sanitise
from pgtrace.ask import filter as filters
from pgtrace.ask.filter.counting import CountedTrace
from pgtrace.ask.filter.rowcounting import RowCounts
from pgtrace.ask.filter.selection import Listed, Selection
from pgtrace.sanitise import Shown
from pgtrace.testing.counted import Counted
from pgtrace.testing.rendering import flight_lines, summary
from pgtrace.trace.counters import Counters
from pgtrace.trace.row import Row
from pgtrace.trace.trace import Trace


class Selected(Counted):
    """The selected round trips of a trace as it is now; later ones are not among them."""

    def __init__(self, trace: Trace, text: str, places: Iterable[int]) -> None:
        """Select among the rows at these places. Raises FilterError, CaptureError."""
        self.text = text
        """The filter."""
        self.trace = trace
        selection = filters.parse(text).over(trace)
        self.places = list(selection.among(list(places)))
        """The places of the selected rows in the timeline of the trace."""
        self._counters = _counters(selection, self.places)

    @property
    def counters(self) -> Counters:
        return self._counters

    @property
    def timeline(self) -> list[Row]:
        """The selected rows."""
        return [self.trace.rows[place] for place in self.places]

    def show(self) -> Shown:
        """The selected round trips in flight notation, one per line."""
        return sanitise.lines(flight_lines(self.trace, self.timeline))

    def __str__(self) -> str:
        return self.show()

    def __repr__(self) -> str:
        return f"<Selected {self.text!r}: {summary(self._counters)}>"


def _counters(selection: Selection, places: list[int]) -> Counters:
    """The counters of the round trips among these rows, which the selection has selected."""
    listed = Listed(selection, sorted(set(places)))
    sums = RowCounts(listed, places)
    while sums.update():
        pass
    if sums.is_exact:
        return sums.totals()
    again = CountedTrace(listed)
    try:
        while again.update():
            pass
        return again.totals()
    finally:
        again.close()
