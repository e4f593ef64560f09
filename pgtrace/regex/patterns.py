"""The syntax of regular expressions: text in, a small tree out.

    literals . [a-z] [^...] \\d \\w \\s \\b and their capitals, ^ $, ( ) (?: ), |, * + ? {m} {m,} {m,n}, and
    the lazy forms, which mean the same here

It is the syntax of Python's `re` as far as an automaton can follow it. Back references, lookaround
and flags are refused by name. Letter case is ignored, and `.` matches any character, line breaks
included. `^` and `$` are the ends of the text. automaton.py says what the tree means.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

DEEPEST: Final = 40
"""How deep groups may be nested."""

_QUANTIFIER: Final = re.compile(r"([*+?])|\{(\d*)(,?)(\d*)\}")
_MOST_DIGITS: Final = 4
_CONTROLS: Final = {"n": "\n", "t": "\t", "r": "\r"}


class BadPattern(Exception):
    """The text is not a regular expression, or not one that an automaton can match. `position` is
    the index of the character at fault."""

    def __init__(self, reason: str, position: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.position = position


def is_word(character: str) -> bool:
    """Whether `\\w` matches this character."""
    return character.isalnum() or character == "_"


_CLASSES: Final[dict[str, Callable[[str], bool]]] = {
    "d": str.isdecimal,
    "D": lambda character: not character.isdecimal(),
    "w": is_word,
    "W": lambda character: not is_word(character),
    "s": str.isspace,
    "S": lambda character: not character.isspace(),
}


def _forms(character: str) -> set[str]:
    return {character, character.lower(), character.upper()}


@dataclass(slots=True)
class Characters:
    """One character out of a set, in either case."""

    single: set[str] = field(default_factory=set)
    ranges: list[tuple[str, str]] = field(default_factory=list)
    classes: list[Callable[[str], bool]] = field(default_factory=list)
    negated: bool = False

    def has(self, character: str) -> bool:
        forms = _forms(character)
        found = not self.single.isdisjoint(forms)
        found = found or any(first <= form <= last for first, last in self.ranges for form in forms)
        found = found or any(belongs(character) for belongs in self.classes)
        return found is not self.negated

    def add(self, character: str) -> None:
        self.single |= _forms(character)


@dataclass(slots=True)
class Anchor:
    """A place in the text: `^`, `$`, `b` at the edge of a word, `B` anywhere else."""

    kind: str


@dataclass(slots=True)
class Sequence:
    """The parts one after the other."""

    parts: list[Node]


@dataclass(slots=True)
class Alternatives:
    """Any one of the parts."""

    parts: list[Node]


@dataclass(slots=True)
class Repeat:
    """The part repeated from `least` to `most` times; None means no upper limit."""

    part: Node
    least: int
    most: int | None


Node = Characters | Anchor | Sequence | Alternatives | Repeat


def parse(pattern: str) -> Node:
    """The tree of a regular expression. Raises BadPattern."""
    return _Parser(pattern).whole()


class _Parser:
    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0
        self._depth = 0

    def whole(self) -> Node:
        tree = self._alternatives()
        if self._at < len(self._text):
            raise BadPattern("`)` without a `(` before it", self._at)
        return tree

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self) -> str:
        character = self._next()
        self._at += 1
        return character

    def _alternatives(self) -> Node:
        parts = [self._sequence()]
        while self._next() == "|":
            self._at += 1
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else Alternatives(parts)

    def _sequence(self) -> Node:
        parts: list[Node] = []
        while self._next() not in ("", "|", ")"):
            parts.append(self._repeated())
        return Sequence(parts)

    def _repeated(self) -> Node:
        begin = self._at
        part = self._one()
        found = self._quantifier()
        if found is None:
            return part
        if isinstance(part, Anchor):
            raise BadPattern("nothing to repeat", begin)
        if self._next() == "?":
            self._at += 1
        begin = self._at
        if self._next() == "+" or self._quantifier() is not None:
            raise BadPattern("a repetition of a repetition: put the first into ( )", begin)
        return Repeat(part, *found)

    def _quantifier(self) -> tuple[int, int | None] | None:
        match = _QUANTIFIER.match(self._text, self._at)
        if match is None or match[0] == "{}":
            return None
        begin, self._at = self._at, match.end()
        if match[1]:
            return int(match[1] == "+"), 1 if match[1] == "?" else None
        least, comma, most = match.group(2, 3, 4)
        if max(len(least), len(most)) > _MOST_DIGITS or (most and int(most) < int(least or 0)):
            raise BadPattern(f"{match[0]} is not a valid repeat count", begin)
        if not comma:
            return int(least), int(least)
        return int(least or 0), int(most) if most else None

    def _one(self) -> Node:
        begin = self._at
        character = self._take()
        if character == "(":
            return self._group(begin)
        if character == "[":
            return self._set(begin)
        if character == ".":
            return Characters(negated=True)
        if character in "^$":
            return Anchor(character)
        if character in "*+?":
            raise BadPattern("nothing to repeat", begin)
        if character == "\\":
            return self._escape(begin)
        found = Characters()
        found.add(character)
        return found

    def _group(self, begin: int) -> Node:
        if self._next() == "?":
            if self._text[self._at + 1 : self._at + 2] != ":":
                raise BadPattern("the only group that may begin with (? is (?: )", begin)
            self._at += 2
        self._depth += 1
        if self._depth > DEEPEST:
            raise BadPattern(f"groups nested more than {DEEPEST} deep", begin)
        tree = self._alternatives()
        if self._take() != ")":
            raise BadPattern("no `)` for this `(`", begin)
        self._depth -= 1
        return tree

    def _escape(self, begin: int) -> Node:
        character = self._take()
        if character and character in "bB":
            return Anchor(character)
        found = Characters()
        if character in _CLASSES:
            found.classes.append(_CLASSES[character])
        else:
            found.add(self._escaped(character, begin))
        return found

    def _escaped(self, character: str, begin: int) -> str:
        if not character:
            raise BadPattern("`\\` at the end: `\\\\` is a backslash", begin)
        if character.isdigit():
            raise BadPattern("back references are not supported", begin)
        if character in _CONTROLS:
            return _CONTROLS[character]
        if character.isalpha():
            raise BadPattern(f"unknown escape `\\{character}`", begin)
        return character

    def _set(self, begin: int) -> Characters:
        found = Characters()
        if self._next() == "^":
            self._at += 1
            found.negated = True
        first = self._at
        while True:
            place = self._at
            character = self._take()
            if not character:
                raise BadPattern("no `]` for this `[`", begin)
            if character == "]" and place > first:
                return found
            if character == "\\":
                character = self._take()
                if character in _CLASSES:
                    found.classes.append(_CLASSES[character])
                    continue
                character = self._escaped(character, place)
            if self._next() == "-" and self._text[self._at + 1 : self._at + 2] not in ("", "]"):
                self._at += 1
                last = self._take()
                if last == "\\":
                    last = self._take()
                    last = "" if last in _CLASSES else self._escaped(last, place)
                if last < character:
                    raise BadPattern("not a range of characters", place)
                found.ranges.append((character, last))
            else:
                found.add(character)
