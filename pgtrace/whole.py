"""Whole numbers in text that somebody else wrote: a port in a capture, a parameter in SQL."""

from __future__ import annotations

from typing import Final

_MOST_DIGITS: Final = 20
"""A sensible number never has more digits, and int() refuses more than 4300 of them with an error
of its own."""


def whole_number(text: str, most: int) -> int | None:
    """The number in a text. None if the text is not made of digits, or the number is more than
    `most`."""
    if len(text) > _MOST_DIGITS or not (text.isascii() and text.isdigit()):
        return None
    number = int(text)
    return number if number <= most else None
