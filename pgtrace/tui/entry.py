"""One line of text that is being typed: its characters, where the cursor is, and what the editing keys do to them. Without a terminal.

The cursor moves by what is seen as one character: a letter with its accents, a wide one. What is typed or pasted is what can be seen: a line break or a
tab becomes a blank, anything that a terminal would obey or that nobody sees is left out. A text that is set, an earlier one or a value that occurred, is
kept as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rich.cells import split_graphemes

from pgtrace import sanitise

LONGEST: Final = 4096
"""Characters; what is typed beyond is dropped."""


def characters(text: str) -> list[tuple[int, int]]:
    """Beginning and end of each character as it is seen."""
    if text.isascii():
        return [(index, index + 1) for index in range(len(text))]
    return [(start, end) for start, end, _ in split_graphemes(text)[0]]


class Entry:
    """A text and a cursor in it."""

    def __init__(self, text: str = "") -> None:
        self.text = text
        self.cursor = len(text)

    def set(self, text: str, cursor: int | None = None) -> None:
        """Another text, with the cursor at its end or where told."""
        self.text = text[:LONGEST]
        self.cursor = len(self.text) if cursor is None else min(cursor, len(self.text))

    def insert(self, text: str) -> None:
        """Type a text at the cursor."""
        text = "".join(one for one in text.translate(_BLANKS) if sanitise.text(one) == one)[: max(0, LONGEST - len(self.text))]
        self.set(self.text[: self.cursor] + text + self.text[self.cursor :], self.cursor + len(text))

    def left(self) -> None:
        self.cursor = max((start for start, _ in characters(self.text) if start < self.cursor), default=0)

    def right(self) -> None:
        self.cursor = min((end for _, end in characters(self.text) if end > self.cursor), default=len(self.text))

    def home(self) -> None:
        self.cursor = 0

    def end(self) -> None:
        self.cursor = len(self.text)

    def word_left(self) -> None:
        """To the beginning of a word, the one under the cursor or the one before."""
        before = self.text[: self.cursor].rstrip()
        self.cursor = max(before.rfind(blank) + 1 for blank in _SPACE)

    def word_right(self) -> None:
        """Behind a word."""
        while self.cursor < len(self.text) and self.text[self.cursor] in _SPACE:
            self.cursor += 1
        while self.cursor < len(self.text) and self.text[self.cursor] not in _SPACE:
            self.cursor += 1

    def backspace(self) -> None:
        self._kill(self.left)

    def delete(self) -> None:
        self._kill(self.right)

    def kill_word(self) -> None:
        self._kill(self.word_left)

    def kill_to_beginning(self) -> None:
        self._kill(self.home)

    def kill_to_end(self) -> None:
        self._kill(self.end)

    def _kill(self, move: Callable[[], None]) -> None:
        """Remove what a move passes over."""
        before = self.cursor
        move()
        start, end = sorted((before, self.cursor))
        self.set(self.text[:start] + self.text[end:], start)


_SPACE: Final = " \t\n"
_BLANKS: Final = str.maketrans(dict.fromkeys("\t\n\r\v\f", " "))

EDITING: Final[dict[str, Callable[[Entry], None]]] = {
    "left": Entry.left,
    "ctrl+b": Entry.left,
    "right": Entry.right,
    "ctrl+f": Entry.right,
    "home": Entry.home,
    "ctrl+a": Entry.home,
    "end": Entry.end,
    "ctrl+e": Entry.end,
    "ctrl+left": Entry.word_left,
    "ctrl+right": Entry.word_right,
    "backspace": Entry.backspace,
    "delete": Entry.delete,
    "ctrl+d": Entry.delete,
    "ctrl+w": Entry.kill_word,
    "ctrl+u": Entry.kill_to_beginning,
    "ctrl+k": Entry.kill_to_end,
}
"""What the keys do, by the toolkit's names of them; shells have taught them."""
