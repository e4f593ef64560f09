"""A set of hashes that takes 12 to 24 bytes per hash, where a Python set takes 90.

It uses open addressing in an array: a hash goes to the first free slot, starting at the slot that
its low bits give. A discarded hash keeps its slot until the next rebuild.
"""

from __future__ import annotations

from array import array
from typing import Final

_FREE: Final = 0
_GONE: Final = 1
_INSTEAD: Final = 2
"""Stored for a hash that equals one of the two marks above."""
_FIRST_SLOTS: Final = 8


class Hashes:
    """A set of values that hash() returned."""

    __slots__ = ("_count", "_slots", "_used")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._slots = array("q", bytes(8 * _FIRST_SLOTS))
        self._used = self._count = 0

    def __len__(self) -> int:
        return self._count

    def _at(self, value: int) -> int:
        """The slot that contains the value, or the free slot where it belongs."""
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
        """Rebuild the table without discarded hashes, and twice as large if more than a third is in
        use."""
        old = self._slots
        size = len(old) if 3 * self._count <= len(old) else 2 * len(old)
        self._slots = array("q", bytes(8 * size))
        self._used = self._count
        for value in old:
            if value not in (_FREE, _GONE):
                self._slots[self._at(value)] = value
