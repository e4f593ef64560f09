"""The tokens of a filter, each with its place.

White space separates tokens; `(`, `)` and quoted texts are tokens; anything else is a run up to the
next white space or parenthesis. A run is a word with an operator, `conn:2`, `ms>10`, if an operator
follows its first letters; else it is SQL to search for. The value after an operator is read
separately (value()), because there `:` `=` and `~` are ordinary characters: `sql ~ a=b`. Within
quotes, `"` or `'`, only the same quote ends the value; a doubled quote stands for one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pgtrace.errors import FilterError

_SPACE: Final = re.compile(r"\s*")
_BEFORE_OPERATOR: Final = re.compile(r"((?i:tag|count)\.[\w.%-]+|[A-Za-z_]\w*)\s*(<=|>=|!=|[~:=<>])")
_RUN: Final = re.compile(r"[^\s()]+")
_QUOTED: Final = re.compile(r"""(["'])((?:(?!\1).|\1\1)*)\1""", re.DOTALL)
_LONE_OPERATOR: Final = re.compile(r"[~:=<>]|!=")


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the filter. `text` is its value, without quotes."""

    kind: str
    """`(`, `)`, `word` (an operator follows), `run` or `quoted`; empty at the end of the filter."""
    text: str
    start: int
    end: int
    operator: str = ""
    """For a `word`: the operator after it; `end` is after that one."""
    quote: str = ""

    def place(self, index: int) -> int:
        """The position in the filter of a character of `text`."""
        return self.start + index + (1 + self.text[:index].count(self.quote) if self.quote else 0)


class Scanner:
    """Reads a filter from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._at = 0

    def next(self) -> Token:
        """The next token. Raises FilterError."""
        at = self._skip_space()
        text = self.text
        if at == len(text):
            return Token("", "", at, at)
        if text[at] in "()":
            self._at = at + 1
            return Token(text[at], text[at], at, at + 1)
        if text[at] in "\"'":
            return self._quoted(at)
        word = _BEFORE_OPERATOR.match(text, at)
        if word is not None:
            self._at = word.end()
            return Token("word", word[1], at, word.end(), word[2])
        operator = _LONE_OPERATOR.match(text, at)
        if operator is not None:
            raise FilterError(text, at, operator.end() - at, f"no word before `{operator[0]}`; to find it in SQL, put it in quotes")
        return self._run(at)

    def value(self) -> Token:
        """The value after an operator: quoted or a run; if there is no value, the token found
        instead. Raises FilterError.
        """
        at = self._skip_space()
        if at == len(self.text) or self.text[at] in "()":
            return Token("", "", at, at + 1 if at < len(self.text) else at)
        return self._quoted(at) if self.text[at] in "\"'" else self._run(at)

    def _skip_space(self) -> int:
        found = _SPACE.match(self.text, self._at)
        self._at = found.end() if found is not None else self._at
        return self._at

    def _run(self, at: int) -> Token:
        run = _RUN.match(self.text, at)
        self._at = run.end() if run is not None else at
        return Token("run", self.text[at : self._at], at, self._at)

    def _quoted(self, at: int) -> Token:
        found = _QUOTED.match(self.text, at)
        if found is None:
            raise FilterError(self.text, at, len(self.text) - at, f"missing closing {self.text[at]}")
        self._at = found.end()
        quote = found[1]
        return Token("quoted", found[2].replace(quote * 2, quote), at, self._at, quote=quote)
