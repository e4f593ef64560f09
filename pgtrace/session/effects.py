"""What one row counts, exactly: each distinct set of counts once, however many rows share it.

A session counts into one Tally while a row is under way, and take()s it when the row has ended: what has been counted
since the row before belongs to this one. Drivers repeat themselves, so a few hundred Effects stand for millions of
rows, and sums over rows are sums over Effects.

Rows of a result differ from one execution to the next while nothing else does. So where each DataRow has as many
values as the others, DataRow and its values are left out of the counts, and an Effect says how many values one of
them has; how many there were is the row's own number.

Bounded: beyond KEPT_BYTES an Effect is not remembered, and its number is UNKNOWN. It still adds up; who has the number
alone cannot know what it counts.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Final

from pgtrace.session.events import Exchange, Tally

KEPT_BYTES: Final = 32 * 1024 * 1024
UNKNOWN: Final = 0
"""The number of what is not remembered."""
_ROW: Final = ord("D")
_OVERHEAD_BYTES: Final = 400
_ITEM_BYTES: Final = 100
"""What one entry of a table takes, its numbers included."""
_NAMES: Final = tuple(name for name in Tally.__slots__ if name not in ("frontend", "backend", "values_text", "values_binary"))
_NUMBERS: Final = attrgetter(*_NAMES)
_SUMMED: Final = tuple((place, name) for place, name in enumerate(_NAMES) if name != "max_pipeline_depth")
_DEPTH: Final = _NAMES.index("max_pipeline_depth")

_Counts = tuple[tuple[int, ...], tuple[int, int], int, tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]


class Effect:
    """The counts of a row. Immutable, and shared."""

    __slots__ = ("_counts", "number")

    def __init__(self, counts: _Counts, number: int) -> None:
        self._counts = counts
        self.number = number
        """By which Effects knows it, or UNKNOWN."""

    def add_to(self, tally: Tally, times: int, rows: int) -> None:
        """Add what so many rows of the timeline count that had so many DataRows together."""
        numbers, (text, binary), exact, frontend, backend = self._counts
        for place, name in _SUMMED:
            if numbers[place]:
                setattr(tally, name, getattr(tally, name) + times * numbers[place])
        if times:
            tally.max_pipeline_depth = max(tally.max_pipeline_depth, numbers[_DEPTH])
        for mine, its in ((tally.frontend, frontend), (tally.backend, backend)):
            for code, count in its:
                mine[code] += times * count
        if rows:
            tally.backend[_ROW] += rows
        values = times if exact else rows
        tally.values_text += values * text
        tally.values_binary += values * binary


class Effects:
    """Those of one reading."""

    def __init__(self) -> None:
        self._known: dict[_Counts, Effect] = {}
        self._by_number: list[Effect | None] = [None]
        self._bytes = 0
        self.nothing = self.of(Tally())[0]
        """Of a row that is about no message."""

    def __getitem__(self, number: int) -> Effect | None:
        """The effect of that number; None for UNKNOWN."""
        return self._by_number[number]

    def of(self, tally: Tally) -> tuple[Effect, int]:
        """What has been counted, and the DataRows among it."""
        backend = tally.backend
        rows = backend.pop(_ROW, 0)
        text, binary = tally.values_text, tally.values_binary
        exact = 0
        if text or binary:
            if rows and not text % rows and not binary % rows:
                text, binary = text // rows, binary // rows
            else:
                exact = 1
        counts = (_NUMBERS(tally), (text, binary), exact, tuple(tally.frontend.items()), tuple(backend.items()))
        return self._known.get(counts) or self._new(counts), rows

    def of_exchange(self, exchange: Exchange) -> Effect:
        """What a known exchange counts each time, its rows aside."""
        tally = exchange.tally
        counts = (
            _NUMBERS(tally),
            (exchange.values_text, exchange.values_binary),
            0,
            tuple(tally.frontend.items()),
            tuple(tally.backend.items()),
        )
        return self._known.get(counts) or self._new(counts)

    def _new(self, counts: _Counts) -> Effect:
        size = _OVERHEAD_BYTES + _ITEM_BYTES * (len(counts[3]) + len(counts[4]))
        if self._bytes + size > KEPT_BYTES:
            return Effect(counts, UNKNOWN)
        self._bytes += size
        effect = self._known[counts] = Effect(counts, len(self._by_number))
        self._by_number.append(effect)
        return effect
