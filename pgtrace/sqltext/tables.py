"""The tables that a statement names: the names after FROM, JOIN, INTO and UPDATE.

This is for people, who recognise a transaction by its tables. A name of WITH counts as a table; a
function, a subquery and a schema do not.
"""

from __future__ import annotations

from typing import Final

from pgtrace.sqltext.memory import remembered
from pgtrace.sqltext.scanner import lower, tokens, unquoted

_BEFORE: Final = frozenset({"from", "join", "into", "update", "table", "copy"})
_BETWEEN: Final = frozenset({"only", "lateral", "if", "exists", "not"})
_NO_TABLE: Final = frozenset({"set", "select", "values", "of", "nowait", "skip", "stdin", "stdout", "program", "current"})
_LIST_ENDS: Final = frozenset({"where", "group", "order", "limit", "on", "using", "set", "returning", "for", "(", ")", ";"})
_MOST: Final = 8
_LOOKED_AT: Final = 20_000


@remembered
def tables(sql: str) -> tuple[str, ...]:
    """The names of tables in the order of first occurrence, without their schemas, at most a
    few."""
    found: dict[str, None] = {}
    expected = dotted = listing = False
    name = after = before = ""  # a name, the word before it, and the word before any token
    for kind, start, end in tokens(sql[:_LOOKED_AT]):
        if kind in ("space", "comment"):
            continue
        text = sql[start:end]
        word = lower(text) if kind == "word" else ""
        if dotted or (expected and (kind == "quoted" or (word and word not in _NO_TABLE | _BETWEEN))):
            name, expected, dotted = unquoted(text) if kind == "quoted" else word, False, False
            continue
        if name and text == ".":
            dotted = True
            continue
        if name:
            if text != "(" or after in ("into", "copy", "table"):
                found[name] = None
            listing, name = after == "from", ""
        if word in _BEFORE and before not in ("for", "do", "distinct"):
            expected, after = True, word
        elif text == "," and listing:
            expected, after = True, "from"
        elif not (expected and word in _BETWEEN):
            expected = False
        listing = listing and (word or text) not in _LIST_ENDS
        before = word
        if len(found) >= _MOST:
            break
    if name:
        found[name] = None
    return tuple(found)
