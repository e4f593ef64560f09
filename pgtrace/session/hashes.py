"""A set of hashes in 12 to 24 bytes each, where a set of Python takes 90: very many of them fit.

Open addressing in an array: a hash has the first free slot from the one that its low bits name.
A discarded one keeps its slot until the next rebuild.
"""

from __future__ import annotations

from array import array
from typing import Final

_FREE: Final = 0
_GONE: Final = 1
_INSTEAD: Final = 2
"""Kept in place of a hash that is equal to one of the two marks above."""
_FIRST_SLOTS: Final = 8


class Hashes:
    """A set of what hash() returned."""

    __slots__ = ("_count", "_slots", "_used")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._slots = array("q", bytes(8 * _FIRST_SLOTS))
        self._used = self._count = 0

    def __len__(self) -> int:
        return self._count

    def _at(self, value: int) -> int:
        """The slot that has it, or the free one where it belongs."""
        slots, mask = self._slots, len(self._slots) - 1
        at = value & mask
        while (found := slots[at]) != value and found != _FREE:
            at = (at + 1) & mask
        return at

    def add(self, value: int) -> None:
        value = value if value not in (_FREE, _GONE) else _INSTEAD
        at = self._at(value)
        if self._slots[at] == _FREE:
            self._slots[at] = value
            self._used += 1
            self._count += 1
            if 3 * self._used > 2 * len(self._slots):
                self._rebuild()

    def discard(self, value: int) -> None:
        value = value if value not in (_FREE, _GONE) else _INSTEAD
        at = self._at(value)
        if self._slots[at] == value:
            self._slots[at] = _GONE
            self._count -= 1

    def _rebuild(self) -> None:
        """Forget what was discarded; twice as large if more than a third is in use."""
        old = self._slots
        size = len(old) if 3 * self._count <= len(old) else 2 * len(old)
        self._slots = array("q", bytes(8 * size))
        self._used = self._count
        for value in old:
            if value not in (_FREE, _GONE):
                self._slots[self._at(value)] = value
