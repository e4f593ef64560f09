"""Read the binary form of a value from front to back.

Integers are big-endian, like everything on the wire. Missing bytes raise ValueError, and so do
left-over bytes at end(): a value is read whole or not at all. Lengths from the wire are only used
to take bytes that are present, never to allocate memory.
"""

from __future__ import annotations

import struct
from typing import Final

_INT32: Final = struct.Struct(">i")


class Cursor:
    """A read position in the bytes of one value."""

    __slots__ = ("_data", "_place")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def take(self, size_bytes: int) -> bytes:
        """The next bytes. Raises ValueError if there are fewer."""
        taken = self._data[self._place : self._place + size_bytes]
        if size_bytes < 0 or len(taken) != size_bytes:
            raise ValueError("the value ends too early")
        self._place += size_bytes
        return taken

    def integers(self, layout: str) -> tuple[int, ...]:
        """The next integers. `layout` has struct's letters."""
        return struct.unpack(f">{layout}", self.take(struct.calcsize(f">{layout}")))

    def int32(self) -> int:
        number: int = _INT32.unpack(self.take(4))[0]
        return number

    def count(self) -> int:
        """The next Int32, a count. Raises ValueError if it is negative."""
        number = self.int32()
        if number < 0:
            raise ValueError("a negative count")
        return number

    def floats(self, count: int) -> list[bytes]:
        """The next float8s, each as its eight bytes."""
        data = self.take(8 * count)
        return [data[start : start + 8] for start in range(0, len(data), 8)]

    def sized(self) -> bytes | None:
        """An Int32 length and that many bytes; None for NULL, whose length is -1."""
        size = self.int32()
        return None if size == -1 else self.take(size)

    def string(self) -> bytes:
        """The bytes up to a zero byte, which is skipped."""
        end = self._data.index(0, self._place)
        taken = self._data[self._place : end]
        self._place = end + 1
        return taken

    def rest(self) -> bytes:
        """All remaining bytes."""
        return self.take(len(self._data) - self._place)

    def end(self) -> None:
        """Check that nothing is left. Raises ValueError if something is."""
        if self._place != len(self._data):
            raise ValueError("the value goes on after its end")
