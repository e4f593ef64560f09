"""The lines of the listed rows: one each, or one for a whole folded group.

A level folds groups of its kind and of the kinds before it; a single group can be folded or
unfolded against the level. A fold takes the place of its first listed row. If a row belongs to
repeats within a transaction, the transaction counts first.

Lines are made in the order of the rows, as far as `upto`; rows up to there get or lose their lines
at once when they are added or removed. Another level makes them again from the beginning, a single
fold from its first row on, as many at once as there is time for.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import Final

from pgtrace.tui.model.groups import Groups, Together

LEVELS: Final = ("none", "set-up", "repeats", "transactions")


class Folds:
    """The lines, by index: each the place of its first row."""

    def __init__(self, groups: Groups, listed: Callable[[int], bool], level: str) -> None:
        """`listed` says whether a row is listed."""
        self.level = level
        self.lines = array("I")
        self.upto = -1
        """Listed rows up to this place have their lines."""
        self._groups = groups
        self._listed = listed
        self._blocks_against: set[int] = set()
        self._runs_against: set[int] = set()
        # of folded groups whose first row is not listed: that, and the first listed
        self._stand_ins: dict[int, int] = {}

    def begin(self) -> None:
        """Start again without any lines."""
        self.back_to(0)

    def back_to(self, place: int) -> None:
        """Make the lines from that row on again."""
        del self.lines[bisect_left(self.lines, place) :]
        self._stand_ins = {head: first for head, first in self._stand_ins.items() if first < place}
        self.upto = min(self.upto, place - 1)

    def next_level(self) -> None:
        """Go to the next level, for all groups."""
        self.level = LEVELS[(LEVELS.index(self.level) + 1) % len(LEVELS)]
        self._blocks_against.clear()
        self._runs_against.clear()
        self.back_to(0)

    def foldable(self, place: int) -> Together:
        """The group that can be folded or unfolded at a line that begins with this row: the group
        that is folded, or the smallest there is.
        """
        groups = self._groups
        folded = self.folded(place)
        if folded is not Together.NOTHING:
            return folded
        for kind in (Together.REPEAT, Together.SETUP, Together.TRANSACTION):
            if groups.has_more(place, kind):
                return kind
        return Together.NOTHING

    def toggle(self, place: int) -> bool:
        """Fold or unfold the group there; False if there is none."""
        kind = self.foldable(place)
        if kind is Together.NOTHING:
            return False
        firsts, against = (
            (self._groups.runs, self._runs_against) if kind is Together.REPEAT else (self._groups.blocks, self._blocks_against)
        )
        against ^= {firsts[place]}
        self.back_to(firsts[place])
        return True

    def folded(self, place: int) -> Together:
        """The kind of group that hides this row behind its first one, or would with more rows."""
        groups, level = self._groups, LEVELS.index(self.level)
        kind = groups.kinds[place]
        if kind and (level >= kind) != (groups.blocks[place] in self._blocks_against) and groups.has_more(place, Together(kind)):
            return Together(kind)
        if groups.has_more(place, Together.REPEAT) and (level >= Together.REPEAT) != (groups.runs[place] in self._runs_against):
            return Together.REPEAT
        return Together.NOTHING

    def head(self, place: int) -> int:
        """The first row of the group that hides this row; itself if none does."""
        groups, level = self._groups, LEVELS.index(self.level)
        kind, block = groups.kinds[place], groups.blocks[place]
        if kind and (level >= kind) != (block in self._blocks_against):
            return block
        run = groups.runs[place]
        return run if (level >= Together.REPEAT) != (run in self._runs_against) else place

    def line_of(self, place: int) -> int:
        """The first row of the line that shows a listed row."""
        head = self.head(place)
        return head if head == place or self._listed(head) else self._stand_ins.get(head, place)

    def index(self, place: int) -> int:
        """The line that begins with that row, or the nearest one before it; 0 if there is none."""
        return max(0, bisect_right(self.lines, place) - 1)

    def extend(self, places: Sequence[int]) -> None:
        """Make the lines of the next listed rows; their places rise, and are all after `upto`."""
        if self._folds_none(places):
            self.lines.extend(iter(places))
            self.upto = places[-1]
            return
        head, listed, append, stand_ins = self.head, self._listed, self.lines.append, self._stand_ins
        place = self.upto
        for place in places:
            first = head(place)
            if first == place or (not listed(first) and stand_ins.setdefault(first, place) == place):
                append(place)
        self.upto = place

    def add(self, place: int) -> None:
        """Add the line of a row up to `upto` that is listed now, or belongs to another group."""
        head = self.head(place)
        stand_in = self._stand_ins.get(head)
        if head == place:
            self._stand_ins.pop(head, None)
        elif self._listed(head) or (stand_in is not None and stand_in < place):
            return
        else:
            self._stand_ins[head] = place
        if stand_in is not None:
            self._pop(stand_in)
        at = bisect_left(self.lines, place)
        if at == len(self.lines) or self.lines[at] != place:
            self.lines.insert(at, place)

    def remove(self, place: int, head: int) -> None:
        """Remove a row up to `upto` that is no longer listed, or no longer in the group that begins
        at `head`; the other rows of a fold stay.
        """
        if not self._pop(place):
            return
        self._stand_ins.pop(head, None)
        kind = self.folded(place)
        if kind is not Together.NOTHING:
            heir = next((one for one in self._groups.members(place, kind) if one != place and one <= self.upto and self._listed(one)), None)
            if heir is not None:
                self.add(heir)

    def _folds_none(self, places: Sequence[int]) -> bool:
        """Whether each of these listed rows has a separate line, because no group that could hold
        them is folded.
        """
        level = LEVELS.index(self.level)
        if not places or level >= Together.REPEAT or self._blocks_against or self._runs_against:
            return False
        return level < Together.SETUP or Together.SETUP not in self._groups.kinds[places[0] : places[-1] + 1]

    def _pop(self, place: int) -> bool:
        at = bisect_left(self.lines, place)
        found = at < len(self.lines) and self.lines[at] == place
        if found:
            self.lines.pop(at)
        return found
