"""Whole numbers in text that somebody else wrote: a port in a capture, a parameter in SQL."""

from __future__ import annotations

from typing import Final

_MOST_DIGITS: Final = 20
"""No number that is meant has more, and int() refuses 4300 of them with an error of its own."""


def whole_number(text: str, most: int) -> int | None:
    """The number that a text is. None if it is not made of digits, or is more than `most`."""
    if len(text) > _MOST_DIGITS or not (text.isascii() and text.isdigit()):
        return None
    number = int(text)
    return number if number <= most else None
