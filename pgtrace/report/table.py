"""Aligned columns of text: for terminals, pipes and logs, without colours or frames.

Widths are terminal cells. Every cell goes through the sanitiser: nothing from the wire reaches a
terminal as more than text. Only the last row decides how wide a column is, so rows wait in a
temporary file, and memory does not grow with them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from pgtrace import sanitise
from pgtrace.sanitise import Shown

NOTHING = "·"
"""How a zero is shown: present, but unobtrusive."""


_IN_MEMORY_BYTES: Final = 1 << 20
_SHORT: Final = {"round trips": "rt", "pipelined": "pipe", "prepared": "prep", "errors": "err", "wait ms": "ms"}
"""Short heads, as in the live view, for narrow terminals."""


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, left: frozenset[int] = frozenset({0}), columns: int | None = None
) -> list[Shown]:
    """Lines of a table. The columns of `left` are aligned to the left, all others, which are
    numbers, to the right. If the table is wider than the `columns` of a terminal, its heads are
    short."""
    return list(long_table(head, rows, left=left, columns=columns))


def long_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, left: frozenset[int] = frozenset({0}), columns: int | None = None
) -> Iterator[Shown]:
    """Like table(), line by line, for any number of rows."""
    widths = [0] * len(head)
    with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES, "w+", encoding="utf-8", newline="\n") as waiting:
        for row in rows:
            cells = [sanitise.text(cell) for cell in row]  # neither tabs nor line breaks are left
            widths = [max(width, _cells(cell)) for width, cell in zip(widths, cells, strict=True)]
            waiting.write("\t".join(cells) + "\n")
        waiting.seek(0)
        short = [_SHORT.get(cell, cell) for cell in head]
        for heads, gap in ((head, "  "), (short, "  "), (short, " ")):
            wide = [max(width, _cells(sanitise.text(cell))) for width, cell in zip(widths, heads, strict=True)]
            if columns is None or sum(wide) + len(gap) * (len(wide) - 1) <= columns:
                break
        for line in chain(["\t".join(map(sanitise.text, heads)) + "\n"], waiting):
            padded = []
            for column, (cell, width) in enumerate(zip(line[:-1].split("\t"), wide, strict=True)):
                space = " " * (width - _cells(cell))
                padded.append(cell + space if column in left else space + cell)
            yield sanitise.line(gap.join(padded).rstrip())


def _cells(text: str) -> int:
    """The number of terminal cells of a text."""
    if text == NOTHING or text.isascii():
        return len(text)
    from rich.cells import cell_len  # most tables do not need it

    return cell_len(text)


def count(number: int) -> str:
    """A number of things; zero is a dot."""
    return str(number) if number else NOTHING


def ms(duration_ns: int) -> str:
    """A duration in ms with two decimals."""
    return f"{duration_ns / 1e6:.2f}"


def size(number: int) -> str:
    """Bytes in four characters: 959, 9.2k, 18k, 1.2M."""
    if number < 1000:
        return count(number)
    value = float(number)
    for unit in "kMGT":
        value /= 1000
        if value < 999.5 or unit == "T":
            return f"{value:.1f}{unit}" if value < 9.95 else f"{value:.0f}{unit}"
    return str(number)


def ratio(part: int, whole: int) -> str:
    """A quotient with two decimals, or a dot."""
    return f"{part / whole:.2f}" if whole else NOTHING
