"""Aligns two sequences: pairs places so that few are left over.

Elements are numbers. The pairs are those of a shortest edit script (E. Myers, "An O(ND) Difference
Algorithm and Its Variations", 1986). The common beginning and end, and elements that occur on one
side only, are removed first; in most captures little else remains.

The cost is bounded for all sequences. A search stops after a number of edits that is smaller for
longer sequences, takes the furthest point that it reached, and continues from there. So very
different sequences are still aligned, perhaps with more edits than necessary, in linear time and
with the memory of one search.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Final

Pair = tuple[int, int]

_STEPS: Final = 12_000_000
"""The bound for length times edits of one search; takes a few seconds."""
_FEWEST_EDITS: Final = 64
_MOST_EDITS: Final = 1_500
"""The most edits of one search. It keeps the square of this, 4.5 million numbers."""
_NOWHERE: Final = -2


def align(first: Sequence[int], second: Sequence[int]) -> list[Pair]:
    """The pairs of places with equal elements, rising on both sides."""
    begin = 0
    end_first, end_second = len(first), len(second)
    while begin < end_first and begin < end_second and first[begin] == second[begin]:
        begin += 1
    while begin < end_first and begin < end_second and first[end_first - 1] == second[end_second - 1]:
        end_first -= 1
        end_second -= 1
    common = set(first[begin:end_first]) & set(second[begin:end_second])
    left = [place for place in range(begin, end_first) if first[place] in common]
    right = [place for place in range(begin, end_second) if second[place] in common]
    inner = _searched([first[place] for place in left], [second[place] for place in right]) if common else []
    tail = zip(range(end_first, len(first)), range(end_second, len(second)), strict=True)
    return [*((place, place) for place in range(begin)), *((left[one], right[other]) for one, other in inner), *tail]


def _searched(first: list[int], second: list[int]) -> list[Pair]:
    edits = max(_FEWEST_EDITS, min(_MOST_EDITS, _STEPS // (len(first) + len(second))))
    pairs: list[Pair] = []
    x = y = 0
    while x < len(first) and y < len(second):
        x, y = _search(first, second, x, y, edits, pairs)
    return pairs


def _search(first: list[int], second: list[int], x0: int, y0: int, edits: int, pairs: list[Pair]) -> Pair:
    """Search from (x0, y0) and add the pairs found. Returns the point that the search reached."""
    width, height = len(first) - x0, len(second) - y0
    edits = min(edits, width + height)
    middle = edits + 2
    reached = array("i", [_NOWHERE]) * (2 * middle + 1)  # by diagonal: how far along the first
    reached[middle + 1] = 0
    rounds: list[array[int]] = []
    x = diagonal = 0
    for edit in range(edits + 1):
        for diagonal in range(2 * max(0, edit - height) - edit, edit - 2 * max(0, edit - width) + 1, 2):
            at = middle + diagonal
            x = reached[at + 1] if reached[at - 1] < reached[at + 1] else reached[at - 1] + 1
            y = x - diagonal
            while x < width and y < height and first[x0 + x] == second[y0 + y]:
                x += 1
                y += 1
            reached[at] = x
            if x >= width and y >= height:
                break
        else:
            rounds.append(reached[middle - edit - 2 : middle + edit + 3])
            continue
        break
    else:
        edit = edits
        reachable = ((reached[middle + one], one) for one in range(-edit, edit + 1, 2))
        inside = (found for found in reachable if 0 <= found[0] <= width and found[0] - found[1] <= height)
        x, diagonal = max(inside, key=lambda found: 2 * found[0] - found[1])
    end = (x0 + x, y0 + x - diagonal)
    found: list[Pair] = []
    for back in range(edit, -1, -1):
        if back:
            before = rounds[back - 1]
            at = back + 1 + diagonal
            down = before[at - 1] < before[at + 1]
            step = 1 if down else -1
            start = before[at + step] + (not down)
        else:
            step, start = 0, 0
        found += ((x0 + one, y0 + one - diagonal) for one in range(x - 1, start - 1, -1))
        x, diagonal = start - (step == -1), diagonal + step
    pairs += reversed(found)
    return end
