"""Loops: the same keys again and again in the same order, one alone or a cycle of up to MOST.

A key identifies what makes two steps of a program the same, such as its statement. A loop is known
when its REPEATS-th round is complete; if several fit, it is the one with the fewest keys.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

REPEATS: Final = 5
"""The number of rounds that make a loop."""
MOST: Final = 8
"""The most keys in one round."""
_T = TypeVar("_T")


class Turns(Generic[_T]):
    """The latest steps, each with its key."""

    __slots__ = ("_keys", "_steps")

    def __init__(self) -> None:
        self._keys: list[object] = []
        self._steps: list[_T] = []

    def clear(self) -> None:
        """Forget all steps: no loop may contain them."""
        self._keys, self._steps = [], []

    def take(self, key: object, step: _T) -> list[_T]:
        """Add the next step. If it completes REPEATS rounds of a loop, this returns all steps of
        the loop, otherwise an empty list."""
        keys, steps = self._keys, self._steps
        seen = key in keys[-MOST:]
        keys.append(key)
        steps.append(step)
        if len(keys) > MOST * REPEATS:
            del keys[0], steps[0]
        if seen:
            for period in range(1, min(MOST, len(keys) // REPEATS) + 1):
                if keys[-1 - period * (REPEATS - 1)] == key and keys[-period * REPEATS :] == keys[-period:] * REPEATS:
                    return steps[-period * REPEATS :]
        return []
