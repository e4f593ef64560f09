"""Names that a driver generates at random or from a counter of its process, so they differ each
time the same work runs.

A driver's module describes their form. StableNames replaces each such name of a connection by a
number, in order of appearance. A name of another form was chosen by the program and stays.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

ALL_DRAWN: Final = "drawn_"
"""The replacement's beginning for a name that consists only of the generated part."""
_NAMED: Final = re.compile(
    r'(\b(?i:DEALLOCATE|EXECUTE|CLOSE)\s+(?:(?i:PREPARE)\s+)?"?|\b(?:prepared statement|portal|cursor) ")([^\s";(]{1,64})(?![^\s";(])'
)
"""The places at which SQL, and the server's messages, have the name of a statement or portal."""


@dataclass(frozen=True, slots=True)
class DrawnNames:
    """The form of the names that a driver generates."""

    pattern: re.Pattern[str]
    """Matches a whole name; its only group is the generated part."""
    distinct: bool
    """Whether nothing else looks like such a name, so it is recognised anywhere in a text.
    Otherwise it is recognised only at the place of a name, and after a message has had it.
    """


class StableNames:
    """Replaces the generated names of one connection."""

    def __init__(self, drawn: DrawnNames | None) -> None:
        """`drawn` is the form of the names; None if the driver generates none."""
        self.drawn = drawn
        self._known: dict[str, str] = {}
        self._numbers: Counter[str] = Counter()

    def name(self, name: str, number: int | None = None) -> str:
        """The replacement for the name of a statement or portal: with that number, or with the next
        one.
        """
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
        """The text of a statement or an error, with the names replaced."""
        if self.drawn is None:
            return text
        if self.drawn.distinct:
            return self.drawn.pattern.sub(lambda found: self.name(found[0]), text)
        return _NAMED.sub(lambda found: found[1] + self._known.get(found[2], found[2]), text)
