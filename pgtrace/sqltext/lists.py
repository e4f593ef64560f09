"""Lists of values of any length, reduced to one item: IN (...), ARRAY[...], the rows of VALUES.

Works on tokens in their compared form, in which all values are the same token. Equal neighbours
become one. Items that are not equal (`IN ($1, lower($2))`, a row with DEFAULT in it) stay.
"""

from __future__ import annotations

from typing import Final

_DEEPEST: Final = 1_000
"""Brackets nested deeper than this stay unchanged: the server's own parser gives up not much
later."""


class _Level:
    """One depth of brackets while lists are folded."""

    __slots__ = ("element", "folds", "is_row", "opened", "previous", "row", "row_end")

    def __init__(self, opened: int, *, folds: bool, is_row: bool) -> None:
        self.opened = opened  # index of the opening bracket among the tokens kept
        self.folds = folds  # IN (...) and ARRAY[...]: equal neighbours become one
        self.is_row = is_row  # one row of VALUES of the level around it
        self.previous = -1  # where the list's element before the current one began
        self.element = opened + 1  # where the current one began
        self.row = -1  # where the latest row of a VALUES on this level began
        self.row_end = -1


def fold_lists(kept: list[str], shown: list[str], spaced: list[bool]) -> None:
    """Reduce equal neighbours of IN (...), ARRAY[...] and VALUES to one, in place.

    The remaining tokens move to the front of the lists, up to `end`. Two neighbours are compared
    only if they have equal lengths, so the work is n log n however brackets nest.
    """
    levels = [_Level(-1, folds=False, is_row=False)]
    end = deeper = 0

    def same(first: int, second: int, stop: int) -> bool:
        return second - 1 - first == stop - second and kept[first : second - 1] == kept[second:stop]

    for index in range(len(kept)):
        text = kept[index]
        level = levels[-1]
        before = kept[end - 1] if end else ""
        if text in (",", ")", "]") and level.folds and not deeper:
            if level.previous >= 0 and same(level.previous, level.element, end):
                end = level.element - 1  # the comma goes with the repeated element
                level.element = level.previous
            if text == ",":
                level.previous, level.element = level.element, end + 1
        kept[end], shown[end], spaced[end] = text, shown[index], spaced[index]
        end += 1
        if text in ("(", "["):
            if len(levels) >= _DEEPEST:
                deeper += 1
                continue
            is_row = text == "(" and (before == "values" or (before == "," and level.row_end == end - 2 and level.row >= 0))
            if before == "values":
                level.row = level.row_end = -1
            levels.append(_Level(end - 1, folds=before == ("in" if text == "(" else "array"), is_row=is_row))
        elif text in (")", "]") and deeper:
            deeper -= 1
        elif text in (")", "]") and len(levels) > 1:
            closed = levels.pop()
            around = levels[-1]
            if closed.is_row:
                if around.row >= 0 and same(around.row, closed.opened, end):
                    end = closed.opened - 1
                else:
                    around.row = closed.opened
                around.row_end = end
    del kept[end:], shown[end:], spaced[end:]
