"""Groups of rows that belong together, determined once for each row: set-up, transactions, repeats.

Set-up is all round trips of a connection before its first ReadyForQuery. trace/transactions.py says
what a transaction is. A repeat is a run of round trips of one connection with one flight and one
statement, with nothing else on that connection between them, no error, no border of a transaction,
and neither a mark nor a gap; or a loop over a few such in turn. Repeats may be part of a
transaction; otherwise no row belongs to two groups.

A loop is known after a few rounds (trace/turns.py). Then its earlier rows join it, and leave the
repeats of one statement they were in.

A row is known by its place, a group by the place of its first row. Thirteen bytes are kept for each
row, enough to answer any question about it without looking at another one, and how many statements
each loop has. Groups know nothing of filters and folds.

An open row belongs to the set-up or to the open transaction, but to no repeat until it is complete:
what it will be is not known.
"""

from __future__ import annotations

import enum
import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from pgtrace.trace.feed import Subscriber
from pgtrace.trace.row import NO_FLIGHT, RowKind, Shape
from pgtrace.trace.rows import Columns, RowIndex
from pgtrace.trace.transactions import OPEN, BlockState
from pgtrace.trace.turns import REPEATS, Turns

_NOWHERE: Final = -1


class Together(enum.IntEnum):
    """The kind of a group. The fold level with this number folds it."""

    NOTHING = 0
    SETUP = 1
    REPEAT = 2
    TRANSACTION = 3


@dataclass(slots=True)
class _Track:
    """One connection, as far as its rows have been taken."""

    setup: int = _NOWHERE
    block: int = _NOWHERE
    """The first row of the open transaction."""
    block_state: BlockState = field(default_factory=BlockState)
    repeat: tuple[Any, ...] | None = None
    """The key that the next row must have to be one more repeat, and where the run began."""
    turns: Turns[tuple[int, tuple[Any, ...]]] = field(default_factory=Turns)
    """The latest such rows: their places, and what they are."""
    loop: tuple[tuple[Any, ...], ...] = ()
    """The keys of the rows of the current loop, in turn."""
    at: int = 0
    """The index of the next one."""
    alike: tuple[int, int, int] | None = None
    """Connection, shape and label of a row that would be one more repeat and change nothing else:
    the last ones were so, and left the block as it is."""
    run: int = _NOWHERE
    last: int = _NOWHERE
    before: int = _NOWHERE
    breaks: int = 0
    """Marks and gaps before the last one."""

    def interrupt(self) -> None:
        """The next row begins a repeat at the earliest."""
        self.repeat, self.loop = None, ()
        self.turns.clear()


class Groups(Subscriber):
    """The groups of all rows taken so far."""

    def __init__(self) -> None:
        self.blocks = array("I")
        """For each row the first one of its set-up or transaction, or the row itself."""
        self.kinds = bytearray()
        """For each row which of the two it is."""
        self.runs = array("I")
        """For each row the first one of its repeats, or the row itself."""
        self.periods: dict[int, int] = {}
        """For the first row of a loop over several statements how many those are."""
        self._regrouped: int | None = None
        self._following = array("I")  # the connection's next round trip; 0 where there is none
        self._tracks: dict[int, _Track] = {}
        self._breaks = 0

    def __len__(self) -> int:
        return len(self.blocks)

    def take(self, rows: Columns) -> None:
        start, stop = len(self.blocks), len(self.blocks) + len(rows)
        self.blocks.extend(range(start, stop))
        self.runs.extend(range(start, stop))
        self.kinds.extend(bytes(len(rows)))
        self._following.extend(bytes(len(rows)))
        following, tracks, shape_at = self._following, self._tracks, rows.index.shape_at
        for place, key, ms in zip(rows.places, rows.keys, rows.durations_ms, strict=True):
            connection, shape_number, _ = key
            track = tracks.get(connection)
            # not NaN, open
            if track is not None and key == track.alike and track.breaks == self._breaks and ms >= 0:
                following[track.last] = place
                track.before, track.last = track.last, place
                self.runs[place] = track.run
                if track.block != _NOWHERE:
                    self.blocks[place], self.kinds[place] = track.block, Together.TRANSACTION
                continue
            shape = shape_at(shape_number)
            if shape.kind is RowKind.MARK or shape.kind is RowKind.GAP:
                self._breaks += 1
                continue
            if track is None:
                track = tracks[connection] = _Track()
            track.alike = None
            if shape.kind > RowKind.SETUP:
                track.interrupt()
                continue
            track.before, track.last, track.breaks = track.last, place, self._breaks
            if track.before != _NOWHERE:
                following[track.before] = place
            if math.isnan(ms):
                self._place_open(place, track, shape)
            else:
                self._settle(place, track, shape, rows.index, key)

    def completed(self, rows: Columns) -> None:
        """Each is the latest round trip of its connection."""
        for place, key in zip(rows.places, rows.keys, strict=True):
            track = self._tracks[key[0]]
            track.alike = None
            self._settle(place, track, rows.index.shape_at(key[1]), rows.index, key)

    def regrouped(self) -> int | None:
        """The first of the earlier rows that have joined loops since the last call."""
        first, self._regrouped = self._regrouped, None
        return first

    def is_open(self, place: int, connection: int) -> bool:
        """Whether the transaction of a row is still open."""
        return self._tracks[connection].block == self.blocks[place]

    def has_more(self, place: int, kind: Together) -> bool:
        """Whether more rows than this one belong to its group of that kind. Every set-up is a
        group."""
        firsts = self.runs if kind is Together.REPEAT else self.blocks
        if kind is not Together.REPEAT and self.kinds[place] != kind:
            return False
        after = self._following[place]
        return kind is Together.SETUP or firsts[place] != place or (after > 0 and firsts[after] == place)

    def members(self, place: int, kind: Together) -> Iterator[int]:
        """The rows of a group of that kind, from one of them on."""
        firsts = self.runs if kind is Together.REPEAT else self.blocks
        first = firsts[place]
        while True:
            yield place
            place = self._following[place]
            if not place or firsts[place] != first:
                return

    def _place_open(self, place: int, track: _Track, shape: Shape) -> None:
        if shape.kind is RowKind.SETUP:
            track.setup = place if track.setup == _NOWHERE else track.setup
            self.blocks[place], self.kinds[place] = track.setup, Together.SETUP
        elif track.block != _NOWHERE and track.block_state.continues(shape):
            self.blocks[place], self.kinds[place] = track.block, Together.TRANSACTION

    def _settle(self, place: int, track: _Track, shape: Shape, index: RowIndex, key: tuple[int, int, int]) -> None:
        if shape.kind is RowKind.SETUP:
            self._place_open(place, track, shape)
            return
        self.blocks[place], self.kinds[place] = place, Together.NOTHING
        if shape.kind is not RowKind.ROUND_TRIP:  # it turned out to be none
            track.interrupt()
            track.last = track.before
            track.setup = _NOWHERE if track.setup == place else track.setup
            if track.before != _NOWHERE:
                self._following[track.before] = 0
            return
        was = track.block_state.open, track.block_state.inside
        step = track.block_state.take(shape)
        if step.lost:
            track.block = _NOWHERE
        if step.belongs:
            track.block = place if track.block == _NOWHERE else track.block
            self.blocks[place], self.kinds[place] = track.block, Together.TRANSACTION
            if step.end != OPEN:
                track.block = _NOWHERE
        repeat = None
        if not shape.errors and shape.statements == 1 and not shape.uncertain and shape.flight != NO_FLIGHT:
            block = self.blocks[place] if step.belongs else _NOWHERE
            repeat = (shape.flight, index.label_at(key[2]).groups, track.breaks, block)
        if track.loop and repeat == track.loop[track.at]:
            track.at = (track.at + 1) % len(track.loop)
            if len(track.loop) == 1 and was == (track.block_state.open, track.block_state.inside):
                track.alike = key
        else:
            if repeat is None or track.loop:
                track.interrupt()
            if repeat is None or repeat != track.repeat:
                track.repeat, track.run = repeat, place
            if repeat is not None:
                known = track.turns.take(repeat, (place, repeat))
                if known:
                    self._begin(track, known)
        self.runs[place] = track.run

    def _begin(self, track: _Track, rows: list[tuple[int, tuple[Any, ...]]]) -> None:
        """Make a loop of these rows."""
        period, first = len(rows) // REPEATS, rows[0][0]
        track.loop, track.at, track.run = tuple(what for _, what in rows[:period]), 0, first
        track.turns.clear()
        if period > 1:
            for place, _ in rows:
                self.runs[place] = first
            self.periods[first] = period
            self._regrouped = first if self._regrouped is None else min(first, self._regrouped)
