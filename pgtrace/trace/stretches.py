"""What the rows of each stretch of the timeline have in common, and the sums of its round trips.

    stretches = Stretches(feed)
    stretch = stretches.at(0)

Most rows are like others. If you test all rows for something, as a filter does, you test each
combination of connection, shape and label in a stretch only once, and take the sums of the stretch
instead of adding its rows again. Then a row costs nothing.

A stretch is available once all of its rows have passed and are complete. A stretch with many
different rows is not kept, and neither is any beyond KEYS_KEPT: then you have to test the rows
themselves.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from pgtrace.trace.feed import CompleteRows, Feed
from pgtrace.trace.rows import STRETCH, Columns
from pgtrace.trace.rowsums import RowSums

MOST_KEYS: Final = 128
"""The most different rows of a stretch."""
KEYS_KEPT: Final = 40_000
"""The most different rows over all stretches: about 16 MiB."""


class Stretch:
    """STRETCH consecutive rows."""

    __slots__ = ("alike", "relabelled", "rows", "start", "sums")

    def __init__(self, start: int, sums: RowSums) -> None:
        self.start = start
        self.rows = 0
        """How many rows have been added."""
        self.alike: Counter[tuple[int, int, int]] = Counter()
        """The number of rows of each connection, shape and label."""
        self.sums = sums
        """The sums of its round trips."""
        self.relabelled = 0

    @property
    def stop(self) -> int:
        """The place after its last row."""
        return self.start + STRETCH


class Stretches(CompleteRows):
    """The stretches of a trace, by their first rows."""

    def __init__(self, feed: Feed) -> None:
        self._trace = feed.trace
        self._kept: dict[int, Stretch | None] = {}
        """None for a stretch that is not kept."""
        self._keys = 0
        feed.subscribe(self)

    @staticmethod
    def span(place: int) -> range:
        """The places of the stretch that contains this place."""
        start = place // STRETCH * STRETCH
        return range(start, start + STRETCH)

    def at(self, start: int) -> Stretch | None:
        """The stretch that begins at this place; None if it is not complete, or not kept."""
        found = self._kept.get(start)
        if found is None or found.rows < STRETCH:
            return None
        relabelled = self._trace.rows.relabelled[start // STRETCH]
        if relabelled != found.relabelled:
            found.alike = Counter(self._trace.rows.columns(start, found.stop).keys)
            found.relabelled = relabelled
        return found

    def completed(self, rows: Columns) -> None:
        if not rows:
            return
        if rows.places[-1] in self.span(rows.places[0]):
            self._add(self.span(rows.places[0]).start, rows)
            return
        for span in dict.fromkeys(map(self.span, rows.places)):
            self._add(span.start, rows.where([place in span for place in rows.places]))

    def _add(self, start: int, rows: Columns) -> None:
        """Add these rows of one stretch."""
        stretch = self._kept.get(start, self)
        if stretch is self:
            stretch = self._kept[start] = Stretch(start, RowSums(self._trace)) if self._keys < KEYS_KEPT else None
        if not isinstance(stretch, Stretch):
            return
        before = len(stretch.alike)
        stretch.alike.update(rows.alike)
        stretch.rows += len(rows)
        self._keys += len(stretch.alike) - before
        if len(stretch.alike) <= MOST_KEYS:
            stretch.sums.add(rows.round_trips)
        if len(stretch.alike) > MOST_KEYS or not stretch.sums.is_exact:
            self._keys -= len(stretch.alike)
            self._kept[start] = None
