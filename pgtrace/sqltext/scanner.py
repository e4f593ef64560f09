"""The tokens of an SQL text, as PostgreSQL's own scanner finds them.

The rules are those of src/backend/parser/scan.l:

- A token begins where the previous one ended; together they cover the text. An unclosed quote,
  comment or dollar quote runs to the end.
- Strings: '...' with '' inside; E'...' with backslashes too. B, X, N and U& before the quote belong
  to it. After white space with a line break in it, the next quote continues the same string.
  Backslashes in plain strings are ordinary (standard_conforming_strings on, the default).
- $tag$...$tag$ ends at the same tag; $1 is a parameter; a dollar sign inside an identifier is part
  of it. /* */ nests.
- Operators end before -- and /*, and do not end in + or - unless they contain one of ~!@#^&|`?%.

Each character is read a bounded number of times: regular expressions here are possessive, and a
search that fails ends the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from pgtrace.sqltext.memory import remembered

Kind = Literal["space", "comment", "string", "number", "parameter", "word", "quoted", "operator", "punctuation", "other"]


class Token(NamedTuple):
    """One piece of the text: `sql[start:end]`."""

    kind: Kind
    start: int
    end: int


# Any character that is not ASCII may be in a name. These sets list what they exclude: a set with a
# range up to \U0010ffff takes 10 ms to compile.
_BEGINS_NAME = r"[^\x00-@\[-^`{-\x7f]"
_IN_TAG = r"[^\x00-/:-@\[-^`{-\x7f]"
IN_NAME = r"[^\x00-#%-/:-@\[-^`{-\x7f]"
"""A character of a name after its first: letters, digits, _ and $."""
_NEXT: Final = re.compile(
    r"(?P<space>[ \t\n\r\f\v]++)"
    r"|(?P<line_comment>--[^\n\r]*+)"
    r"|(?P<block_comment>/\*)"
    r"|(?P<escaped>[eE]')"
    r"|(?P<plain>(?:[bBxXnN]|[uU]&)?')"
    r'|(?P<identifier>(?:[uU]&)?")'
    rf"|(?P<word>{_BEGINS_NAME}{IN_NAME}*+)"
    r"|(?P<number>0[xX][0-9A-Fa-f_]++|0[oO][0-7_]++|0[bB][01_]++"
    r"|(?:[0-9][0-9_]*+(?:\.(?!\.)[0-9_]*+)?|\.[0-9][0-9_]*+)(?:[eE][+-]?[0-9][0-9_]*+)?)"
    r"|(?P<parameter>\$[0-9]++)"
    rf"|(?P<dollar>\$(?:{_BEGINS_NAME}{_IN_TAG}*+)?\$)"
    r"|(?P<operator>::|:=|\.\.|[~!@#^&|`?+\-*/%<>=]++)"
    r"|(?P<punctuation>[,()\[\].;:])"
    r"|(?P<other>[\s\S])"
)
CONTINUED: Final = re.compile(r"(?:[ \t\f\v]|--[^\n\r]*+)*+[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*+)*+'")
COMMENT_ENDS: Final = re.compile(r"/\*|\*/")
ESCAPED_INSIDE: Final = re.compile(r"(?:[^'\\]++|\\[\s\S]|'')*+")
COMMENT: Final = re.compile(r"--|/\*")
_LASTING_OPERATOR: Final = re.compile(r"[~!@#^&|`?%]")


def _plain_end(sql: str, position: int, quote: str) -> int:
    """The end of the quoted text that begins at `position`; doubled quotes are part of it. The end
    of the text if the quote is never closed."""
    while (close := sql.find(quote, position)) >= 0:
        if not sql.startswith(quote, close + 1):
            return close + 1
        position = close + 2
    return len(sql)


def _escaped_end(sql: str, position: int) -> int:
    match = ESCAPED_INSIDE.match(sql, position)
    return min(len(sql), (match.end() if match else position) + 1)


def _comment_end(sql: str, position: int) -> int:
    depth = 1
    for match in COMMENT_ENDS.finditer(sql, position):
        depth += 1 if match.group() == "/*" else -1
        if not depth:
            return match.end()
    return len(sql)


def _operators(sql: str, start: int, end: int) -> Iterator[Token]:
    """The operators in a run of operator characters, up to a comment in it."""
    comment = COMMENT.search(sql, start + 1, end)
    end = comment.start() if comment else end
    stop = end
    if not _LASTING_OPERATOR.search(sql, start, end):
        stop = max(start + 1, start + len(sql[start:end].rstrip("+-")))
    yield Token("operator", start, stop)
    for sign in range(stop, end):
        yield Token("operator", sign, sign + 1)


def tokens(sql: str) -> Iterator[Token]:
    """The tokens of the text in order, white space and comments included. Each is found when you
    ask for it."""
    position, length = 0, len(sql)
    while position < length:
        match = _NEXT.match(sql, position)
        assert match is not None, "the last alternative takes any character"
        start, position = position, match.end()
        group = match.lastgroup
        kind: Kind
        match group:
            case "space" | "word" | "number" | "parameter" | "punctuation":
                kind = group
            case "operator":
                for operator in _operators(sql, start, position):
                    yield operator
                    position = operator.end
                continue
            case "plain" | "escaped":
                kind = "string"
                while True:
                    position = _plain_end(sql, position, "'") if group == "plain" else _escaped_end(sql, position)
                    more = CONTINUED.match(sql, position)
                    if more is None:
                        break
                    position = more.end()
            case "dollar":
                kind = "string"
                close = sql.find(match.group(), position)
                position = length if close < 0 else close + len(match.group())
            case "identifier":
                kind = "quoted"
                position = _plain_end(sql, position, '"')
            case "line_comment":
                kind = "comment"
            case "block_comment":
                kind = "comment"
                position = _comment_end(sql, position)
            case _:
                kind = "other"
        yield Token(kind, start, position)


def scan(sql: str) -> list[Token]:
    """Every token of the text in order, white space and comments included: joined, they are
    `sql`."""
    return list(tokens(sql))


@remembered
def without_comments(sql: str) -> str:
    """The text without its comments and the space around them."""
    if "--" not in sql and "/*" not in sql:
        return sql
    kept = "".join(" " if kind == "comment" else sql[start:end] for kind, start, end in tokens(sql))
    return " ".join(kept.split())


def lower(text: str) -> str:
    """Lower case as in the server, which folds only ASCII letters."""
    return text.lower() if text.isascii() else "".join(c.lower() if c.isascii() else c for c in text)


def unquoted(text: str) -> str:
    """The text inside the quotes of an identifier, closed or not."""
    opening = text.find('"') + 1
    closing = len(text) - 1 if len(text) > opening and text.endswith('"') else len(text)
    return text[opening:closing].replace('""', '"')
