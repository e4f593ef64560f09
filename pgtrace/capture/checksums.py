"""CRC-32, as zlib and gzip define it: of bytes, and of any stretch of a file from the CRCs of its
prefixes.

ISA-L uses the processor's own instructions and takes a tenth of zlib's time or less
(docs/forwarding.md), which the writer's thread saves. Where there is no ISA-L wheel, zlib does it.

Checking many overlapping stretches costs no more than one pass. The CRC of A followed by B is the
CRC of A, advanced by the length of B, xor the CRC of B. Advancing by 2^k bytes is a linear map of
32 bits, and any length is a sum of such steps. zlib's crc32_combine does the same, but Python
cannot call it.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from zlib import crc32
else:
    try:
        from isal.isal_zlib import crc32
    except ImportError:
        from zlib import crc32

__all__ = ["crc32", "of_stretch"]

_POLYNOMIAL: Final = 0xEDB88320
_BIT: Final = -3
"""The step of a single bit."""
_Table = tuple[list[int], list[int], list[int], list[int]]
"""A linear map of 32 bits, in four tables: what each byte of the number contributes to the
result."""


def of_stretch(before: int, whole: int, length: int) -> int:
    """The CRC-32 of the last `length` bytes of data whose CRC is `whole`. `before` is the CRC of
    the bytes before them."""
    step = 0
    while length:
        if length & 1:
            first, second, third, fourth = _moved(step)
            before = first[before & 0xFF] ^ second[before >> 8 & 0xFF] ^ third[before >> 16 & 0xFF] ^ fourth[before >> 24]
        length >>= 1
        step += 1
    return before ^ whole


@cache
def _moved(step: int) -> _Table:
    """How 2^step bytes change the CRC of the bytes before them."""
    columns = _columns(step)
    first, second, third, fourth = ([_times(columns[place : place + 8], byte) for byte in range(256)] for place in (0, 8, 16, 24))
    return first, second, third, fourth


@cache
def _columns(step: int) -> list[int]:
    """The same map, by the image of each bit. Steps below 0 are half, a quarter and an eighth of a
    byte."""
    if step == _BIT:
        return [_POLYNOMIAL, *(1 << place for place in range(31))]
    half = _columns(step - 1)
    return [_times(half, column) for column in half]


def _times(columns: list[int], value: int) -> int:
    total = 0
    for column in columns:
        if value & 1:
            total ^= column
        value >>= 1
    return total
