"""A statement on one line of a given width, for a column of a table.

What tells statements apart is mostly the end of the select list and what follows it. So the list is
dropped first: `SELECT … FROM items WHERE order_id = $1`. Columns and rows of an INSERT are dropped
in the same way. Only then is the end cut. Only the head of a long text is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from pgtrace.sqltext.scanner import lower, tokens

_LOOKED_AT: Final = 20_000
"""How many characters of a text are looked at for its one line."""


@lru_cache(maxsize=256)
def _line_pieces(sql: str) -> tuple[str, str]:
    """The head of the text on one line, and the same with `…` for the select list or the insert
    list."""
    pieces: list[str] = []
    names: list[str] = []  # the same tokens as names, "" for those that are not
    depths: list[int] = []
    depth, space = 0, False
    for kind, start, end in tokens(sql):
        if kind in ("space", "comment"):
            space = True
            continue
        text = sql[start:end]
        if text == ")":
            depth = max(0, depth - 1)
        pieces.append(" " + text if space and pieces else text)
        names.append(lower(text) if kind == "word" else "" if kind != "punctuation" else text)
        depths.append(depth)
        if text == "(":
            depth += 1
        space = False
    top = [index for index, level in enumerate(depths) if level == 0]
    left, right = _list_bounds(names, top)
    if right <= left:
        return "".join(pieces), "".join(pieces)
    return "".join(pieces), "".join([*pieces[:left], " …", *pieces[right:]]) if right < len(pieces) else "".join(pieces[:left]) + " …"


def _list_bounds(names: list[str], top: list[int]) -> tuple[int, int]:
    """Which tokens are the select list of the outermost SELECT, or the columns and rows of an
    INSERT."""
    if names[:1] == ["insert"]:
        left = next((index for index in top if names[index] in ("(", "values")), 0)
        after = (index for index in top if index > left and names[index] in ("on", "returning", "select", ";"))
    else:
        left = next((index for index in top if names[index] == "select"), -1) + 1
        after = (index for index in top if index > left and names[index] in ("from", "into", "where", ";"))
    right = next(after, len(names) if names[:1] == ["insert"] else 0)
    return (left, right) if left else (0, 0)


def shorten(sql: str, width: int, cells: Callable[[str], int] = len) -> str:
    """One line of at most `width` cells: first the select list or the insert list becomes `…`, then
    the end is cut.

    `cells` measures a text; a terminal passes its own. What is not printable is still in it: the
    caller shows it through sanitise.
    """
    whole, listless = _line_pieces(sql[:_LOOKED_AT])
    for line in (whole, listless):
        if len(line) <= width * 2 and cells(line) <= width:
            return line
    cut = listless[: max(0, width - 1)]
    while cut and cells(cut) > width - 1:
        cut = cut[:-1]
    return cut.rstrip() + "…" if width > 0 else ""
