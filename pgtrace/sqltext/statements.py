"""Where the statements of a text end, and with which words one begins.

A simple Query may hold several statements. Each is an execution of its own, so they are counted as
the server counts them. Semicolons inside parentheses and inside a BEGIN ATOMIC body do not separate
statements (psql's psqlscan.l has the same rules).
"""

from __future__ import annotations

from typing import Final

from pgtrace.sqltext.memory import remembered
from pgtrace.sqltext.scanner import COMMENT, lower, tokens, unquoted

_SPACES: Final = " \t\n\r\f\v"


def split(sql: str) -> list[str]:
    """The statements of a text, without the semicolons and the space and comments around them;
    empty for a text without a statement.

    A semicolon inside parentheses, or inside the BEGIN ATOMIC ... END of CREATE FUNCTION or
    PROCEDURE, does not separate statements.
    """
    if ";" not in sql and not COMMENT.search(sql):
        statement = sql.strip(_SPACES)
        return [statement] if statement else []
    return list(split_of(sql))


@remembered
def split_of(sql: str) -> tuple[str, ...]:
    """The result of split(), found token by token."""
    statements: list[str] = []
    first = last = -1  # of the statement, without what surrounds it
    depth = begun = 0
    head: list[str] = []  # its first words, to recognise CREATE [OR REPLACE] FUNCTION or PROCEDURE
    for kind, start, end in tokens(sql):
        if kind in ("space", "comment"):
            continue
        if kind == "punctuation":
            mark = sql[start]
            if mark == ";" and not depth and not begun:
                if first >= 0:
                    statements.append(sql[first:last].rstrip(_SPACES))
                first, head = -1, []
                continue
            if mark == "(":
                depth += 1
            elif mark == ")" and depth:
                depth -= 1
        elif kind == "word" and end - start <= 9:
            word = sql[start:end].upper()
            if len(head) < 4:
                head.append(word)
            if not depth and _is_routine(head):
                if word == "BEGIN" or (word == "CASE" and begun):
                    begun += 1
                elif word == "END" and begun:
                    begun -= 1
        if first < 0:
            first = start
        last = end
    if first >= 0:
        statements.append(sql[first:last].rstrip(_SPACES))
    return tuple(statements)


def _is_routine(head: list[str]) -> bool:
    routine = head[3:4] if head[1:3] == ["OR", "REPLACE"] else head[1:2]
    return head[:1] == ["CREATE"] and routine in (["FUNCTION"], ["PROCEDURE"])


def identifiers(statement: str, n: int = 4) -> list[str]:
    """At most `n` leading words, folded as the server does: unquoted words in lower case, quoted
    ones as they are inside their quotes.

    `PREPARE "Foo" (int) AS ...` gives prepare, Foo. Comments and opening parentheses before the
    first word are skipped; anything that is not a word ends the list.
    """
    found: list[str] = []
    for kind, start, end in tokens(statement):
        if kind in ("space", "comment"):
            continue
        if kind == "word":
            found.append(lower(statement[start:end]))
        elif kind == "quoted":
            found.append(unquoted(statement[start:end]))
        elif found or statement[start] != "(":
            break
        if len(found) >= n:
            break
    return found


def words(statement: str, n: int = 4) -> list[str]:
    """At most `n` leading words in upper case, to recognise a command: BEGIN; ROLLBACK, TO; START,
    TRANSACTION. For names see identifiers()."""
    return [word.upper() for word in identifiers(statement, n)]
