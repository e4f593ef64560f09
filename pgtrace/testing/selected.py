"""What a filter selects of a capture or a window: its exact counters, and its rows.

    capture.where("driver:asyncpg and error").round_trips

docs/filter.md describes the language. Counters follow from the protocol state, so they are counted
on a second reading of everything (ask/filter/counting.py). A filter costs one reading, when you ask
for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pgtrace import sanitise
from pgtrace.ask import filter as filters
from pgtrace.ask.filter.counting import CountedTrace
from pgtrace.sanitise import Shown
from pgtrace.testing.counted import Counted
from pgtrace.testing.rendering import flight_lines, summary
from pgtrace.trace.counters import Counters
from pgtrace.trace.marks import Interval
from pgtrace.trace.rows import Row
from pgtrace.trace.trace import Trace


class Selected(Counted):
    """The selected round trips of a trace as it is now; later ones are not among them."""

    def __init__(self, trace: Trace, text: str, places: Iterable[int], marks: Callable[[Trace], Sequence[Interval]] | None = None) -> None:
        """Select from those places of rows; with `marks`, only what is inside them counts. Raises
        FilterError, CaptureError."""
        self.text = text
        """The filter."""
        self.trace = trace
        selection = filters.parse(text).over(trace)
        self.places = list(filter(selection.holds, places))
        """The places of the selected rows in the timeline of the trace."""
        counted = CountedTrace(selection)
        try:
            while counted.update():
                pass
            self._counters = counted.totals() if marks is None else counted.marks.summed(marks(counted), counted.duration_ns)
        finally:
            counted.close()

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
