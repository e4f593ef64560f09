"""Compares two captures: changes in sentences, and the steps of each connection side by side.

    compared = compare(before, after)            # two Behaviours, read to their end
    compared.same, compared.changes, compared.pairs

Connections are paired first: those that did exactly the same, in their order, then those whose
steps are most alike. So the order in which a pool opens them makes no difference. Within a pair the
steps are aligned (align.py) and repeats are folded: `×9` precedes one or more steps that occur nine
times. The sentences (changes.py) come from sums over each whole side, so they do not depend on the
alignment.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from pgtrace.compare.align import align
from pgtrace.compare.behaviour import Behaviour, BehaviourStep, Conversation
from pgtrace.compare.changes import Change, changes
from pgtrace.compare.totals import Side

CONTEXT: Final = 2
"""How many equal folded steps are shown around those that differ."""
MOST_COMPARISONS: Final = 4_000_000
"""The most statements that are compared to find similar connections; beyond that, connections are
paired in order.
"""
_LONGEST_GROUP: Final = 8

Selected = Mapping[int, Sequence[int]]
"""Number of a connection in its capture -> numbers of its round trips, from 0 with set-up."""
Mark = str
"""`-` for the first side only, `+` for the second only, ` ` for both."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Steps that occur `times` times in a row."""

    times: int
    lines: tuple[tuple[Mark, BehaviourStep], ...]


@dataclass(frozen=True, slots=True)
class Hunk:
    """Differences with their context; it begins at a step number, from 1, on each side."""

    first: int
    second: int
    folds: tuple[Fold, ...]


@dataclass(slots=True)
class Pair:
    """A connection of each side, or of one side only."""

    first: Conversation | None
    second: Conversation | None
    hunks: list[Hunk] = field(default_factory=list)


@dataclass(slots=True)
class Comparison:
    """The result of a comparison."""

    first: Side
    second: Side
    changes: list[Change]
    """Most costly first."""
    pairs: list[Pair]
    """The pairs that differ."""
    same_pairs: list[Pair]
    """The pairs that are the same."""

    @property
    def same(self) -> bool:
        """Whether the wire behaviour is the same."""
        return not self.pairs


def compare(
    before: Behaviour, after: Behaviour, *, context: int | None = CONTEXT, selected: tuple[Selected, Selected] | None = None
) -> Comparison:
    """Compare two captures, which must be read to their end. `context` is the number of equal
    folded steps shown around those that differ, None for all. With `selected`, only those round
    trips are compared.
    """
    numbers: dict[BehaviourStep, int] = {}
    ours = _conversations(before, numbers, selected[0] if selected is not None else None)
    theirs = _conversations(after, numbers, selected[1] if selected is not None else None)
    steps = list(numbers)
    texts = before.texts | after.texts
    first = Side.of(ours, steps, texts, before.in_transaction)
    second = Side.of(theirs, steps, texts, after.in_transaction)
    paired = list(_paired(ours, theirs, steps))
    differing = [pair for pair in paired if not _is_same(pair)]
    for pair in differing:
        _compare(pair, steps, context)
    found = changes(first, second, [(pair.first, pair.second) for pair in differing], steps) if differing else []
    return Comparison(first, second, found, differing, [pair for pair in paired if _is_same(pair)])


def _conversations(behaviour: Behaviour, numbers: dict[BehaviourStep, int], selected: Selected | None) -> list[Conversation]:
    """The conversations of one side, with steps numbered in common for both sides."""
    found = behaviour.conversations()
    if selected is not None:
        found = [one.only(selected.get(one.number, ()), behaviour.steps) for one in found]
    found = [one for one in found if one.steps]
    renumbered = [numbers.setdefault(step, len(numbers)) for step in behaviour.steps]
    return [replace(one, steps=array("I", map(renumbered.__getitem__, one.steps))) for one in found]


# Pairing connections.


def _paired(before: list[Conversation], after: list[Conversation], steps: list[BehaviourStep]) -> Iterator[Pair]:
    """Pairs of connections, in the order of the first side; then connections of the second side
    only.
    """
    partners: dict[int, int] = {}
    waiting: dict[bytes, list[int]] = {}
    for place in reversed(range(len(after))):
        waiting.setdefault(after[place].steps.tobytes(), []).append(place)
    for place, one in enumerate(before):
        if same := waiting.get(one.steps.tobytes()):
            partners[place] = same.pop()
    left = [place for place in range(len(before)) if place not in partners]
    taken = set(partners.values())
    right = [place for place in range(len(after)) if place not in taken]
    partners.update(_alike(before, after, left, right, steps))
    for place, one in enumerate(before):
        yield Pair(one, after[partners[place]] if place in partners else None)
    taken = set(partners.values())
    yield from (Pair(None, one) for place, one in enumerate(after) if place not in taken)


def _alike(
    before: list[Conversation], after: list[Conversation], left: list[int], right: list[int], steps: list[BehaviourStep]
) -> dict[int, int]:
    """Pairs of similar connections, the most similar first; if there are too many connections, in
    order.
    """
    found: dict[int, int] = {}
    ours = {place: _outline(before[place], steps) for place in left}
    theirs = {place: _outline(after[place], steps) for place in right}
    if len(right) * sum(map(len, ours.values())) + len(left) * sum(map(len, theirs.values())) <= MOST_COMPARISONS:
        scores = [
            (-_likeness(ours[one], theirs[other]), abs(one - other), one, other)
            for one in left
            for other in right
            if before[one].kind == after[other].kind
        ]
        taken: set[int] = set()
        for score, _, one, other in sorted(scores):
            if score < 0 and one not in found and other not in taken:
                found[one] = other
                taken.add(other)
        return found
    for kind in {before[place].kind for place in left}:
        found.update(zip(_of_kind(before, left, kind), _of_kind(after, right, kind), strict=False))
    return found


def _of_kind(conversations: list[Conversation], places: list[int], kind: str) -> list[int]:
    return [place for place in places if conversations[place].kind == kind]


def _outline(conversation: Conversation, steps: list[BehaviourStep]) -> Counter[str]:
    """How often each statement, and each step without one, occurs in a conversation."""
    outline: Counter[str] = Counter()
    for number, times in Counter(conversation.steps).items():
        step = steps[number]
        for statement in [part.statement for part in step.parts] or [step.flight]:
            outline[statement] += times
    return outline


def _likeness(one: Counter[str], other: Counter[str]) -> float:
    """The likeness of two outlines, from 0 for nothing in common to 1."""
    return (one & other).total() / max(1, (one | other).total())


# Differences within a pair.


def _is_same(pair: Pair) -> bool:
    return pair.first is not None and pair.second is not None and pair.first.steps == pair.second.steps


def _compare(pair: Pair, steps: list[BehaviourStep], context: int | None) -> None:
    first = pair.first.steps if pair.first is not None else array("I")
    second = pair.second.steps if pair.second is not None else array("I")
    folds = list(_folded(_edits(first, second)))
    done, places = 0, (1, 1)
    for begin, end in _runs(folds, len(folds) if context is None else context):
        places = (places[0] + _length(folds[done:begin], "-"), places[1] + _length(folds[done:begin], "+"))
        done = begin
        hunk = [Fold(times, tuple((mark, steps[step]) for mark, step in group)) for times, group in folds[begin:end]]
        pair.hunks.append(Hunk(*places, tuple(hunk)))


_Edit = tuple[Mark, int]
_Folded = tuple[int, list[_Edit]]


def _edits(first: Sequence[int], second: Sequence[int]) -> list[_Edit]:
    """Every step of both sides; the mark is ` ` for aligned steps."""
    edits: list[_Edit] = []
    x = y = 0
    for one, other in [*align(first, second), (len(first), len(second))]:
        edits += (("-", step) for step in first[x:one])
        edits += (("+", step) for step in second[y:other])
        edits += ((" ", step) for step in first[one : one + 1])
        x, y = one + 1, other + 1
    return edits


def _folded(edits: list[_Edit]) -> Iterator[_Folded]:
    """The edits as (times, group), with the repeats folded that save most."""
    place = 0
    while place < len(edits):
        best, times = 1, 1
        for period in range(1, min(_LONGEST_GROUP, (len(edits) - place) // 2) + 1):
            end = place + period
            while end < len(edits) and edits[end] == edits[end - period]:
                end += 1
            found = (end - place) // period
            if (found - 1) * period > (times - 1) * best:
                best, times = period, found
        yield times, edits[place : place + best]
        place += times * best


def _runs(folds: list[_Folded], context: int) -> Iterator[tuple[int, int]]:
    """The beginning and end of each hunk: differences with their context."""
    begin = end = -1
    for place, (_, group) in enumerate(folds):
        if all(mark == " " for mark, _ in group):
            continue
        if begin < 0 or place - context > end:
            if begin >= 0:
                yield begin, end
            begin = max(0, place - context)
        end = min(len(folds), place + context + 1)
    if begin >= 0:
        yield begin, end


def _length(folds: Iterable[_Folded], side: Mark) -> int:
    """The number of steps of that side."""
    return sum(times * sum(mark in (" ", side) for mark, _ in group) for times, group in folds)
