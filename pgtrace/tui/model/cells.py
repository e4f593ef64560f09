"""Text measured in cells of the terminal: a wide character takes two, a combining one takes none,
and a cut never splits one."""

from __future__ import annotations

from rich.cells import cell_len, split_text


def width(text: str) -> int:
    """How many cells the text takes."""
    return len(text) if text.isascii() else cell_len(text)


def cut(text: str, most: int, ellipsis: str = "…") -> str:
    """The text in at most `most` cells; if it does not fit, it ends in the ellipsis."""
    if most <= 0:
        return ""
    longest = 4 * most + 8
    whole = len(text) <= longest
    text = text[:longest]
    if whole and width(text) <= most:
        return text
    room = most - len(ellipsis)
    if room < 0:
        return ellipsis[:most]
    if text.isascii():
        return text[:room] + ellipsis
    return split_text(text, room)[0].rstrip("\u200d") + ellipsis if width(text) > room else text + ellipsis


def pad(text: str, least: int, *, right: bool = False) -> str:
    """The text padded with blanks to `least` cells, on its right or, with `right`, on its left."""
    blanks = " " * (least - width(text))
    return blanks + text if right else text + blanks
