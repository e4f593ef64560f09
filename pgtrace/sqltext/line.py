"""A statement on one line of a given width, for a column of a table.

Statements usually differ in the end of the select list and in what follows it. So the list is
dropped first: `SELECT … FROM items WHERE order_id = $1`. Columns and rows of an INSERT are dropped
in the same way. Next to go are the middle of long lists in brackets, `IN ($1, …, $9)`, and then the
joins between the first table and WHERE. Only then is the end cut. Only the head of a long text is
read.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from pgtrace.sqltext.scanner import lower, tokens

_JOINS: Final = frozenset({",", "join", "left", "right", "inner", "full", "cross", "natural"})
_LOOKED_AT: Final = 20_000
"""The most characters of a text that are read for its one line."""


_LIST_LEAST: Final = 4
"""The least number of items in a list in brackets whose middle may be dropped."""


@lru_cache(maxsize=256)
def _forms(sql: str) -> tuple[str, ...]:
    """The head of the text on one line, and the same with more and more of it replaced by `…`."""
    pieces: list[str] = []
    names: list[str] = []  # the same tokens as names, "" for tokens that are not names
    depths: list[int] = []
    depth, space = 0, False
    for kind, start, end in tokens(sql):
        if kind in ("space", "comment"):
            space = True
            continue
        text = sql[start:end]
        if text in (")", "]"):
            depth = max(0, depth - 1)
        pieces.append(" " + text if space and pieces else text)
        names.append(lower(text) if kind == "word" else "" if kind != "punctuation" else text)
        depths.append(depth)
        if text in ("(", "["):
            depth += 1
        space = False
    top = [index for index, level in enumerate(depths) if level == 0]
    forms = ["".join(pieces)]
    gone: list[tuple[int, int, str]] = []
    for cuts in (_list(names, top, len(pieces)), _middles(names, depths), _joined(names, top)):
        inside = [one for one in cuts if not any(left <= one[0] < right for left, right, _ in gone)]
        if inside:
            gone = sorted([one for one in gone if not any(left <= one[0] < right for left, right, _ in inside)] + inside)
            forms.append(_without(pieces, gone))
    return tuple(forms)


def _without(pieces: list[str], gone: list[tuple[int, int, str]]) -> str:
    """The pieces, with a sign instead of each range that is dropped."""
    kept: list[str] = []
    at = 0
    for left, right, sign in gone:
        kept += [*pieces[at:left], sign]
        at = right
    return "".join([*kept, *pieces[at:]])


def _list(names: list[str], top: list[int], end: int) -> list[tuple[int, int, str]]:
    """The range of the select list or the insert list."""
    left, right = _list_bounds(names, top)
    return [(left, min(right, end), " …")] if right > left else []


def _middles(names: list[str], depths: list[int]) -> list[tuple[int, int, str]]:
    """The ranges of the middle items of lists in brackets. Lists inside another list are left
    out."""
    found: list[tuple[int, int, str]] = []
    opened: list[tuple[int, list[int]]] = []
    for index, name in enumerate(names):
        if name in ("(", "["):
            opened.append((index, []))
        elif name == "," and opened and depths[index] == len(opened):
            opened[-1][1].append(index)
        elif name in (")", "]") and opened:
            _, commas = opened.pop()
            if len(commas) >= _LIST_LEAST - 1:
                found = [one for one in found if not commas[0] < one[0] < commas[-1]]
                found.append((commas[0] + 1, commas[-1], " …"))
    return found


def _joined(names: list[str], top: list[int]) -> list[tuple[int, int, str]]:
    """The range of the joins between the first table and WHERE."""
    begun = next((index for index in top if names[index] == "from"), -1)
    where = next((index for index in top if begun >= 0 and index > begun and names[index] == "where"), -1)
    left = next((index for index in top if begun < index < where and names[index] in _JOINS), -1)
    return [(left, where, " …")] if where > 0 and left > 0 else []


def _list_bounds(names: list[str], top: list[int]) -> tuple[int, int]:
    """The range of tokens that are the select list of the outermost SELECT, or the columns and rows
    of an INSERT."""
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
    the middle of other lists, then the joins; then the end is cut.

    `cells` measures a text; a terminal passes its own function. Unprintable characters stay: the
    caller must show the line through sanitise.
    """
    forms = _forms(sql[:_LOOKED_AT])
    for line in forms:
        if len(line) <= width * 2 and cells(line) <= width:
            return line
    cut = forms[-1][: max(0, width - 1)]
    while cut and cells(cut) > width - 1:
        cut = cut[:-1]
    return cut.rstrip() + "…" if width > 0 else ""
