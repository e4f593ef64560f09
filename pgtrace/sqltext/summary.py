"""What a statement is about in a few words, and its text without values: a name and a text that may
leave the machine."""

from __future__ import annotations

from typing import Final

from pgtrace.sqltext.memory import remembered
from pgtrace.sqltext.scanner import tokens
from pgtrace.sqltext.statements import split, words
from pgtrace.sqltext.tables import tables

LONGEST: Final = 255
_VALUE: Final = "?"


@remembered
def summary(sql: str) -> str:
    """The first word of each statement and the tables it names: `SELECT orders customers`.

    It contains no values, and equal statements have the same summary. Whole words that do not fit
    into LONGEST are left out.
    """
    parts: dict[str, None] = {}
    for statement in split(sql):
        parts[" ".join((*words(statement, 1), *tables(statement)))] = None
    text = "; ".join(part for part in parts if part)
    return text if len(text) <= LONGEST else text[: LONGEST + 1].rpartition(" ")[0][:LONGEST]


@remembered
def without_values(sql: str) -> str:
    """The text with `?` instead of each string and number, and without comments.

    A text with parameters ($1) stays as it is: it was written to be used with any values.
    """
    kept = []
    parametrised = False
    for kind, start, end in tokens(sql):
        parametrised = parametrised or kind == "parameter"
        kept.append(_VALUE if kind in ("string", "number") else " " if kind == "comment" else sql[start:end])
    return sql if parametrised else "".join(kept).strip()
