"""What a COPY statement says about its data: text, CSV or binary, and which bytes quote and escape.

The server's CopyInResponse distinguishes text from binary; only the statement distinguishes text
from CSV. Both spellings of the options are read: the list in parentheses, and the words of older
servers (`WITH CSV HEADER QUOTE AS '"'`). Options that are not understood keep their defaults. For a
text that is not a COPY from or to the frontend the result is None.

Source: PostgreSQL manual, "COPY".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from pgtrace.sqltext.memory import remembered
from pgtrace.sqltext.scanner import Token, lower, tokens, unquoted

Format = Literal["text", "csv", "binary"]

_FORMATS: Final[dict[str, Format]] = {"text": "text", "csv": "csv", "binary": "binary"}
_OFF: Final = frozenset({"false", "off", "0"})
_ESCAPES: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_BACKSLASH: Final = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class CopyStatement:
    """The options of a COPY. `quote` and `escape` are one byte each, and only for CSV."""

    format: Format = "text"
    header: bool = False
    """Whether the first line names the columns."""
    quote: bytes = b'"'
    escape: bytes = b'"'
    columns: tuple[str, ...] = ()
    """The column list, or empty for all columns."""


@dataclass(slots=True)
class _Words:
    """The significant tokens of a statement, read from front to back."""

    sql: str
    items: list[Token] = field(default_factory=list)
    position: int = 0

    def text(self) -> str:
        """The next word folded, or the next mark or string unchanged; empty at the end."""
        if self.position >= len(self.items):
            return ""
        kind, start, end = self.items[self.position]
        text = self.sql[start:end]
        return lower(text) if kind == "word" else text

    def take(self) -> str:
        text = self.text()
        self.position += 1
        return text

    def take_if(self, *words: str) -> bool:
        found = self.text() in words
        self.position += found
        return found

    def inside(self) -> Iterator[str]:
        """The contents of the parentheses that open here, each item at depth 1. Afterwards the
        position is after the parentheses."""
        depth = 0
        while self.position < len(self.items):
            text = self.take()
            depth += (text == "(") - (text == ")")
            if depth == 0:
                return
            if depth == 1 and text != "(":
                yield text


@remembered
def copy_statement(sql: str) -> CopyStatement | None:
    """The options of a COPY ... FROM STDIN or TO STDOUT; None for any other text."""
    words = _Words(sql, [token for token in tokens(sql) if token.kind not in ("space", "comment")])
    if not words.take_if("copy"):
        return None
    found = {"format": "binary"} if words.take_if("binary") else {}
    columns: list[str] = []
    if words.text() == "(":  # a query
        for _ in words.inside():
            pass
    while words.text() and words.text() not in ("from", "to"):
        if words.text() == "(":
            columns = [_name(one) for one in words.inside() if one != ","]
        else:
            words.take()
    words.take()
    if not words.take_if("stdin", "stdout"):
        return None
    words.take_if("with")
    _read_options(words, found)
    name = _FORMATS.get(found.get("format", "text"))
    if name is None:
        return None
    quote = _byte(found.get("quote", '"'))
    return CopyStatement(
        format=name,
        header=found.get("header", "off") not in _OFF,
        quote=quote,
        escape=_byte(found["escape"]) if "escape" in found else quote,
        columns=tuple(columns),
    )


def _read_options(words: _Words, found: dict[str, str]) -> None:
    if words.text() == "(":
        option: list[str] = []
        for text in (*words.inside(), ","):
            if text != ",":
                option.append(text)
            elif option:
                value = _value(option[1]) if option[1:] else "on"
                found[_name(option[0])] = lower(value) if _name(option[0]) in ("format", "header") else value
                option = []
        return
    while (word := words.take()) and word not in ("where", ";"):
        if word in ("csv", "binary"):
            found["format"] = word
        elif word == "force":  # QUOTE, NULL or NOT NULL of some columns
            words.take_if("not")
            words.take()
        elif word == "header":
            found["header"] = "on"
        elif word in ("quote", "escape", "delimiter", "delimiters", "null"):
            words.take_if("as")
            found[word] = _value(words.take())


def _name(text: str) -> str:
    return unquoted(text) if text.endswith('"') else lower(text)


def _value(text: str) -> str:
    """The value of a word, number or string constant."""
    if "'" not in text:
        return _name(text)
    prefix, _, rest = text.partition("'")
    rest = rest.removesuffix("'").replace("''", "'")
    if lower(prefix) == "e":
        rest = _BACKSLASH.sub(lambda match: _ESCAPES.get(match[1], match[1]), rest)
    return rest


def _byte(text: str) -> bytes:
    data = text.encode("utf-8", "surrogateescape")
    return data if len(data) == 1 else b'"'
