"""Names that a driver generates, at random or from a counter of its process, so that the same work
has different ones each time.

A driver's module says what they look like. StableNames gives each name of a connection a number, in
order of appearance. A name that does not look like them was chosen by the program and stays.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

ALL_DRAWN: Final = "drawn_"
"""The beginning of a name that had nothing but the generated part."""
_NAMED: Final = re.compile(
    r'(\b(?i:DEALLOCATE|EXECUTE|CLOSE)\s+(?:(?i:PREPARE)\s+)?"?|\b(?:prepared statement|portal|cursor) ")([^\s";(]{1,64})(?![^\s";(])'
)
"""Where the name of a statement or portal is in SQL, and in the server's messages about it."""


@dataclass(frozen=True, slots=True)
class DrawnNames:
    """The form of a driver's own names."""

    pattern: re.Pattern[str]
    """All of a name; its one group is the generated part."""
    distinct: bool
    """Nothing else looks like it, so it is recognised anywhere in a text. Otherwise only where a
    name can be, and after a message has carried it."""


class StableNames:
    """The names of one connection."""

    def __init__(self, drawn: DrawnNames | None) -> None:
        """None: the driver generates no names."""
        self.drawn = drawn
        self._known: dict[str, str] = {}
        self._numbers: Counter[str] = Counter()

    def name(self, name: str, number: int | None = None) -> str:
        """The replacement for the name of a statement or portal: with that number in it, or the
        next."""
        if self.drawn is None:
            return name
        known = self._known.get(name)
        if known is None:
            found = self.drawn.pattern.fullmatch(name)
            if found is None:
                return name
            before, behind = name[: found.start(1)], name[found.end(1) :]
            if number is None:
                self._numbers[before] += 1
                number = self._numbers[before]
            known = self._known[name] = f"{before}{number}{behind}" if before or behind else f"{ALL_DRAWN}{number}"
        return known

    def in_text(self, text: str) -> str:
        """An SQL text, or an error's, with those names in it."""
        if self.drawn is None:
            return text
        if self.drawn.distinct:
            return self.drawn.pattern.sub(lambda found: self.name(found[0]), text)
        return _NAMED.sub(lambda found: found[1] + self._known.get(found[2], found[2]), text)
