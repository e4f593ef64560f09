"""The lines of the timeline: a single row, or a fold with the sums of its rows.

The sums of recently viewed folds are kept, and continue from there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from pgtrace.trace.row import Row
from pgtrace.tui.model.groups import Together
from pgtrace.tui.model.sums import MOST, Sum

_SUMS_KEPT: Final = 256


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the timeline: a row, or a fold of several."""

    place: int
    row: Row
    """The first row."""
    sum: Sum
    is_open: bool = False
    """Whether it is a transaction that is still open."""
    period: int = 1
    """For repeats: how many round trips run in turn."""
    is_whole: bool = True
    """For repeats: whether all of them are listed."""

    @property
    def folded(self) -> bool:
        return self.sum.kind is not Together.NOTHING

    @property
    def rows(self) -> tuple[Row, ...]:
        """The first rows."""
        return tuple(self.sum.members)

    @property
    def places(self) -> tuple[int, ...]:
        """Their places."""
        return tuple(self.sum.places)

    @property
    def in_turn(self) -> list[Row]:
        """For a loop of several round trips, the first listed row of each statement and flight."""
        first = {(row.label.groups, row.shape.flight): row for row in reversed(self.rows[: self.period])}
        return list(first.values())[::-1] if self.period > 1 else []

    @property
    def rounds(self) -> int | None:
        """How often a loop ran, its last round maybe not to its end; None if some of it is not
        listed."""
        return -(-self.sum.number // self.period) if self.is_whole else None

    @property
    def opened_ns(self) -> int:
        return self.row.opened_ns

    @property
    def end_ns(self) -> int | None:
        """Since the start of the capture; None while a member is open."""
        return self.sum.end_ns

    @property
    def is_problem(self) -> bool:
        return bool(self.sum.errors) or self.row.is_problem


class FoldSums:
    """The sums of folds, each over as many rows as have been added up."""

    def __init__(self, row: Callable[[int], Row], lists: Callable[[int], bool]) -> None:
        """`row` gives the row at a place, `lists` whether it is listed."""
        self._row = row
        self._lists = lists
        self._sums: OrderedDict[tuple[int, Together], Sum] = OrderedDict()

    def clear(self) -> None:
        """Forget all sums."""
        self._sums.clear()

    def of(self, place: int, kind: Together, members: Callable[[int], Iterator[int]], seen: int) -> Sum:
        """The sum of a fold, as far as it has been added up. `members` gives the places of its rows
        from one on; those from `seen` on do not count."""
        key = (place, kind)
        known = self._sums.get(key)
        if known is None:
            known = self._sums[key] = Sum(kind)
            if len(self._sums) > _SUMS_KEPT:
                self._sums.popitem(last=False)
        self._sums.move_to_end(key)
        places = members(known.upto if known.number else place)
        if known.number:
            next(places)
        looked, known.partial = 0, False
        for one in places:
            if one >= seen:
                break
            looked += 1
            if looked > MOST:
                known.partial = True
                break
            if not self._lists(one):
                continue
            row = self._row(one)
            if row.is_open:
                with_open = known.copied()
                with_open.take(one, row)
                return with_open
            known.take(one, row)
        return known
