"""A comparison in two columns: each line has a step of the first capture, of the second, or both.

Equal steps share a line. Between those, different steps with the same statements share a line, too:
the driver ran them differently. Steps are paired by diff.py and align.py. Each half says which
round trip of its connection it is, so that a screen can show its messages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from pgtrace.compare.align import align
from pgtrace.compare.behaviour import OTHER, BehaviourStep, Conversation
from pgtrace.compare.diff import Comparison, Hunk, Pair

MOST_LINES: Final = 100_000
"""The most lines that are made; repeats take one line."""


class Half(NamedTuple):
    """One side of a line: a step, or repeats of it."""

    step: BehaviourStep
    times: int
    connection: int
    """The number of its connection in its capture."""
    round_trip: int
    """The number of its first round trip within the connection, from 0 with set-up; -1 if it has
    none.
    """


@dataclass(frozen=True, slots=True)
class Line:
    """One line: the two halves of a step, or a heading with the connections of the steps below."""

    first: Half | Conversation | None
    second: Half | Conversation | None
    is_same: bool = False

    @property
    def is_difference(self) -> bool:
        """Whether the two sides differ here."""
        return not self.is_same and (isinstance(self.first, Half) or isinstance(self.second, Half))


def in_columns(compared: Comparison) -> list[Line]:
    """The lines of a comparison with all steps, at most MOST_LINES. Connections that did the same
    take one line.
    """
    return list(islice(_lines(compared), MOST_LINES))


def _lines(compared: Comparison) -> Iterator[Line]:
    for pair in compared.pairs:
        yield Line(pair.first, pair.second)
        yield from _Columns(pair).lines()
    for pair in compared.same_pairs:
        yield Line(pair.first, pair.second, is_same=True)


class _Columns:
    """The lines of one pair of connections."""

    def __init__(self, pair: Pair) -> None:
        self._hunks: Sequence[Hunk] = pair.hunks
        self._conversations = pair.first, pair.second
        self._done = [0, 0]  # round trips of each side
        self._only: tuple[list[Half], list[Half]] = ([], [])
        """The steps of each side since their latest common step."""

    def lines(self) -> Iterator[Line]:
        """All lines of the pair."""
        for hunk in self._hunks:
            for fold in hunk.folds:
                before = tuple(self._done)
                for mark, step in fold.lines:
                    first = self._half(0, step, fold.times) if mark != "+" else None
                    second = self._half(1, step, fold.times) if mark != "-" else None
                    if first is not None and second is not None:
                        yield from self._differing()
                        yield Line(first, second, is_same=True)
                    elif first is not None:
                        self._only[0].append(first)
                    elif second is not None:
                        self._only[1].append(second)
                for side in (0, 1):
                    self._done[side] += (fold.times - 1) * (self._done[side] - before[side])
        yield from self._differing()

    def _half(self, side: int, step: BehaviourStep, times: int) -> Half:
        conversation, round_trip = self._conversations[side], -1
        assert conversation is not None
        if step.kind != OTHER:
            of = conversation.round_trips
            round_trip = self._done[side] if of is None else of[self._done[side]]
            self._done[side] += 1
        return Half(step, times, conversation.number, round_trip)

    def _differing(self) -> Iterator[Line]:
        """Lines for the steps that only one side has, aligned by their statements."""
        left, right = self._only
        numbers: dict[object, int] = {}

        def keys(halves: Sequence[Half]) -> list[int]:
            return [numbers.setdefault(_about(half.step), len(numbers)) for half in halves]

        x = y = 0
        for one, other in [*align(keys(left), keys(right)), (len(left), len(right))]:
            yield from (Line(half, None) for half in left[x:one])
            yield from (Line(None, half) for half in right[y:other])
            if one < len(left) and other < len(right):
                yield Line(left[one], right[other])
            x, y = one + 1, other + 1
        left.clear()
        right.clear()


def _about(step: BehaviourStep) -> object:
    """The key by which differing steps are aligned: its statements, else its messages."""
    return frozenset(part.statement for part in step.parts) or step.flight
