"""The parser for the grammar of docs/filter.md: makes a tree from a text, or an error that points
at the place.

`or` binds least, then `and`, which may be omitted, then `not`. A text that is not an operator and
is not followed by one is searched for in the SQL.
"""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from typing import Final, NoReturn

from pgtrace.ask.filter import values
from pgtrace.ask.filter.scanner import Scanner, Token
from pgtrace.ask.filter.tree import All, Any, Node, Not, NumberTerm, TextTerm
from pgtrace.ask.filter.words import COMPARED, COUNT, OPERATORS, WORDS, ValueKind, Word, known
from pgtrace.errors import FilterError

DEEPEST: Final = 40
"""The deepest nesting of parentheses."""
_SQL: Final = WORDS["sql"]


def parse(text: str) -> Node:
    """The tree of a filter; an empty filter selects everything. Raises FilterError."""
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._scanner = Scanner(text)
        self._depth = 0
        self._token = self._scanner.next()

    def whole(self) -> Node:
        if not self._token.kind:
            return All(())
        tree = self._any()
        if self._token.kind:
            self._fail(self._token, "`)` without a `(` before it")
        return tree

    def _any(self) -> Node:
        parts = [self._all()]
        while self._accept("or"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else Any(tuple(parts))

    def _all(self) -> Node:
        parts = [self._not()]
        while self._accept("and") or not (self._token.kind in ("", ")") or self._is("or")):
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _not(self) -> Node:
        negated = False
        while self._accept("not"):
            negated = not negated
        part = self._one()
        return Not(part) if negated else part

    def _one(self) -> Node:
        token = self._token
        if token.kind == "(":
            return self._group(token)
        if token.kind == "word":
            return self._term(token)
        if not token.kind or token.kind == ")" or self._is(*OPERATORS):
            self._fail(token, "something to search for is missing here")
        word = known(token.text) if token.kind == "run" else None
        self._advance()
        if word is None:
            return TextTerm(_SQL, values.contains(token.text), token.start, token.end)
        if not word.alone:
            self._fail(token, f'`{word.name}` needs a value: {word.example}; to find it in SQL, write "{token.text}"')
        if word.kind is ValueKind.NUMBER:
            return NumberTerm(self._counter(word, token), values.is_some, token.start, token.end)
        return TextTerm(word, values.stands_alone(word), token.start, token.end)

    def _group(self, opening: Token) -> Node:
        self._depth += 1
        if self._depth > DEEPEST:
            self._fail(opening, f"parentheses nested more than {DEEPEST} deep")
        self._advance()
        tree = self._any()
        if self._token.kind != ")":
            self._fail(opening, "no `)` for this `(`")
        self._advance()
        self._depth -= 1
        return tree

    def _term(self, token: Token) -> Node:
        word = known(token.text)
        if word is None:
            near = get_close_matches(token.text.lower(), WORDS, 1)
            meant = f"did you mean {near[0]!r}? To" if near else f"the words are {' '.join(WORDS)}; to"
            place = Token("run", token.text, token.start, token.start + len(token.text))
            self._fail(place, f"unknown filter word {token.text!r}; {meant} find it in SQL, put it in quotes")
        word = self._counter(word, token)
        operator = ":" if token.operator == "=" else token.operator
        if operator not in COMPARED[word.kind]:
            allowed = " ".join(f"`{one}`" for one in COMPARED[word.kind])
            other = f"not {word.name}:..." if operator == "!=" else word.example
            self._fail(token, f"`{word.name}` works with {allowed}, not with `{token.operator}`: {other}")
        value = self._scanner.value()
        if not value.kind:
            hint = "; put an expression with parentheses in quotes" if operator == "~" else ""
            self._fail(value, f"`{word.name}` needs a value: {word.example}{hint}")
        try:
            found = self._build(word, operator, value.text, token.start, value.end)
        except values.BadValue as error:
            start, end = (value.place(error.position), 0) if error.position else (value.start, value.end)
            raise FilterError(self._text, start, end - start, error.reason) from None
        self._advance()
        return found

    def _counter(self, word: Word, token: Token) -> Word:
        """The word; of `count.COUNTER`, with the checked name of its counter."""
        if not word.name.startswith(COUNT):
            return word
        try:
            return replace(word, key=values.counter(word.key))
        except values.BadValue as error:
            self._fail(Token("run", word.name, token.start, token.start + len(word.name)), error.reason)

    @staticmethod
    def _build(word: Word, operator: str, value: str, start: int, end: int) -> Node:
        if word.kind is ValueKind.NUMBER:
            return NumberTerm(word, values.number(operator, value), start, end)
        return TextTerm(word, values.text(word, operator, value), start, end)

    def _is(self, *operators: str) -> bool:
        return self._token.kind == "run" and self._token.text.lower() in operators

    def _accept(self, operator: str) -> bool:
        found = self._is(operator)
        if found:
            self._advance()
        return found

    def _advance(self) -> None:
        self._token = self._scanner.next()

    def _fail(self, token: Token, reason: str) -> NoReturn:
        raise FilterError(self._text, token.start, token.end - token.start, reason)
