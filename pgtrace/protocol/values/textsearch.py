"""Text search: tsvector and tsquery.

A tsvector is a list of lexemes, each with positions: 14 bits, and the weight in the two above them.
A tsquery is its operators and lexemes in prefix order, the right operand before the left. It is
printed infix, with the parentheses that the priorities require. Reading it from the end needs no
recursion, so its depth needs no bound. Sources: tsvector.c, tsquery.c in PostgreSQL's
src/backend/utils/adt.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pgtrace.protocol.values.cursor import Cursor
from pgtrace.protocol.values.strings import text

_WEIGHTS: Final = ("", "C", "B", "A")
_VALUE, _OPERATOR = 1, 2
_NOT, _AND, _OR, _PHRASE = 1, 2, 3, 4
_PRIORITIES: Final = {_OR: 1, _AND: 2, _PHRASE: 3, _NOT: 4}
_HIGHEST: Final = 5
_SIGNS: Final = {_AND: "&", _OR: "|"}

_Node = tuple[int, str]
"""The priority and text of a part of a query."""


def _quoted(lexeme: bytes) -> str:
    escaped = text(lexeme).replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def _tsvector(data: bytes) -> str:
    cursor = Cursor(data)
    lexemes: list[str] = []
    for _ in range(cursor.count()):
        lexeme = _quoted(cursor.string())
        (count,) = cursor.integers("H")
        positions = ",".join(f"{position & 0x3FFF}{_WEIGHTS[position >> 14]}" for position in cursor.integers(f"{count}H"))
        lexemes.append(f"{lexeme}:{positions}" if positions else lexeme)
    cursor.end()
    return " ".join(lexemes)


def _tsquery(data: bytes) -> str:
    cursor = Cursor(data)
    items = [_item(cursor) for _ in range(cursor.count())]
    cursor.end()
    nodes: list[_Node] = []
    for operator, item in reversed(items):
        if not operator:
            nodes.append((_HIGHEST, item))
            continue
        if len(nodes) < (1 if operator == _NOT else 2):
            raise ValueError("an operator without its operands")
        priority = _PRIORITIES[operator]
        right = nodes.pop()
        if operator == _NOT:
            nodes.append((priority, f"!{_inside(right, priority)}"))
            continue
        left = nodes.pop()
        # A phrase operator does not associate: on the right it needs parentheses.
        chained = operator == _PHRASE and right[0] == priority
        shown = f"( {right[1]} )" if chained else _inside(right, priority)
        nodes.append((priority, f"{_inside(left, priority)} {item} {shown}"))
    if len(nodes) > 1:
        raise ValueError("operands without their operator")
    return nodes[0][1] if nodes else ""


def _item(cursor: Cursor) -> tuple[int, str]:
    """An operator and its text, or 0 and a lexeme."""
    (kind,) = cursor.integers("B")
    if kind == _VALUE:
        weights, is_prefix = cursor.integers("BB")
        marks = "*" * bool(is_prefix) + "".join(letter for bit, letter in ((8, "A"), (4, "B"), (2, "C"), (1, "D")) if weights & bit)
        lexeme = _quoted(cursor.string())
        return 0, f"{lexeme}:{marks}" if marks else lexeme
    (operator,) = cursor.integers("B")
    if kind != _OPERATOR or operator not in _PRIORITIES:
        raise ValueError("neither a lexeme nor an operator")
    if operator != _PHRASE:
        return operator, _SIGNS.get(operator, "")
    (distance,) = cursor.integers("h")
    return operator, "<->" if distance == 1 else f"<{distance}>"


def _inside(node: _Node, priority: int) -> str:
    """The text of an operand, in parentheses if its operator has a lower priority than
    `priority`."""
    return f"( {node[1]} )" if node[0] < priority else node[1]


READERS: Final[dict[str, Callable[[bytes], str]]] = {
    "tsvector": _tsvector,
    "tsquery": _tsquery,
}
