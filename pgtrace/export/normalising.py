"""Replaces parts of messages that differ from run to run: names that the driver generated, and
texts that your rules match.

It replaces the fields of the message, not its line. So the length on the line is that of the
message with the new texts, and the line can be parsed again. protocol/pqtrace/layouts.py says which
fields are texts and which are values.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Final

from pgtrace.export.rules import Rule
from pgtrace.identify.drivers.names import StableNames
from pgtrace.protocol.message import Message
from pgtrace.protocol.pqtrace import layouts

_NAMES: Final = {
    "Parse": ("statement",), "Bind": ("portal", "statement"), "Describe": ("name",), "Execute": ("portal",), "Close": ("name",),
}  # fmt: skip
"""Message -> its fields with the name of a statement or portal."""
_WITH_NAMES: Final = frozenset({"Query", "Parse", "ErrorResponse", "NoticeResponse"})
"""Messages whose texts may contain such names."""


class Normaliser:
    """The replacements on one connection."""

    def __init__(self, names: StableNames, rules: Iterable[Rule] = ()) -> None:
        self.names = names
        self._rules = tuple(rules)

    def message(self, message: Message, number: int | None = None) -> Message:
        """The message with its replacements, or the message itself if there are none. `number` is
        the number of its statement, if it has one. Raises UsageError if a rule takes too long.
        """
        name = message.NAME
        changed: dict[str, Any] = {}
        if self.names.drawn is not None:
            for field in _NAMES.get(name, ()):
                changed[field] = self.names.name(getattr(message, field), number)
        if self._rules or (self.names.drawn is not None and name in _WITH_NAMES):
            for field in message.BODY.names:
                if field not in _NAMES.get(name, ()):
                    changed[field] = self._value(getattr(message, field), name in _WITH_NAMES, _kind(message, field))
        return (
            message
            if all(getattr(message, field) == value for field, value in changed.items())
            else dataclasses.replace(message, **changed)  # type: ignore[type-var]
        )

    def _value(self, value: Any, named: bool, kind: str) -> Any:
        if isinstance(value, str) and kind != "b":
            return self._text(self.names.in_text(value) if named else value)
        if isinstance(value, bytes) and kind == "v":
            text = value.decode("utf-8", "surrogateescape")
            other = self._text(text)
            return value if other == text else other.encode("utf-8", "surrogateescape")
        if type(value) is tuple:
            return tuple([self._value(one, named, kind) for one in value])
        if isinstance(value, tuple):  # a column of a RowDescription
            return type(value)(*[self._value(one, named, kind) for one in value])
        return value

    def _text(self, text: str) -> str:
        for rule in self._rules:
            text = rule.apply(text)
        return text


def _kind(message: Message, field: str) -> str:
    """`v` for a list of values, otherwise the layout's letter for the field."""
    if message.NAME not in layouts.LAYOUTS:
        return "s"
    part = dict(zip(message.BODY.names, layouts.parts(message.NAME), strict=True))[field]
    return "v" if part == "[v]" else part
