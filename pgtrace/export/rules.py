"""Your own rules to replace texts that differ from run to run: `s/REGEX/TEXT/`, as in sed.

    s/\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d(\\.\\d+)?/TIMESTAMP/

A rule is applied separately to every text of a message (SQL, names, tags, parameters, error fields)
and to every value. You can use any character instead of `/`; a backslash before it makes it
ordinary. The expression is one of the filter language: letter case makes no difference, and
matching takes linear time, or the rule is refused for that text. The longest of the leftmost
matches is replaced. TEXT is literal.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pgtrace import toml
from pgtrace.errors import UsageError
from pgtrace.regex.automaton import Pattern, TooCostly
from pgtrace.regex.patterns import BadPattern
from pgtrace.settingsfile import text_of

SETTINGS = "pyproject.toml"


class Rule:
    """A rule `s/REGEX/TEXT/`."""

    def __init__(self, text: str) -> None:
        """Parse the rule. Raises UsageError if it is not valid."""
        self.text = text
        parts = _split(text)
        if parts is None:
            raise UsageError(f"{text!r} is not a rule: expected s/REGEX/TEXT/")
        expression, self.replacement = parts
        if "\0" in self.replacement:
            raise UsageError(f"{text!r}: no text on the wire holds a zero byte")
        try:
            self._pattern = Pattern(expression)
        except BadPattern as error:
            raise UsageError(f"{text!r}: {error.reason}, at character {error.position + 1} of the expression") from None
        if self._pattern.search(""):
            raise UsageError(f"{text!r} matches the empty text: it must match at least one character")

    def apply(self, text: str) -> str:
        """The text with every match replaced. Raises UsageError if that would take too long."""
        try:
            spans = self._pattern.spans(text) if self._pattern.search(text) else []
        except TooCostly:
            raise UsageError(f"{self.text!r} takes too long on a text of {len(text)} characters: write it more exactly") from None
        if not spans:
            return text
        pieces: list[str] = []
        at = 0
        for begin, end in spans:
            pieces += (text[at:begin], self.replacement)
            at = end
        return "".join([*pieces, text[at:]])


def parse(rules: Iterable[str]) -> tuple[Rule, ...]:
    """The rules of these texts. Raises UsageError."""
    return tuple([Rule(text) for text in rules])


def configured(directory: str | os.PathLike[str]) -> tuple[Rule, ...]:
    """The rules in `[tool.pgtrace.golden]` of the nearest pyproject.toml, from that directory
    upwards. Raises UsageError."""
    start = Path(directory).absolute()
    for place in (start, *start.parents):
        path = place / SETTINGS
        if not path.is_file():
            continue
        try:
            found: Any = toml.loads(text_of(path))
        except UnicodeDecodeError:
            raise UsageError(f"{path}: not TOML: it is not UTF-8") from None
        except ValueError as error:
            raise UsageError(f"{path}: not valid TOML: {error}") from None
        except OSError as error:
            raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
        for key in ("tool", "pgtrace", "golden", "rules"):
            found = found.get(key, {}) if isinstance(found, dict) else {}
        found = found or []
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise UsageError(f"{path}: rules in [tool.pgtrace.golden] must be a list of strings: ['s/REGEX/TEXT/']")
        return parse(found)
    return ()


def _split(text: str) -> tuple[str, str] | None:
    """The expression and its replacement."""
    if len(text) < 4 or text[0] != "s" or text[1].isalnum() or text[1] in "\\ ":
        return None
    delimiter, parts, at = text[1], [""], 2
    while at < len(text):
        if text[at] == "\\" and at + 1 < len(text):
            parts[-1] += delimiter if text[at + 1] == delimiter else text[at : at + 2]
            at += 2
        elif text[at] == delimiter:
            parts.append("")
            at += 1
        else:
            parts[-1] += text[at]
            at += 1
    return (parts[0], parts[1]) if len(parts) == 3 and parts[0] and not parts[2] else None
