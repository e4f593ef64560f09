"""SQL in three tones: keywords, literals and parameters; comments are dim.

The scanner's tokens decide (pygments' lexer for PostgreSQL takes four times as long). A parameter
may give way to its value. Texts come out safe to be shown.
"""

from __future__ import annotations

import functools
import re
from typing import Final

from rich.cells import chop_cells

from pgtrace import sanitise, sqltext
from pgtrace.tui.model import cells

Runs = tuple[tuple[str, str], ...]
"""Texts and their roles."""

LOOKED_AT: Final = 300_000
"""The most characters of a statement that are shown."""
_TAB: Final = 8
_SPACE: Final = re.compile(r"[ \t\n\r\f\v]+")
_ROLES: Final = {"string": "literal", "number": "literal", "parameter": "parameter", "comment": "dim"}
_KEYWORDS: Final = frozenset(
    """
    abort add all alter analyze and any array as asc asymmetric at begin between both by call cascade case cast check close
    cluster collate column comment commit conflict constraint copy create cross cube current current_date current_time
    current_timestamp cursor database deallocate declare default deferrable delete desc discard distinct do drop each else end
    except exclude execute exists explain extension fetch filter first following for foreign from full function grant group
    grouping having if ilike in index inherits inner insert intersect interval into is isnull isolation join key last lateral
    leading left level like limit listen load local lock materialized merge move natural no not nothing notify notnull null nulls
    of off offset on only or order outer over overriding partition policy preceding prepare primary procedure range read
    reassign recursive references refresh reindex release rename replace reset restrict returning revoke right role rollback
    rollup row rows savepoint schema select sequence session set share show similar some start symmetric table tablesample
    temp temporary then ties to trailing transaction trigger truncate type unbounded union unique unlisten update user using
    vacuum values view when where window with within without work write true false
    """.split()  # noqa: SIM905 - one word per line would be longer
)


@functools.lru_cache(maxsize=64)
def wrapped(sql: str, width: int, values: tuple[tuple[str, str], ...] = (), *, as_written: bool = False) -> tuple[Runs, ...]:
    """The statement on lines of at most `width` cells. `values` take the place of parameters. White
    space is folded, or left with its line breaks if it is shown `as_written`."""
    known = dict(values)
    lines: list[Runs] = []
    line: list[tuple[str, str]] = []
    used = 0

    def ended() -> None:
        nonlocal line, used
        lines.append(tuple(line))
        line, used = [], 0

    def put(text: str, role: str) -> None:
        nonlocal used
        if line and line[-1][1] == role:
            line[-1] = (line[-1][0] + text, role)
        else:
            line.append((text, role))
        used += cells.width(text)

    for word in _words(sql[:LOOKED_AT], known, as_written=as_written):
        if isinstance(word, int):
            if as_written:
                ended()
                put(" " * min(word, width // 2), "text")
            continue
        space = 1 if used and line[-1][0][-1:] != " " and word[0][1] == "space" else 0
        word = [piece for piece in word if piece[1] != "space"]
        wide = sum(cells.width(text) for text, _ in word)
        if used and used + space + wide > width:
            ended()
            space = 0
        if space:
            put(" ", "text")
        for text, role in word:
            parts = [text] if used + cells.width(text) <= width else chop_cells(text, max(2, width))
            for part in parts:
                if used + cells.width(part) > width:
                    ended()
                put(part, role)
    if line:
        ended()
    return tuple(lines)


def _words(sql: str, known: dict[str, str], *, as_written: bool) -> list[list[tuple[str, str]] | int]:
    """Pieces without white space between them, each piece with its role; before them a `space` if
    there was some. A number is a line break and the indentation after it."""
    found: list[list[tuple[str, str]] | int] = []
    word: list[tuple[str, str]] = []
    for kind, start, end in sqltext.scan(sql):
        text = sql[start:end]
        if kind == "space":
            if word:
                found.append(word)
            _, broken, after = text.replace("\r\n", "\n").rpartition("\n")
            if broken and as_written:
                found.append(len(after.expandtabs(_TAB)))
            word = [("", "space")]
            continue
        role = _ROLES.get(kind) or ("keyword" if kind == "word" and text.lower() in _KEYWORDS else "text")
        if kind == "parameter" and text in known:
            text = known[text]
        word.append((sanitise.text(text if as_written or kind != "comment" else _SPACE.sub(" ", text)), role))
    if any(role != "space" for _, role in word):
        found.append(word)
    return found
