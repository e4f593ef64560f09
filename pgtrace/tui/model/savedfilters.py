"""Filters that were typed: the latest ones, and those with a name.

They have a separate file next to the screen's (remembered.py), private like it, because a filter
may hold data from the wire. What is read from it is only text: it is parsed like anything typed,
and made safe like anything shown. The file has room for a bounded number; the latest are kept, and
a very long one never is.
"""

from __future__ import annotations

import json
import re
from typing import Final

from pgtrace.tui.model.remembered import LONGEST, Remembered

_KEPT: Final = 100
_LONGEST_TEXT: Final = 1000
_ROOM: Final = LONGEST // 2 - 1024
"""Characters of JSON for the history, and as many for the named ones."""
_HISTORY: Final = "history"
_NAMED: Final = re.compile(r"(?:(?P<text>.*\S)\s+|\s*)@(?P<name>[A-Za-z0-9_-]{1,32})\s*", re.DOTALL)


def parted(text: str) -> tuple[str, str]:
    """A filter and the name after it: `ms > 100 @slow`; the name is empty if there is none."""
    found = _NAMED.fullmatch(text)
    return (text, "") if found is None else (found["text"] or "", found["name"])


class SavedFilters:
    """The latest filters, and those with a name."""

    def __init__(self, remembered: Remembered) -> None:
        self._remembered = remembered
        self.history = [text for text in _listed(remembered.text(_HISTORY)) if isinstance(text, str)][-_KEPT:]
        """The latest one last."""
        self.named = {name[1:]: remembered.text(name) for name in remembered.names() if parted(name) == ("", name[1:])}

    def note(self, text: str) -> None:
        """Note that a filter was put in force."""
        if text and len(text) <= _LONGEST_TEXT:
            self.history[:] = _fitting([*(one for one in self.history if one != text), text][-_KEPT:])
            self._remembered.put(_HISTORY, json.dumps(self.history))
            self._remembered.save()

    def save(self, name: str, text: str) -> str:
        """Name a filter. Returns an error message, or an empty string."""
        others = {one: kept for one, kept in self.named.items() if one != name}
        if len(text) > _LONGEST_TEXT or sum(len(json.dumps(f"@{one} {kept}")) + 8 for one, kept in [*others.items(), (name, text)]) > _ROOM:
            return "there is no room for another named filter"
        self.named = others | {name: text}
        self._remembered.put(f"@{name}", text)
        self._remembered.save()
        return ""


def _listed(text: str) -> list[object]:
    try:
        found = json.loads(text or "[]")
    except (ValueError, RecursionError):
        return []
    return found if isinstance(found, list) else []


def _fitting(texts: list[str]) -> list[str]:
    """As many of the latest as fit; JSON within JSON doubles what it escapes."""
    first = 0
    while len(json.dumps(json.dumps(texts[first:]))) > _ROOM:
        first += 1
    return texts[first:]
