"""Statements that ask for many values at once: the role of each of their values.

A loop of such statements is not n+1: it reads pages, works through a list in portions, or drains a
queue. Only the tokens of the text are read; of a long text, only the beginning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pgtrace import sqltext
from pgtrace.judge.texts import LOOKED_AT
from pgtrace.sqltext.memory import remembered
from pgtrace.whole import whole_number

ONE: Final = "one"
"""A single value: `id = $1`, a row of VALUES, an argument."""
LIST: Final = "list"
"""A value in IN (...) with several values, ANY (...), UNNEST (...), or one of several rows of
VALUES.
"""
RANGE: Final = "range"
"""A bound of a range: `id > $1`, BETWEEN."""
LIMIT: Final = "limit"
"""A row count: LIMIT, OFFSET, FETCH FIRST."""
IN_TEXT: Final = "values in the text"
"""A difference between texts: their literals."""
LENGTHS: Final = "lists of other lengths"
"""A difference between texts: how many parameters they have, as in `IN ($1, $2)`."""
_VALUES: Final = frozenset({"string", "number", "parameter"})
_LISTS: Final = frozenset(
    {"ANY", "SOME", "ALL", "UNNEST", "JSON_TO_RECORDSET", "JSONB_TO_RECORDSET", "JSON_POPULATE_RECORDSET", "JSONB_POPULATE_RECORDSET",
     "JSON_ARRAY_ELEMENTS", "JSONB_ARRAY_ELEMENTS", "JSON_ARRAY_ELEMENTS_TEXT", "JSONB_ARRAY_ELEMENTS_TEXT"}
)  # fmt: skip
_BOUNDS: Final = frozenset({"<", ">", "<=", ">="})
_LIMITS: Final = frozenset({"LIMIT", "OFFSET", "FIRST", "NEXT"})
_TOKENS: Final = 2_000
_LAST_PARAMETER: Final = 65_535
_ARRAY_LENGTH: Final = 12
_ARRAY_HEAD: Final = 16
_ONE: Final = b"\0\0\0\1"


class _Level:
    """One level of brackets."""

    __slots__ = ("between", "commas", "first", "is_in", "role", "rows", "rows_first")

    def __init__(self, role: str, first: int, *, is_in: bool) -> None:
        self.role = role
        """The role of each value in it; empty if each value has its own."""
        self.first = first
        """The number of the first value in it."""
        self.is_in = is_in
        """Whether it is IN (...)."""
        self.commas = 0
        self.between = False
        self.rows = -1
        """Rows of a VALUES on this level; -1 without one."""
        self.rows_first = 0

    def close(self, roles: list[str]) -> None:
        """End the level, at its closing bracket or at the end of the text."""
        if self.is_in and self.commas:
            roles[self.first :] = [LIST] * (len(roles) - self.first)
        self.end_rows(roles)

    def end_rows(self, roles: list[str]) -> None:
        if self.rows > 1:
            roles[self.rows_first :] = [LIST] * (len(roles) - self.rows_first)
        self.rows = -1


@remembered
def roles(sql: str) -> tuple[tuple[str, str], ...]:
    """The values of a statement in order, each with its role: `id = $1 and n in (1, 2)` has (ONE,
    "$1"), (LIST, "1"), (LIST, "2").
    """
    text = sql[:LOOKED_AT]
    found: list[str] = []
    values: list[str] = []
    levels = [_Level("", 0, is_in=False)]
    before, was_value = "", False
    solid = ((kind, text[start:end]) for kind, start, end in sqltext.scan(text) if kind not in ("space", "comment"))
    for number, (kind, piece) in enumerate(solid):
        if number >= _TOKENS:
            break
        level = levels[-1]
        word = piece.upper() if kind == "word" else piece
        if kind in _VALUES:
            bounds = before in _BOUNDS or before in ("BETWEEN", "SYMMETRIC")
            found.append(level.role or (LIMIT if before in _LIMITS else RANGE if bounds else ONE))
            values.append(piece)
        elif piece == "(":
            is_row = level.rows >= 0 and before in ("VALUES", ",")
            level.rows += is_row
            role = level.role or (LIST if before in _LISTS else RANGE if before in _BOUNDS else LIMIT if before in _LIMITS else "")
            levels.append(_Level(role, len(found), is_in=before == "IN"))
        elif piece == ")" and len(levels) > 1:
            levels.pop().close(found)
        elif piece == ",":
            level.commas += 1
        elif word in _BOUNDS and was_value:
            if found[-1] == ONE:
                found[-1] = RANGE
        elif word == "VALUES":
            level.is_in, level.rows, level.rows_first = False, 0, len(found)
        elif kind == "word":
            level.end_rows(found)
            if word in ("SELECT", "WITH"):
                level.is_in, level.role = False, ""
            elif word == "ALL" and before in ("UNION", "INTERSECT", "EXCEPT"):
                word = ""
            elif word == "BETWEEN":
                level.between = True
            elif word == "AND" and level.between:
                level.between, word = False, "BETWEEN"
        before, was_value = word, kind in _VALUES
    for level in reversed(levels):
        level.close(found)
    return tuple(zip(found, values, strict=True))


def fixed(sql: str) -> tuple[int, int]:
    """The parts of a text that may differ between statements with the same normalised SQL: a hash
    of its literals, and the number of its parameters.
    """
    values = [value for _, value in roles(sql)]
    parameters = sum(value.startswith("$") for value in values)
    return hash(tuple(value for value in values if not value.startswith("$"))), parameters


def difference(one: tuple[int, int], other: tuple[int, int]) -> str:
    """The difference between two texts with the same normalised SQL, from fixed() of each: LENGTHS
    if only the number of parameters does, else IN_TEXT.
    """
    return LENGTHS if one[0] == other[0] and one[1] != other[1] else IN_TEXT


def _parameter(text: str) -> int | None:
    """The number of a parameter, 1 for `$1`; None for anything else."""
    return whole_number(text[1:], _LAST_PARAMETER) if text[:1] == "$" else None


def apart(found: Sequence[tuple[str, str]], bound: Sequence[object] | None) -> list[tuple[object, bool]] | None:
    """The single values, each with whether it is also a bound, as in `a > $1 or (a = $1 and b >
    $2)`. Values of parameters are taken from `bound`. None if they are not known.
    """
    known: list[tuple[str, object]] = []
    for role, text in found:
        number = _parameter(text)
        if number is None:
            known.append((role, text))
        elif bound is None or not 0 < number <= len(bound):
            return None
        else:
            known.append((role, bound[number - 1]))
    bounds = {value for role, value in known if role == RANGE}
    return [(value, value in bounds) for role, value in known if role == ONE]


def stay(rounds: Sequence[Sequence[tuple[object, bool]]]) -> bool:
    """Whether the single values of apart() are the same in each round, except those that follow a
    bound.
    """
    first = rounds[0]
    return all(
        len(one) == len(first)
        and all(a == b or (a_follows and b_follows) for (a, a_follows), (b, b_follows) in zip(first, one, strict=True))
        for one in rounds[1:]
    )


def of_one(found: Sequence[tuple[str, str]], bound: Sequence[bytes | None] | None, formats: Sequence[int]) -> bool:
    """Whether the statement's lists are known to have only one item in total."""
    lists = [text for role, text in found if role == LIST]
    if len(lists) != 1:
        return False
    text = lists[0]
    number = _parameter(text)
    if number is None:
        return "," not in text
    place = number - 1
    if bound is None or not 0 <= place < len(bound):
        return False
    value = bound[place] or b""
    if place < len(formats) and formats[place]:
        # dimensions, flags, type, and the length of the first
        return len(value) >= _ARRAY_HEAD and value[:4] == _ONE and value[_ARRAY_LENGTH:_ARRAY_HEAD] == _ONE
    return b"," not in value
