"""The editing half of a line that is typed: Textual's `Input`, with its keys.

Three things differ from the library's. The cursor moves and deletes by what you see as one
character: a letter with its accents, a wide one. Typed and pasted text has only visible characters:
a line break or a tab becomes a blank, and control and invisible characters are left out. A word is
anything between blanks, as for a shell's ctrl-w, so `ms > 10` has three words. A text that is set
(an earlier one or a value from the capture) is kept unchanged; the code that draws it makes it
safe.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import Final

from rich.cells import split_graphemes
from textual.binding import Binding
from textual.widgets import Input
from textual.widgets.input import Selection

from pgtrace import sanitise
from pgtrace.tui.model.asking import LONGEST

_BLANKS: Final = str.maketrans(dict.fromkeys("\t\n\r\v\f", " "))

EDITING: Final[dict[str, str]] = {
    key: binding.action for binding in Input.BINDINGS if isinstance(binding, Binding) for key in binding.key.split(",")
} | {"ctrl+b": "cursor_left", "ctrl+f": "cursor_right"}
"""The action of each editing key, by Textual's names: the library's, and two of the shell's that it
lacks."""


def characters(text: str) -> list[tuple[int, int]]:
    """The beginning and end of each character as it is seen."""
    if text.isascii():
        return [(index, index + 1) for index in range(len(text))]
    return [(start, end) for start, end, _ in split_graphemes(text)[0]]


class Entry(Input, can_focus=False):
    """A text and a cursor. It never has the focus: its owner hands it the keys."""

    _WORD_START = re.compile(r"(?<=\s)\S")

    def write(self, text: str, cursor: int | None = None) -> None:
        """Show another text, with the cursor at its end or at the given place."""
        self.value = text[:LONGEST]
        self.cursor_position = len(self.value) if cursor is None else cursor

    def replace(self, text: str, start: int, end: int) -> None:
        """Replace some characters by the visible characters of a text, as many as there is room
        for.
        """
        start, end = sorted((max(0, start), min(len(self.value), end)))
        seen = "".join(one for one in text.translate(_BLANKS) if sanitise.text(one) == one)
        super().replace(seen[: max(0, LONGEST - len(self.value) + end - start)], start, end)

    def delete(self, start: int, end: int) -> None:
        """Remove the text between two places, in whole characters."""
        start, end = sorted((start, end))
        super().delete(self._edge(start, forwards=False), self._edge(end, forwards=True))

    def validate_selection(self, selection: Selection) -> Selection:
        """Keep the cursor out of the middle of a character, so that a step moves it over a whole
        one.
        """
        start, end = super().validate_selection(selection)
        forwards = end > self.cursor_position
        return Selection(self._edge(start, forwards=forwards), self._edge(end, forwards=forwards))

    def _edge(self, place: int, *, forwards: bool) -> int:
        """The position at which the character at a place ends or begins; the place itself if it is
        between two characters.
        """
        edges = [*(start for start, _ in characters(self.value)), len(self.value)]
        after = min(bisect_left(edges, place), len(edges) - 1)
        return edges[after if forwards or edges[after] <= place else max(0, after - 1)]
